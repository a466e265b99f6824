"""Loading files into models."""

from __future__ import annotations

from pathlib import Path

import pytest
from spec_cases import INNER, OUTER, TRAIN, job, pipeline, write

from azdistill import aml
from azdistill.aml import models
from azdistill.aml.loader import kind_of
from azdistill.errors import SpecError


def test_public_names_exist() -> None:
    assert sorted(aml.__all__) == aml.__all__
    assert all(hasattr(aml, name) for name in aml.__all__)


def test_a_component(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    file = tmp_path / "train.yml"
    file.write_text(TRAIN + "code: ./src\nadditional_includes: [../common]\nversion: 3\nis_deterministic: false\n")
    loaded = aml.load_component(file)
    assert isinstance(loaded, aml.CommandComponent)
    assert (loaded.name, loaded.version, loaded.is_deterministic) == ("train", "3", False)
    assert loaded.code == tmp_path / "src"
    assert loaded.additional_includes == (tmp_path.parent / "common",)
    assert loaded.source == file
    assert loaded.inputs["method"].enum == ("sft", "logits")
    assert loaded.inputs["note"].optional
    assert loaded.inputs["rows"].is_data


def test_paths_start_at_the_file_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, _ = write(tmp_path, job(pipeline(inputs="{a: {type: uri_folder, path: ./sub}}")))
    monkeypatch.chdir("/")
    loaded = aml.load_pipeline(file)
    assert loaded.inputs["a"].path == str(tmp_path / "sub")
    component = loaded.jobs["train"].component
    assert isinstance(component, aml.CommandComponent)
    assert component.source == tmp_path / "train.yml"


def test_remote_paths_stay_as_written(tmp_path: Path) -> None:
    uri = "azureml://datastores/d/paths/p"
    file, _ = write(tmp_path, job(pipeline(inputs=f"{{a: {{type: uri_folder, path: '{uri}'}}}}")))
    assert aml.load_pipeline(file).inputs["a"].path == uri


def test_values_of_a_step(tmp_path: Path) -> None:
    step = "      learning_rate: ${{parent.inputs.lr}}\n      epochs: 2\n"
    file, _ = write(tmp_path, job(pipeline(step, inputs="{lr: 0.1}")))
    inputs = aml.load_pipeline(file).jobs["train"].inputs
    rows, rate, epochs = inputs["rows"], inputs["learning_rate"], inputs["epochs"]
    assert isinstance(rows, models.Data)
    assert (rows.path, rows.type) == (str(tmp_path / "rows.jsonl"), "uri_file")
    assert isinstance(rate, models.Binding)
    assert rate.path == ("parent", "inputs", "lr")
    assert isinstance(epochs, models.Literal)
    assert epochs.value == 2


def test_an_inline_command_gets_the_types_of_what_it_is_bound_to(tmp_path: Path) -> None:
    text = """\
type: pipeline
inputs: {n: 3, f: {type: uri_file, path: x}}
jobs:
  b:
    type: command
    command: run
    environment: azureml:e@latest
    inputs: {n: "${{parent.inputs.n}}", f: "${{parent.inputs.f}}", m: "${{parent.jobs.a.outputs.model}}", t: hello}
  a: {type: command, component: ./train.yml, inputs: {rows: x}}
"""
    file, _ = write(tmp_path, job(text))
    component = aml.load_pipeline(file).jobs["b"].component
    assert isinstance(component, aml.CommandComponent)
    assert {name: declared.type for name, declared in component.inputs.items()} == {
        "n": "integer",
        "f": "uri_file",
        "m": "custom_model",
        "t": "string",
    }


def test_nested_pipelines(tmp_path: Path) -> None:
    file, _ = write(tmp_path, job(OUTER % ("0.5", "rate: 0.1"), inner_yml=INNER))
    inner = aml.load_pipeline(file).jobs["nested"].component
    assert isinstance(inner, models.PipelineComponent)
    assert list(inner.jobs) == ["inner"]


def test_a_job_of_a_component_has_its_steps_and_inputs(tmp_path: Path) -> None:
    text = "type: pipeline\ncomponent: ./inner.yml\ninputs: {rate: 0.5}\nexperiment_name: e\n"
    file, _ = write(tmp_path, job(text, inner_yml=INNER))
    loaded = aml.load_pipeline(file)
    assert list(loaded.jobs) == ["inner"]
    assert (loaded.inputs["rate"].default, loaded.inputs["rate"].type) == (0.5, "number")
    assert [p.code for p in aml.check(loaded)] == ["AZD131"]  # rows


def test_environments(tmp_path: Path) -> None:
    file = tmp_path / "environment.yml"
    file.write_text("name: e\nversion: 2\nbuild: {path: .}\n")
    loaded = aml.load_environment(file)
    assert (loaded.name, loaded.version, loaded.build_path) == ("e", "2", tmp_path)
    component = tmp_path / "component.yml"
    component.write_text("name: c\ntype: command\ncommand: run\nenvironment: file:environment.yml\n")
    assert isinstance(aml.load_component(component).environment, models.Environment)  # type: ignore[union-attr]


def test_made_in_memory(tmp_path: Path) -> None:
    (tmp_path / "train.yml").write_text(TRAIN)
    made = aml.pipeline_from({"jobs": {"t": {"component": "train.yml"}}}, tmp_path, "recipe.yml")
    assert isinstance(made.jobs["t"].component, aml.CommandComponent)
    assert made.source is None


@pytest.mark.parametrize("load", [aml.load_pipeline, aml.load_environment])
def test_another_kind_than_asked_for(load, tmp_path: Path) -> None:
    (tmp_path / "train.yml").write_text(TRAIN)
    with pytest.raises(SpecError) as caught:
        load(tmp_path / "train.yml")
    assert caught.value.code == "AZD107"


def test_load_raises_everything_at_once(tmp_path: Path) -> None:
    file = tmp_path / "c.yml"
    file.write_text("name: c\ntype: command\ncomand: x\ntags: 3\n")
    with pytest.raises(SpecError) as caught:
        aml.load(file)
    assert [(p.code, p.line) for p in caught.value.problems] == [
        ("AZD112", 1),
        ("AZD112", 1),
        ("AZD110", 3),
        ("AZD111", 4),
    ]


def test_models_are_frozen(tmp_path: Path) -> None:
    (tmp_path / "train.yml").write_text(TRAIN)
    loaded = aml.load_component(tmp_path / "train.yml")
    with pytest.raises(AttributeError):
        loaded.name = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"type": "command", "name": "c", "command": "x"}, "command"),
        ({"command": "x"}, "command"),
        ({"type": "command", "command": "x", "compute": "cpu"}, "command job"),
        ({"$schema": "https://x/commandJob.schema.json", "command": "x"}, "command job"),
        ({"$schema": "https://x/commandComponent.schema.json", "command": "x", "compute": "y"}, "command"),
        ({"type": "pipeline", "jobs": {}}, "job"),
        ({"jobs": {}, "inputs": {"a": 1}}, "job"),
        ({"$schema": "https://x/pipelineComponent.schema.json", "jobs": {}}, "pipeline"),
        ({"type": "pipeline", "jobs": {}, "inputs": {"a": {"type": "number"}}}, "pipeline"),
        ({"type": "pipeline", "jobs": {}, "version": 1}, "pipeline"),
        ({"image": "ubuntu"}, "environment"),
        ({"type": "distillation"}, None),
        ({"teacher": "x"}, None),
        ([], None),
    ],
)
def test_kind_of(data: object, kind: str | None) -> None:
    assert kind_of(data) == kind
