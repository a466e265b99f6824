"""Registered components, and the files that stand for them here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from local_helpers import ENVIRONMENT, statuses

from azdistill.errors import SpecError
from azdistill.local.pipeline_run import Finished

Run = Callable[..., Finished]
GREET = {
    "type": "command",
    "name": "greet",
    "inputs": {"name": {"type": "string"}},
    "outputs": {"said": {"type": "uri_file"}},
    "command": "echo hello '${{inputs.name}}' > '${{outputs.said}}'",
    "environment": ENVIRONMENT,
}


def write(path: Path, data: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(data), encoding="utf-8")


@pytest.mark.parametrize(
    "reference",
    [
        "azureml:greet:1",
        "azureml:greet@latest",
        "azureml://registries/shared/components/greet/versions/0.0.3",
        "azureml://registries/shared/components/greet/labels/latest",
    ],
)
def test_a_file_stands_for_a_registered_component(run: Run, project: Path, reference: str) -> None:
    write(project / "components" / "greet.yml", GREET)
    files = dict.fromkeys(["greet", "azureml://registries/shared/components/greet"], "./components/greet.yml")
    write(project / "azdistill.yml", {"local": {"components": files}})
    finished = run({"a": {"type": "command", "component": reference, "inputs": {"name": "you"}}})
    assert finished.error is None
    assert Path(finished.state.steps["a"].outputs["said"]).read_text() == "hello you\n"


def test_it_may_be_a_pipeline_that_holds_others(run: Run, project: Path) -> None:
    write(project / "greet.yml", GREET)
    inner = {"type": "command", "component": "azureml:greet:1", "inputs": {"name": "${{parent.inputs.name}}"}}
    both = {"type": "pipeline", "inputs": {"name": {"type": "string"}}, "jobs": {"one": inner}}
    write(project / "both.yml", both)
    write(project / "azdistill.yml", {"local": {"components": {"greet": "greet.yml", "both": "both.yml"}}})
    finished = run({"a": {"type": "pipeline", "component": "azureml:both:2", "inputs": {"name": "all"}}})
    assert statuses(finished) == {"a.one": "completed"}


def test_what_it_declares_is_held_against_the_pipeline(run: Run, project: Path) -> None:
    write(project / "greet.yml", GREET)
    write(project / "azdistill.yml", {"local": {"components": {"greet": "./greet.yml"}}})
    with pytest.raises(SpecError) as caught:
        run({"a": {"type": "command", "component": "azureml:greet:1", "inputs": {"nam": "you"}}})
    assert "did you mean 'name'" in str(caught.value)


def test_one_that_stands_for_itself_and_one_without_a_line_are_refused(run: Run, project: Path) -> None:
    inputs = {"n": {"type": "integer", "optional": True}}
    itself = {
        "type": "pipeline",
        "inputs": inputs,
        "jobs": {"one": {"type": "pipeline", "component": "azureml:loop:1"}},
    }
    write(project / "loop.yml", itself)
    write(project / "azdistill.yml", {"local": {"components": {"loop": "./loop.yml"}}})
    jobs = {
        "a": {"type": "pipeline", "component": "azureml:loop:1"},
        "b": {"type": "command", "component": "azureml:other:1"},
    }
    with pytest.raises(SpecError) as caught:
        run(jobs)
    assert [problem.code for problem in caught.value.problems] == ["AZD342", "AZD342"]
    assert "local.components" in str(caught.value)
