"""Inline commands declare nothing: what their inputs and outputs are follows from what these are bound to."""

from __future__ import annotations

from pathlib import Path

import pytest

from azdistill import aml

PIPELINE = """\
type: pipeline
outputs:
  answer: {type: %s}
jobs:
  make:
    command: cp x ${{outputs.made}}
    environment: azureml:e@latest
    outputs:
      made: %s
  use:
    command: cat ${{inputs.made}}
    environment: azureml:e@latest
    inputs:
      made: ${{parent.jobs.make.outputs.made}}
"""
BOUND = "${{parent.outputs.answer}}"


def types(tmp_path: Path, kind: str, bound: str) -> tuple[str, str]:
    """The types of what ``make`` writes and of what ``use`` reads, where nothing is wrong."""
    file = tmp_path / "job.yml"
    file.write_text(PIPELINE % (kind, bound))
    read, problems = aml.examine(file)
    assert problems == []
    assert isinstance(read, aml.Pipeline)
    make, use = read.jobs["make"].component, read.jobs["use"].component
    assert isinstance(make, aml.CommandComponent)
    assert isinstance(use, aml.CommandComponent)
    return make.outputs["made"].type, use.inputs["made"].type


@pytest.mark.parametrize("kind", ["uri_file", "uri_folder", "mlflow_model", "custom_model"])
@pytest.mark.parametrize("bound", [BOUND, f"{{path: '{BOUND}', mode: upload}}"])
def test_an_inline_output_is_what_the_pipelines_output_is(tmp_path: Path, kind: str, bound: str) -> None:
    assert types(tmp_path, kind, bound) == (kind, kind)


def test_a_type_that_an_inline_output_states_is_kept(tmp_path: Path) -> None:
    assert types(tmp_path, "custom_model", f"{{path: '{BOUND}', type: uri_folder}}") == ("uri_folder", "uri_folder")


def test_what_is_borrowed_from_a_step_is_what_that_step_says_of_it(tmp_path: Path) -> None:
    file = tmp_path / "job.yml"
    file.write_text("""\
type: pipeline
jobs:
  a: {command: "echo > ${{outputs.o}}", environment: azureml:e@latest, outputs: {o: {type: uri_folder}}}
  b:
    command: ls ${{inputs.i}}
    environment: azureml:e@latest
    inputs: {i: {path: "${{parent.jobs.a.outputs.o}}", type: uri_file}}
  c: {command: "ls ${{inputs.j}}", environment: azureml:e@latest, inputs: {j: "${{parent.jobs.b.inputs.i}}"}}
""")
    read, problems = aml.examine(file)
    assert isinstance(read, aml.Pipeline)
    borrower = read.jobs["c"].component
    assert isinstance(borrower, aml.CommandComponent)
    assert borrower.inputs["j"].type == "uri_file"
    assert [problem.code for problem in problems] == ["AZD141"]


def test_words_around_a_binding_are_text(tmp_path: Path) -> None:
    file = tmp_path / "job.yml"
    file.write_text(
        "type: pipeline\ninputs: {n: 3}\njobs:\n  a:\n    command: echo ${{inputs.x}}\n"
        "    environment: azureml:e@latest\n    inputs: {x: 'at ${{parent.inputs.n}} of 5'}\n"
    )
    read, problems = aml.examine(file)
    assert problems == []
    assert isinstance(read, aml.Pipeline)
    component = read.jobs["a"].component
    assert isinstance(component, aml.CommandComponent)
    assert component.inputs["x"].type == "string"
