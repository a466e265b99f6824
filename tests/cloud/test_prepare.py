"""From a file to what would be submitted: no service is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from submit_helpers import make_project

from azdistill.cloud.submit.command_steps import leaves
from azdistill.cloud.submit.prepare import Submission, prepare, prepare_mapping
from azdistill.cloud.workspace.clouds import METADATA_URL
from azdistill.cloud.workspace.profiles import find_profile, find_project
from azdistill.errors import SpecError, UserError

ROOT = Path(__file__).parents[2]
READY = {"teacher_key": "connection:teacher"}


@pytest.fixture(autouse=True)
def public_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(METADATA_URL, raising=False)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path)


def changed(file: Path, old: str, new: str) -> Path:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    return file


def problems(file: Path, sets: dict[str, str] | None = None) -> dict[str, str]:
    with pytest.raises(SpecError) as caught:
        prepare(file, sets)
    return {problem.code: str(problem) for problem in caught.value.problems}


def step(prepared: Submission, name: str) -> dict[str, Any]:
    found: dict[str, Any] = prepared.mapping["jobs"][name]
    return found


def profiled(folder: Path, text: str, file: Path) -> Submission:
    (folder / "azdistill.yml").write_text(f"profiles:\n  dev: {text}\n")
    return prepare(file, profile="dev")


# What is prepared -----------------------------------------------------------------------------------------------------


def test_paths_are_absolute_and_everything_else_is_as_written(project: Path, tmp_path: Path) -> None:
    prepared = prepare(project)
    assert prepared.mapping["inputs"]["rows"]["path"] == str(tmp_path / "rows.jsonl")
    assert step(prepared, "first")["component"] == str(tmp_path / "component" / "component.yml")
    assert step(prepared, "first")["inputs"]["factor"] == "${{parent.inputs.factor}}"
    assert prepared.mapping["outputs"] == {"counted": {"type": "uri_file"}}


def test_sets_change_the_inputs(project: Path, tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text("{}\n")
    prepared = prepare(project, {"factor": "7", "rows": str(tmp_path / "other.jsonl")})
    assert prepared.mapping["inputs"] == {
        "factor": 7,
        "rows": {"type": "uri_file", "path": str(tmp_path / "other.jsonl")},
    }


def test_a_set_of_an_unknown_input_names_the_nearest(project: Path) -> None:
    with pytest.raises(UserError, match="factr") as caught:
        prepare(project, {"factr": "7"})
    assert "factor" in caught.value.hint


def test_every_step_has_a_time_limit_and_those_that_were_set_stay(project: Path) -> None:
    prepared = prepare(project)
    assert step(prepared, "first")["limits"] == {"timeout": 24 * 3600}
    assert step(prepared, "second")["limits"] == {"timeout": 600}


def test_serverless_compute_where_none_is_named(project: Path) -> None:
    changed(project, "settings:\n  default_compute: azureml:cpu-cluster\n", "")
    assert prepare(project).mapping["settings"]["default_compute"] == "azureml:serverless"


def test_a_pipeline_made_in_memory_is_prepared_alike(project: Path, tmp_path: Path) -> None:
    import yaml

    other = prepare_mapping(yaml.safe_load(project.read_text()), tmp_path)
    assert (other.mapping, other.fingerprint) == (prepare(project).mapping, prepare(project).fingerprint)


@pytest.mark.parametrize("name", ["distill", "distill_logits", "evaluate"])
def test_the_ready_pipelines_are_prepared(name: str) -> None:
    file = ROOT / "pipelines" / f"{name}.yml"
    prepared = prepare(file, READY if "teacher_key" in file.read_text() else {})
    assert prepared.mapping["settings"]["default_compute"] == "azureml:serverless"
    assert all(leaf.timeout for leaf in leaves(prepared.pipeline))


def test_tags_say_what_made_it_and_what_it_makes() -> None:
    tags = prepare(ROOT / "pipelines" / "distill.yml", READY).tags()
    assert tags["azdistill.student"] == "Phi-4-mini-instruct"
    # What the pipeline itself says.
    assert tags["azdistill.model"] == "phi-4-mini-distilled"
    assert tags["azdistill.teacher"] == "DeepSeek-V3.2"
    assert len(tags["azdistill.fingerprint"]) == 64
    assert tags["azdistill.version"]


def test_a_pipeline_that_trains_nothing_makes_no_model(project: Path) -> None:
    assert "azdistill.model" not in prepare(project).tags()


# What cannot work in a job --------------------------------------------------------------------------------------------


def test_a_key_of_this_machine_is_refused_with_the_ways_that_work(project: Path) -> None:
    changed(project, 'outputs.counted}}"}\n    outputs', 'outputs.counted}}", api_key: "env:TEACHER_KEY"}\n    outputs')
    found = problems(project)
    assert list(found) == ["AZD415"]
    assert "variable TEACHER_KEY of this machine" in found["AZD415"]
    assert "pipeline.yml:22" in found["AZD415"]
    for way in ("connection:NAME", "keyvault:VAULT/SECRET", "entra", "az ml connection create"):
        assert way in found["AZD415"]


def test_the_main_pipeline_as_it_stands_is_refused_for_its_key_only() -> None:
    assert list(problems(ROOT / "pipelines" / "distill.yml")) == ["AZD415"]


@pytest.mark.parametrize("key", ["connection:teacher", "keyvault:vault/secret", "entra"])
def test_references_that_resolve_in_a_job_are_taken(key: str) -> None:
    assert prepare(ROOT / "pipelines" / "distill.yml", {"teacher_key": key}).mapping["inputs"]["teacher_key"] == key


def test_a_literal_key_is_refused_and_not_repeated() -> None:
    found = problems(ROOT / "pipelines" / "distill.yml", {"teacher_key": "sk-canary0123456789abcdefgh"})
    assert list(found) == ["AZD170"]
    assert "canary" not in found["AZD170"]


@pytest.mark.parametrize(
    "address",
    [
        *("http://localhost:8000/v1", "http://127.0.0.1/v1", "https://127.8.9.1:1/v1", "http://[::1]:8000/v1"),
        *("http://0.0.0.0:8000", "HTTP://LOCALHOST/v1", "http://teacher.localhost/v1"),
    ],
)
def test_an_address_of_this_machine_is_refused(address: str) -> None:
    found = problems(ROOT / "pipelines" / "distill.yml", {**READY, "teacher_endpoint": address})
    assert list(found) == ["AZD416"]
    assert "that is the node itself" in found["AZD416"]


@pytest.mark.parametrize("address", ["https://example.com/v1", "https://localhost.example.com", "http://10.0.0.4/v1"])
def test_other_addresses_are_taken(address: str) -> None:
    prepare(ROOT / "pipelines" / "distill.yml", {**READY, "teacher_endpoint": address})


def test_a_cloud_on_this_machine_reaches_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(METADATA_URL, "https://127.0.0.1:8443/metadata/endpoints")
    prepare(ROOT / "pipelines" / "distill.yml", {**READY, "teacher_endpoint": "http://127.0.0.1:8000/v1"})


def test_a_local_path_given_as_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "student").mkdir()
    found = problems(ROOT / "pipelines" / "distill.yml", {**READY, "student_id": str(tmp_path / "student")})
    assert list(found) == ["AZD417"]


def test_everything_wrong_is_told_at_once() -> None:
    sets = {"teacher_endpoint": "http://localhost/v1", "learning_rate": "0.1"}
    assert set(problems(ROOT / "pipelines" / "distill.yml", sets)) == {"AZD415", "AZD416"}


def test_what_is_wrong_in_the_file_itself_is_told_with_its_line(project: Path) -> None:
    changed(project, 'inputs.factor}}"}', 'inputs.facto}}"}')
    assert "pipeline.yml:18" in problems(project)["AZD140"]


# Fingerprints ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("component/count_rows.py", "print(1)"),
        ("shared_code/numbers.py", "print(1)"),
        ("rows.jsonl", "{}\n"),
    ],
)
def test_a_change_of_content_changes_the_fingerprint(project: Path, tmp_path: Path, file: str, text: str) -> None:
    before = prepare(project).fingerprint
    (tmp_path / file).write_text(text)
    assert prepare(project).fingerprint != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("pipeline.yml", "factor: 3", "factor: 4"),
        ("pipeline.yml", "timeout: 600", "timeout: 601"),
        ("component/component.yml", "default: 2", "default: 5"),
        ("component/component.yml", "inference:latest", "inference:other"),
        ("component/component.yml", "python count_rows.py", "python -u count_rows.py"),
    ],
)
def test_a_change_of_what_is_said_changes_the_fingerprint(
    project: Path, tmp_path: Path, file: str, old: str, new: str
) -> None:
    before = prepare(project).fingerprint
    changed(tmp_path / file, old, new)
    assert prepare(project).fingerprint != before


def test_names_places_and_ignored_files_do_not_change_it(project: Path, tmp_path: Path) -> None:
    before = prepare(project).fingerprint
    changed(project, "display_name: count", "display_name: counted")
    (tmp_path / "component" / "model.bin").write_text("another")
    (tmp_path / "component" / "__pycache__" / "x.pyc").write_text("another")
    assert prepare(project).fingerprint == before
    assert prepare(make_project(tmp_path / "elsewhere")).fingerprint == before
    assert prepare(project, {"factor": "4"}).fingerprint != before


# Profiles -------------------------------------------------------------------------------------------------------------


def test_a_profile_sets_inputs_and_the_command_line_wins(project: Path, tmp_path: Path) -> None:
    assert profiled(tmp_path, "{set: {factor: 9}}", project).mapping["inputs"]["factor"] == 9
    assert prepare(project, {"factor": "1"}, profile="dev").mapping["inputs"]["factor"] == 1


def test_a_profile_chooses_the_cluster(project: Path, tmp_path: Path) -> None:
    prepared = profiled(tmp_path, "{compute: big, computes: {second: gpu}}", project)
    assert {leaf.name: leaf.compute for leaf in leaves(prepared.pipeline)} == {"first": "big", "second": "gpu"}


def test_an_instance_type_means_serverless_compute(project: Path, tmp_path: Path) -> None:
    prepared = profiled(tmp_path, "{compute: Standard_DS3_v2, spot: true}", project)
    for leaf in leaves(prepared.pipeline):
        assert (leaf.compute, leaf.instance_type, leaf.spot) == (None, "Standard_DS3_v2", True)


def test_spot_does_not_touch_steps_on_a_cluster(project: Path, tmp_path: Path) -> None:
    prepared = profiled(tmp_path, "{spot: true, computes: {second: Standard_DS3_v2}}", project)
    assert {leaf.name: leaf.spot for leaf in leaves(prepared.pipeline)} == {"first": False, "second": True}


def test_a_step_with_a_machine_of_its_own_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "azdistill.yml").write_text("profiles: {dev: {compute: cpu-cluster}}")
    profile = find_profile("dev", tmp_path)
    found = leaves(prepare(ROOT / "pipelines" / "distill.yml", READY, profile=profile).pipeline)
    assert {leaf.name: leaf.compute for leaf in found}["prepare"] == "cpu-cluster"
    own = [leaf for leaf in found if leaf.instance_type]
    assert own
    assert {leaf.compute for leaf in own} == {None}


@pytest.mark.parametrize(
    ("word", "first", "second"),
    [
        ("managed", "managed", "managed"),
        ("user", "user_identity", "user_identity"),
        ("none", None, None),
        ("{second: user}", None, "user_identity"),
    ],
)
def test_identities(project: Path, tmp_path: Path, word: str, first: str | None, second: str | None) -> None:
    prepared = profiled(tmp_path, f"{{identity: {word}}}", project)
    assert [leaf.identity for leaf in leaves(prepared.pipeline)] == [first, second]


def test_a_profile_that_names_an_unknown_step_is_told(project: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'secnd'") as caught:
        profiled(tmp_path, "{computes: {secnd: gpu}}", project)
    assert (caught.value.code, "second" in caught.value.hint) == ("AZD419", True)


def test_an_unknown_profile_names_the_nearest(project: Path, tmp_path: Path) -> None:
    (tmp_path / "azdistill.yml").write_text("profiles: {dev: {}, prod: {}}")
    with pytest.raises(UserError, match="no profile 'prd'") as caught:
        prepare(project, profile="prd")
    assert (caught.value.code, caught.value.hint) == ("AZD418", "did you mean 'prod'?")


def test_a_profile_without_a_file_says_where_was_looked(project: Path) -> None:
    with pytest.raises(UserError, match=r"there is no azdistill\.yml"):
        prepare(project, profile="dev")


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("profiles: {dev: {compte: x}}", "AZD110", "azdistill.yml:1:18"),
        ("profiles:\n  dev:\n    spot: maybe\n", "AZD111", "azdistill.yml:3:11"),
        ("profiles:\n  dev:\n    identity: root\n", "AZD113", "azdistill.yml:3:15"),
        ("profiles:\n  dev:\n    max_gpu_hours: lots\n", "AZD111", "azdistill.yml:3:20"),
        ("profils: {}\n", "AZD110", "azdistill.yml:1:1"),
    ],
)
def test_what_is_wrong_in_a_profile_is_told_with_its_place(tmp_path: Path, text: str, code: str, place: str) -> None:
    (tmp_path / "azdistill.yml").write_text(text)
    with pytest.raises(SpecError) as caught:
        find_project(tmp_path)
    assert caught.value.code == code
    assert place in str(caught.value)


def test_the_nearest_azdistill_yml_counts(tmp_path: Path) -> None:
    (tmp_path / "azdistill.yml").write_text("profiles: {far: {}}")
    (tmp_path / "inner" / "deep").mkdir(parents=True)
    assert list(find_project(tmp_path / "inner" / "deep").profiles) == ["far"]
    (tmp_path / "inner" / "azdistill.yml").write_text("profiles: {near: {}}")
    assert list(find_project(tmp_path / "inner" / "deep").profiles) == ["near"]
