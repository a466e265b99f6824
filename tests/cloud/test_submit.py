"""azdistill submit, by an unmodified SDK, to a workspace on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback import Recorded, Workspace
from submit_helpers import connection_to, make_project

from azdistill.aml import load_component
from azdistill.cli import main
from azdistill.cloud.submit.prepare import prepare
from azdistill.cloud.submit.submit import submit
from azdistill.cloud.workspace.connect import Connection
from azdistill.snapshot import take

ROOT = Path(__file__).parents[2]
SHARED = os.environ.get("AZDISTILL_SHARED", str(ROOT.parent / "shared"))


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(tmp_path_factory.mktemp("workspace"), shared=SHARED, execute=False) as workspace:
        yield workspace


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = make_project(tmp_path)
    # Another content each time, so that one test finds nothing of another's.
    (tmp_path / "rows.jsonl").write_text(json.dumps({"test": str(tmp_path)}) + "\n")
    (tmp_path / "component" / "sub" / "data.txt").write_text(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AZDISTILL_HOME", str(tmp_path / "state"))
    return file


@pytest.fixture
def connection(ws: Workspace) -> Iterator[Connection]:
    with ws.environ():
        yield connection_to(ws)


@pytest.fixture
def azdistill(ws: Workspace, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line in this process: exit code, stdout, stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        with ws.environ(), pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def last_job(ws: Workspace) -> Recorded:
    return next(one for one in reversed(list(ws.requests)) if one.method == "PUT" and "/jobs/" in one.path)


def uploads(requests: list[Recorded]) -> list[Recorded]:
    return [one for one in requests if one.method in ("PUT", "POST") and ("/blob/" in one.path or "Upload" in one.path)]


# The command line -----------------------------------------------------------------------------------------------------


def test_submit_prints_the_plan_then_name_and_page_then_the_name_on_stdout(
    ws: Workspace, azdistill: Callable[..., tuple[int, str, str]], project: Path
) -> None:
    status, out, err = azdistill("submit", project, "--yes")
    assert status == 0, err
    name = out.strip()
    assert name.startswith("counting-")
    assert err.startswith("workspace loopback\n  first   cpu-cluster")
    assert f"run {name}\nhttps://ml.azure.com/runs/{name}?wsid={ws.id}" in err
    assert f"azdistill logs -f {name}" in err
    assert ws.store["jobs"][name]["properties"]["experimentName"] == "counting"


def test_the_job_is_the_last_request_and_everything_fits_the_schemas(
    ws: Workspace, azdistill: Any, project: Path
) -> None:
    seen = len(ws.requests)
    assert azdistill("submit", project, "--yes")[0] == 0
    sent = ws.requests[seen:]
    assert (sent[-1].method, "/jobs/" in sent[-1].path) == ("PUT", True)
    assert sum(one.method == "PUT" and "/jobs/" in one.path for one in sent) == 1
    assert ws.violations == []
    if ws.schemas is not None:
        assert ws.checked == ws.sent > 0


def test_tags_tell_what_was_submitted(ws: Workspace, connection: Connection, project: Path) -> None:
    submitted = submit(connection, prepare(project), tags={"azdistill.schedule": "nightly"})
    tags = ws.store["jobs"][submitted.name]["properties"]["tags"]
    assert tags["azdistill.fingerprint"] == submitted.fingerprint == prepare(project).fingerprint
    assert tags["azdistill.schedule"] == "nightly"
    assert tags["azdistill.version"]


def test_a_name_may_be_given(ws: Workspace, connection: Connection, project: Path) -> None:
    assert submit(connection, prepare(project), name="chosen").name == "chosen"
    assert "chosen" in ws.store["jobs"]


def test_a_second_submit_uploads_nothing_and_says_that_it_is_the_second(
    ws: Workspace, azdistill: Any, project: Path
) -> None:
    _, first, _ = azdistill("submit", project, "--yes")
    seen = len(ws.requests)
    status, _, err = azdistill("submit", project, "--yes")
    assert status == 0
    assert uploads(ws.requests[seen:]) == []
    assert f"the same was submitted before: {first.strip()} (NotStarted) https://ml.azure.com/runs/" in err


def test_components_that_share_a_folder_send_it_once(ws: Workspace, azdistill: Any, project: Path) -> None:
    seen = len(ws.requests)
    azdistill("submit", project, "--yes")
    sent = [one for one in ws.requests[seen:] if one.method == "PUT" and one.path.endswith("/count_rows.py")]
    assert len(sent) == 1


def test_steps_that_azure_will_reuse_are_named(ws: Workspace, azdistill: Any, project: Path) -> None:
    _, first, _ = azdistill("submit", project, "--yes")
    assert "Azure will show earlier results" not in azdistill("submit", project, "--dry-run")[2]
    ws.store["jobs"][first.strip()]["properties"]["status"] = "Completed"
    assert "Azure will show earlier results of: first, second" in azdistill("submit", project, "--dry-run")[2]


def test_a_dry_run_sends_nothing(ws: Workspace, azdistill: Any, project: Path) -> None:
    seen, jobs = len(ws.requests), len(ws.store["jobs"])
    status, out, err = azdistill("submit", project, "--dry-run")
    assert (status, out) == (0, "")
    assert "code of first, second  6 files" in err
    assert all(one.method == "GET" or "oauth2" in one.path for one in ws.requests[seen:])
    assert len(ws.store["jobs"]) == jobs


def test_the_plan_as_json(azdistill: Any, project: Path) -> None:
    status, out, _ = azdistill("submit", project, "--dry-run", "--json")
    plan = json.loads(out)
    assert status == 0
    assert [step["name"] for step in plan["steps"]] == ["first", "second"]


def test_the_job_as_json(azdistill: Any, project: Path) -> None:
    status, out, _ = azdistill("submit", project, "--yes", "--json")
    assert status == 0
    assert set(json.loads(out)) == {"name", "studio_url", "fingerprint"}


def test_where_nobody_can_be_asked_yes_is_needed(ws: Workspace, azdistill: Any, project: Path) -> None:
    jobs = len(ws.store["jobs"])
    status, _, err = azdistill("submit", project)
    assert status == 2
    assert "error[AZD425]" in err
    assert "--yes" in err
    assert len(ws.store["jobs"]) == jobs


@pytest.mark.parametrize(("answer", "submitted"), [("y\n", True), ("n\n", False), ("\n", True)])
def test_on_a_terminal_somebody_is_asked(
    ws: Workspace, azdistill: Any, project: Path, monkeypatch: pytest.MonkeyPatch, answer: str, submitted: bool
) -> None:
    import io

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    jobs = len(ws.store["jobs"])
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    status, _, err = azdistill("submit", project)
    assert "Submit? [Y/n]" in err
    assert status == (0 if submitted else 130)
    assert len(ws.store["jobs"]) == jobs + submitted


def test_what_was_submitted_before_is_not_sent_again_by_pressing_enter(
    azdistill: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    azdistill("submit", project, "--yes")
    terminal = io.StringIO("\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin", terminal)
    status, _, err = azdistill("submit", project)
    assert "Submit again? [y/N]" in err
    assert status == 130


def test_a_mistake_is_found_before_anything_is_asked(ws: Workspace, azdistill: Any, project: Path) -> None:
    seen = len(ws.requests)
    project.write_text(project.read_text().replace("inputs.factor}}", "inputs.facto}}"))
    status, _, err = azdistill("submit", project, "--yes")
    assert status == 2
    assert "error[AZD140]" in err
    assert len(ws.requests) == seen


def test_a_compute_that_does_not_exist_ends_with_2_and_uploads_nothing(
    ws: Workspace, azdistill: Any, project: Path
) -> None:
    seen = len(ws.requests)
    project.write_text(project.read_text().replace("azureml:cpu-cluster", "azureml:cpu-clustre"))
    status, _, err = azdistill("submit", project, "--yes")
    assert status == 2
    assert "did you mean 'cpu-cluster'?" in err
    assert uploads(ws.requests[seen:]) == []


def test_a_workspace_that_does_not_exist_ends_with_4(azdistill: Any, project: Path) -> None:
    status, _, err = azdistill("submit", project, "--yes", "--workspace", "loopbck")
    assert status == 4
    assert "there is no workspace 'loopbck'" in err
    assert "did you mean 'loopback'?" in err


def test_a_profile_names_the_workspace(azdistill: Any, project: Path, tmp_path: Path) -> None:
    (tmp_path / "azdistill.yml").write_text("profiles: {dev: {workspace: elsewhere}}")
    status, _, err = azdistill("submit", project, "--yes", "--profile", "dev")
    assert status == 4
    assert "there is no workspace 'elsewhere'" in err


@pytest.mark.slow
def test_nothing_of_the_sdk_is_heard(ws: Workspace, project: Path) -> None:
    command = [sys.executable, "-m", "azdistill", "submit", str(project), "--yes"]
    done = subprocess.run(command, env={**os.environ, **ws.environment()}, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    lines = [line for line in done.stderr.splitlines() if not line.startswith("  ")]
    starts = ("workspace ", "images", "uploads", "GPU hours", "run ", "https://ml.azure.com", "submitted;")
    assert [line for line in lines if not line.startswith(starts)] == []
    assert "\x1b" not in done.stderr


@pytest.mark.slow
def test_with_vv_the_sdk_is_heard(ws: Workspace, project: Path) -> None:
    command = [sys.executable, "-m", "azdistill", "-vv", "submit", str(project), "--yes"]
    done = subprocess.run(command, env={**os.environ, **ws.environment()}, capture_output=True, text=True)
    assert done.returncode == 0
    assert "azure.core" in done.stderr


def test_the_sdk_is_imported_while_the_spec_is_checked(
    azdistill: Any, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azdistill.cloud.submit import prepare as module
    from azdistill.cloud.workspace import connect

    started = threading.Event()
    real = module.prepare
    monkeypatch.setattr(connect, "_importing", [])
    monkeypatch.setattr(connect, "_try_import", started.set)

    def checked(*arguments: Any, **options: Any) -> Any:
        assert started.wait(5)
        return real(*arguments, **options)

    monkeypatch.setattr(module, "prepare", checked)
    assert azdistill("submit", project, "--dry-run")[0] == 0


# What is sent ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("identity", [False, True], ids=["sas", "identity"])
def test_the_code_that_arrives_is_the_snapshot_of_a_local_run(
    project: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, identity: bool
) -> None:
    folder = tmp_path_factory.mktemp("storage")
    with Workspace(folder, execute=False, identity_storage=identity) as ws, ws.environ():
        submit(connection_to(ws), prepare(project))
        arrived = [path for path in ws.folder.rglob("count_rows.py") if path.is_file()]
        assert len(arrived) == 1
        root = arrived[0].parent
        found = {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    component = load_component(tmp_path / "component" / "component.yml")
    expected = take(component.code, component.additional_includes, base=tmp_path / "component")  # type: ignore[union-attr,arg-type]
    assert found == {name: path.read_bytes() for name, path in expected.files.items()}
    assert set(found) == {
        *("component.yml", "count_rows.py", ".amlignore", "sub/data.txt"),
        *("shared_code/__init__.py", "shared_code/numbers.py"),
    }


@pytest.mark.parametrize("name", ["prepare_data", "teacher_inference", "finetune_student", "evaluate", "compare"])
def test_the_code_of_our_components_arrives_as_it_is_run_here(name: str, ready: dict[str, dict[str, bytes]]) -> None:
    component = load_component(next((ROOT / "components").glob(f"*/{name}/component.yml")))
    taken = take(component.code, component.additional_includes, base=component.where.source.base)  # type: ignore[union-attr,arg-type]
    assert ready[name] == {file: path.read_bytes() for file, path in taken.files.items()}


@pytest.fixture(scope="module")
def ready(ws: Workspace) -> dict[str, dict[str, bytes]]:
    """The code of each component of the main pipeline as it arrived: name -> file -> content."""
    with ws.environ():
        submit(connection_to(ws), prepare(ROOT / "pipelines" / "distill.yml", {"teacher_key": "connection:teacher"}))
    arrived: dict[str, dict[str, bytes]] = {}
    for node in last_job(ws).body["properties"]["jobs"].values():
        spec = component_of(ws, node)
        code = stored(ws, "codes", spec["code"])
        container, _, prefix = code["codeUri"].split(".blob.core.windows.net/")[1].partition("/")
        root = ws.blobs.path(container, prefix)
        files = [path for path in root.rglob("*") if path.is_file()]
        made = yaml.safe_load((root / "component.yml").read_text())["name"]
        arrived[made] = {path.relative_to(root).as_posix(): path.read_bytes() for path in files}
    return arrived


def stored(ws: Workspace, kind: str, asset: str) -> dict[str, Any]:
    """The properties of an asset that an ARM id names."""
    properties: dict[str, Any] = ws.store[kind]["/".join(asset.split(f"/{kind}/")[1].split("/versions/"))]["properties"]
    return properties


def component_of(ws: Workspace, node: dict[str, Any]) -> dict[str, Any]:
    """What a node of a job runs."""
    spec: dict[str, Any] = stored(ws, "components", node["componentId"])["componentSpec"]
    return spec


def test_a_profile_reaches_the_job(ws: Workspace, connection: Connection, project: Path, tmp_path: Path) -> None:
    text = (
        "profiles: {dev: {compute: Standard_DS3_v2, spot: true, identity: {first: managed, second: user},"
        " image_build_compute: cpu-cluster}}"
    )
    (tmp_path / "azdistill.yml").write_text(text)
    submit(connection, prepare(project, profile="dev"))
    properties = last_job(ws).body["properties"]
    first, second = properties["jobs"]["first"], properties["jobs"]["second"]
    assert properties["settings"]["default_compute"].lower().endswith("serverless")
    assert first["resources"]["instance_type"] == "Standard_DS3_v2"
    assert first["queue_settings"] == {"job_tier": "Spot"}
    assert (first["identity"], second["identity"]) == ({"identity_type": "Managed"}, {"identity_type": "UserIdentity"})
    assert (first["limits"]["timeout"], second["limits"]["timeout"]) == ("P1D", "PT10M")
    changes = [one.body for one in ws.requests if one.method == "PATCH" and one.path.lower() == ws.id.lower()]
    assert changes == [{"properties": {"imageBuildCompute": "cpu-cluster"}}]
    submit(connection_to(ws), prepare(project, profile="dev"))
    assert sum(one.method == "PATCH" and one.path.lower() == ws.id.lower() for one in ws.requests) == 1


def test_a_ready_image_is_used_instead_of_building_one(ws: Workspace, connection: Connection, tmp_path: Path) -> None:
    image = "mcr.microsoft.com/ready/data:1"
    (tmp_path / "azdistill.yml").write_text(f"profiles: {{dev: {{environments: {{azdistill-data: '{image}'}}}}}}")
    from azdistill.cloud.workspace.profiles import find_profile

    sets = {"teacher_key": "connection:teacher"}
    prepared = prepare(ROOT / "pipelines" / "distill.yml", sets, profile=find_profile("dev", tmp_path))
    submit(connection, prepared)
    nodes = last_job(ws).body["properties"]["jobs"]
    environment = stored(ws, "environments", component_of(ws, nodes["prepare"])["environment"])
    assert (environment["image"], environment.get("build")) == (image, None)
    built = stored(ws, "environments", component_of(ws, nodes["evaluate"])["environment"])
    assert built["build"]["contextUri"]


def test_steps_of_nested_pipelines_are_limited_and_told_of_their_cloud(ws: Workspace, connection: Connection) -> None:
    ws.store.put("environments", "any", {"properties": {"image": "any"}}, version="1")
    submit(connection, prepare(ROOT / "tests" / "local" / "pipelines" / "nested" / "pipeline.yml"))
    inner = [
        node
        for one in ws.store["components"].values()
        for node in one["properties"]["componentSpec"].get("jobs", {}).values()
    ]
    assert inner
    for node in (node for node in inner if node["type"] == "command"):
        assert node["limits"]["timeout"] == "P1D"
        assert node["environment_variables"]["AZDISTILL_ARM_ENDPOINT"] == ws.url


def test_a_step_in_a_private_cloud_is_told_where_its_services_are(
    ws: Workspace, connection: Connection, project: Path
) -> None:
    submit(connection, prepare(project))
    told = last_job(ws).body["properties"]["jobs"]["first"]["environment_variables"]
    assert told["AZDISTILL_ARM_ENDPOINT"] == ws.url
    assert told["AZURE_AUTHORITY_HOST"] == ws.url


def test_in_the_public_cloud_a_step_is_told_nothing() -> None:
    from azdistill.cloud.submit.sdk_job import variables
    from azdistill.cloud.workspace.clouds import find

    assert variables(find("AzureCloud")) == {}
    assert variables(find("AzureChinaCloud")) == {
        "AZDISTILL_ARM_ENDPOINT": "https://management.chinacloudapi.cn",
        "AZURE_AUTHORITY_HOST": "https://login.chinacloudapi.cn",
        "AZDISTILL_VAULT_ADDRESS": "https://{vault}.vault.azure.cn",
        "AZDISTILL_ENTRA_SCOPE": "https://cognitiveservices.azure.cn/.default",
    }
