"""From a job's ARM body to a pipeline: a pure function, tested without a server."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback.execution.translate import Refused, output_settings, pipeline_of, seconds

from azdistill.aml import check, pipeline_from

COMPONENT = {
    "tags": {"azdistill.headline": "true"},
    "componentSpec": {
        "name": "azureml_anonymous",
        "version": "1",
        "type": "command",
        "command": "bash go.sh ${{inputs.count}} ${{inputs.rate}} ${{inputs.deep}} ${{inputs.text}} ${{outputs.out}}",
        "code": "azureml:/codes/a/versions/1",
        "environment": "azureml:/environments/e/versions/1",
        "inputs": {
            "count": {"type": "integer", "default": "3"},
            "rate": {"type": "number"},
            "deep": {"type": "boolean"},
            "text": {"type": "string"},
            "rows": {"type": "uri_file", "optional": True},
        },
        "outputs": {"out": {"type": "uri_folder"}},
        "distribution": {"type": "pytorch", "process_count_per_instance": 2},
        "is_deterministic": True,
        "_source": "YAML.COMPONENT",
    },
}


def literal(value: str) -> dict[str, str]:
    return {"job_input_type": "literal", "value": value}


NODE = {
    "name": "step",
    "type": "command",
    "componentId": "/components/c/versions/1",
    "inputs": {
        "count": literal("${{parent.inputs.count}}"),
        "rate": literal("0.5"),
        "deep": literal("True"),
        "text": literal("12"),
        "rows": {"job_input_type": "uri_file", "uri": "azureml:rows:1", "mode": "ReadOnlyMount"},
    },
    "outputs": {"out": {"value": "${{parent.outputs.result}}", "type": "literal"}},
    "limits": {"timeout": "PT1H1M", "job_limits_type": "Command"},
    "environment_variables": {"COLOUR": "blue"},
    "distribution": {"distribution_type": "Mpi", "process_count_per_instance": 4},
    "identity": {"identity_type": "UserIdentity"},
}
JOB: dict[str, Any] = {
    "jobType": "Pipeline",
    "inputs": {"count": {"jobInputType": "literal", "value": "5"}},
    "outputs": {
        "result": {
            "jobOutputType": "uri_folder",
            "uri": "azureml://datastores/d/paths/p",
            "assetName": "kept",
            "assetVersion": "2",
        }
    },
    "settings": {"default_compute": "/computes/cpu", "force_rerun": True, "_source": "YAML.JOB"},
    "jobs": {"step": NODE},
}


class Held:
    """A workspace that holds one of everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "code").mkdir()
        (folder / "code" / "go.sh").write_text("echo")
        (folder / "rows.jsonl").write_text("{}")
        self.components = {"/components/c/versions/1": copy.deepcopy(COMPONENT)}

    def component(self, reference: str) -> Any:
        return self.components[reference]

    def environment(self, reference: str) -> Any:
        return {"image": "ubuntu:24.04", "condaFile": "dependencies: [python=3.11]"}

    def code(self, reference: str) -> Path:
        return self.folder / "code"

    def data(self, uri: str) -> Path:
        if uri != "azureml:rows:1":
            raise Refused(f"no {uri}")
        return self.folder / "rows.jsonl"


@pytest.fixture
def held(tmp_path: Path) -> Held:
    return Held(tmp_path)


def test_a_pipeline_job_becomes_a_pipeline_without_a_flaw(held: Held, tmp_path: Path) -> None:
    before = copy.deepcopy((JOB, held.components))
    made = pipeline_of(JOB, tmp_path / "job", held)
    pipeline = pipeline_from(made, tmp_path, "job.yml")
    assert [str(problem) for problem in check(pipeline) if problem.severity == "error"] == []
    assert before == (JOB, held.components)


def test_literals_get_the_types_that_are_declared(held: Held, tmp_path: Path) -> None:
    made = pipeline_of(JOB, tmp_path / "job", held)
    assert made["inputs"] == {"count": 5}
    assert made["jobs"]["step"]["inputs"] == {
        "count": "${{parent.inputs.count}}",
        "rate": 0.5,
        "deep": True,
        "text": "12",
        "rows": {"type": "uri_file", "path": str(tmp_path / "rows.jsonl"), "mode": "ro_mount"},
    }


def test_settings_of_a_step_arrive(held: Held, tmp_path: Path) -> None:
    made = pipeline_of(JOB, tmp_path / "job", held)
    step = made["jobs"]["step"]
    assert made["settings"] == {"force_rerun": True}
    assert step["limits"] == {"timeout": 3660}
    assert step["environment_variables"] == {"COLOUR": "blue"}
    assert step["distribution"] == {"type": "mpi", "process_count_per_instance": 4}
    assert step["outputs"] == {"out": "${{parent.outputs.result}}"}


def test_a_component_is_written_with_its_code_and_environment(held: Held, tmp_path: Path) -> None:
    file = Path(pipeline_of(JOB, tmp_path / "job", held)["jobs"]["step"]["component"])
    component = yaml.safe_load(file.read_text())
    assert (Path(component["code"]) / "go.sh").read_text() == "echo"
    assert Path(component["code"]).is_relative_to(tmp_path / "job")
    assert component["environment"] == {"image": "ubuntu:24.04", "conda_file": {"dependencies": ["python=3.11"]}}
    assert component["tags"] == {"azdistill.headline": "true"}
    assert "_source" not in component


def test_an_output_takes_the_settings_of_the_one_it_is_bound_to(held: Held) -> None:
    asked = {"uri": "azureml://datastores/d/paths/p", "name": "kept", "version": "2"}
    assert output_settings(JOB, held) == {("step", "out"): asked}


def test_outputs_are_followed_into_nested_pipelines(held: Held, tmp_path: Path) -> None:
    inner = {
        "componentSpec": {"type": "pipeline", "outputs": {"result": {"type": "uri_folder"}}, "jobs": {"deep": NODE}}
    }
    held.components["/components/n/versions/1"] = inner
    nested = {"type": "pipeline", "componentId": "/components/n/versions/1"}
    node = {**nested, "outputs": {"result": {"value": "${{parent.outputs.result}}"}}}
    job = {**JOB, "jobs": {"outer": node}}
    assert output_settings(job, held)["outer.deep", "out"]["name"] == "kept"
    made = pipeline_of(job, tmp_path / "job", held)
    written = yaml.safe_load(Path(made["jobs"]["outer"]["component"]).read_text())
    assert written["jobs"]["deep"]["outputs"] == {"out": "${{parent.outputs.result}}"}


def test_a_command_job_becomes_a_pipeline_of_one_step(held: Held, tmp_path: Path) -> None:
    job = {
        "jobType": "Command",
        "command": "cat ${{inputs.rows}} > ${{outputs.out}}/x",
        "environmentId": "/environments/e/versions/1",
        "codeId": "/codes/a/versions/1",
        "inputs": {"rows": {"jobInputType": "uri_file", "uri": "azureml:rows:1"}},
        "outputs": {"out": {"jobOutputType": "uri_folder"}, "default": {"jobOutputType": "uri_folder"}},
        "distribution": {"distributionType": "PyTorch", "processCountPerInstance": 2},
        "limits": {"jobLimitsType": "Command", "timeout": "PT5M"},
    }
    made = pipeline_of(job, tmp_path / "job", held)
    assert list(made["jobs"]) == ["command"]
    assert list(made["outputs"]) == ["out"]
    assert made["jobs"]["command"]["distribution"] == {"type": "pytorch", "process_count_per_instance": 2}
    assert made["jobs"]["command"]["limits"] == {"timeout": 300}
    assert [str(p) for p in check(pipeline_from(made, tmp_path, "job.yml")) if p.severity == "error"] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"jobType": "Sweep"}, "jobs of type Sweep cannot be run"),
        ({"jobs": {}}, "at least one job"),
        ({"jobs": {"s": {**NODE, "type": "spark"}}}, "job 's': jobs of type spark cannot be run"),
        (
            {"jobs": {"s": {**NODE, "inputs": {"rows": {"job_input_type": "uri_file", "uri": "azureml:x:1"}}}}},
            "no azure",
        ),
    ],
)
def test_what_cannot_be_run_is_refused(held: Held, tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        pipeline_of({**JOB, **change}, tmp_path / "job", held)


@pytest.mark.parametrize(("text", "value"), [("PT100S", 100), ("PT1M40S", 100), ("P1DT2H", 93600), ("PT0.5H", None)])
def test_durations(text: str, value: int | None) -> None:
    if value is None:
        with pytest.raises(Refused):
            seconds(text)
    else:
        assert seconds(text) == value
