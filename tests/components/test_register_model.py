"""What registering leaves: rows under their hash, a record of it, and an MLflow model whose weights are not copied."""

from __future__ import annotations

import hashlib
import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from snapshots import FOLDERS, Component, Result
from tiny_models import save_tiny, sums, write_jsonl

sys.path.append(str(FOLDERS["register_model"]))

Register = Callable[..., Result]


@pytest.fixture
def register(component: Callable[..., Component], tmp_path: Path) -> Register:
    """Run the step on a tiny model and a few rows."""
    inputs = {
        "model": save_tiny(tmp_path / "tiny"),
        "model_name": "tiny-distilled",
        "task_type": "math",
        "curated": write_jsonl(tmp_path / "curated.jsonl", sums(4)),
        "teacher_rows": write_jsonl(tmp_path / "teacher.jsonl", sums(5)),
        "teacher_model": "adder",
    }

    def run(env: dict[str, str] | None = None, **changes: Any) -> Result:
        given = {name: value for name, value in {**inputs, **changes}.items() if value is not None}
        return component("register_model").run(given, env=env)

    return run


def record(result: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(result.outputs["registration"].read_text())
    return found


def report(folder: Path, **numbers: Any) -> Path:
    folder.mkdir()
    (folder / "comparison.json").write_text(json.dumps({"retention_metric": "accuracy", **numbers}))
    return folder


def test_without_tracking_nothing_is_registered_and_it_says_so(register: Register) -> None:
    result = register()
    assert result.returncode == 0, result.stderr
    assert "tiny-distilled is not registered: nothing is tracked" in result.stderr
    assert record(result)["registered"] is False


def test_rows_are_kept_under_the_hash_of_what_they_hold(register: Register, tmp_path: Path) -> None:
    result = register()
    digest = hashlib.sha256((tmp_path / "curated.jsonl").read_bytes()).hexdigest()[:16]
    kept = result.outputs["assets"] / "curated" / digest / "rows.jsonl"
    assert kept.read_bytes() == (tmp_path / "curated.jsonl").read_bytes()
    curated, teacher = record(result)["data_assets"]
    assert curated == {
        **{"name": "tiny-curated", "kind": "curated", "version": digest, "registered": False},
        "uri": f"azureml://datastores/workspaceblobstore/paths/azdistill/assets/curated/{digest}/rows.jsonl",
    }
    assert teacher["name"] == "tiny-teacher-rows"


def test_a_model_carries_what_it_was_made_from_and_how_good_it_is(register: Register, tmp_path: Path) -> None:
    measured = report(tmp_path / "report", retention=0.97, teacher={"accuracy": 0.8}, distilled={"accuracy": 0.776})
    tags = record(register(report=measured, teacher_licence="MIT", env={"AZUREML_ROOT_RUN_ID": "job-1"}))["tags"]
    assert tags["azdistill.retention"] == "0.97"
    assert tags["azdistill.distilled.accuracy"] == "0.776"
    assert tags["azdistill.job"] == "job-1"
    assert (tags["azdistill.teacher"], tags["azdistill.teacher_licence"]) == ("adder", "MIT")
    assert tags["azdistill.data.curated"].startswith("tiny-curated:")
    assert "azdistill.baseline.accuracy" not in tags


def test_what_is_no_model_ends_the_step(register: Register, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = register(model=tmp_path / "empty")
    assert result.returncode == 66
    assert "is not a model" in result.stderr


def test_a_service_that_does_not_answer_leaves_the_rows_kept_and_says_what_is_needed(register: Register) -> None:
    names = ("AZUREML_ARM_SUBSCRIPTION", "AZUREML_ARM_RESOURCEGROUP", "AZUREML_ARM_WORKSPACE_NAME")
    env = {**dict.fromkeys(names, "x"), "OBO_ENDPOINT": "http://127.0.0.1:9/token"}
    result = register(env=env)
    assert result.returncode == 0, result.stderr
    assert "not registered: the user's identity gave none" in result.stderr
    assert "AzureML Data Scientist" in result.stderr


def test_the_same_model_has_the_same_digest_wherever_it_lies(tmp_path: Path) -> None:
    from model_layout import digest_of

    first, second = save_tiny(tmp_path / "a"), save_tiny(tmp_path / "b")
    assert digest_of(first) == digest_of(second)
    (second / "generation_config.json").write_text("{}")
    assert digest_of(first) != digest_of(second)


def test_the_layout_links_weights_and_parts_the_tokenizer_from_them(tmp_path: Path) -> None:
    from model_layout import lay_out

    tiny = save_tiny(tmp_path / "tiny")
    lay_out(tiny, tmp_path / "laid", "3.15.0", {"model": "tiny"})
    weights = tmp_path / "laid" / "model" / "model.safetensors"
    assert weights.is_symlink()
    assert weights.resolve() == tiny / "model.safetensors"
    assert (tmp_path / "laid" / "components" / "tokenizer" / "tokenizer.json").is_file()
    described = json.loads((tmp_path / "laid" / "MLmodel").read_text())
    assert described["flavors"]["transformers"]["pipeline_model_type"] == "LlamaForCausalLM"
    assert described["flavors"]["python_function"]["loader_module"] == "mlflow.transformers"


@pytest.mark.parametrize(("better", "tag"), [(False, "true"), (True, None), (None, None)])
def test_a_student_that_is_not_better_than_it_was_is_tagged_so(
    register: Register, tmp_path: Path, better: bool | None, tag: str | None
) -> None:
    known = None if better is None else {"metric": "accuracy", "rows": 4, "better": better}
    result = register(report=report(tmp_path / "report", against_baseline=known))
    assert record(result)["tags"].get("azdistill.not_better") == tag
    assert ("is not better than the student as it was" in result.stderr) is (better is False)


class Registry:
    """An MLflow that holds one version."""

    def __init__(self, **tags: str) -> None:
        self.tags = tags

    def MlflowClient(self) -> Registry:
        return self

    def search_model_versions(self, _: str) -> list[Any]:
        return [types.SimpleNamespace(version="3", tags=dict(self.tags))]

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:
        assert (name, version) == ("tiny-distilled", "3")
        self.tags[key] = value

    def delete_model_version_tag(self, name: str, version: str, key: str) -> None:
        assert (name, version) == ("tiny-distilled", "3")
        del self.tags[key]


@pytest.mark.parametrize(
    ("before", "better", "after"),
    [(False, False, True), (True, False, True), (True, True, False), (False, True, False), (True, None, True)],
)
def test_a_version_that_is_there_already_says_what_the_last_comparison_found(
    before: bool, better: bool | None, after: bool
) -> None:
    from argparse import Namespace

    from register_model import DIGEST, NOT_BETTER, _register

    registry = Registry(**{DIGEST: "d"}, **({NOT_BETTER: "true"} if before else {}))
    _register(registry, Namespace(model_name="tiny-distilled"), "run", {DIGEST: "d"}, better)
    assert (NOT_BETTER in registry.tags) is after


def test_a_store_of_files_without_a_run_is_that_of_a_container(register: Register, tmp_path: Path) -> None:
    result = register({"MLFLOW_TRACKING_URI": (tmp_path / "apart").as_uri()})
    assert result.returncode == 0, result.stderr
    assert record(result)["reason"].startswith("MLflow's store is not seen from here")
