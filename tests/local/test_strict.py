"""What is not honoured here: a line for each, or with ``--strict`` an error at its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from local_helpers import statuses, step

from azdistill.cli.run import run_command
from azdistill.errors import SpecError
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.plan.not_honoured import refuse
from azdistill.local.plan.selection import Selection
from azdistill.local.run.listener import Listener
from azdistill.local.store.events import Event, RunState

Run = Callable[..., Finished]

PIPELINE = """\
type: pipeline
display_name: test
identity:
  type: managed
jobs:
  train:
    type: command
    command: "true"
    environment: azureml:any@latest
    resources:
      instance_count: 3
      shm_size: 4g
    queue_settings:
      job_tier: spot
  other:
    type: command
    command: "true other"
    environment: azureml:any@latest
    services:
      board:
        type: tensor_board
"""
#: What is told of it in processes: the line where it stands, and the beginning of what is said.
TOLD = [
    (3, "the pipeline: identity (managed)"),
    (11, "train: 3 instances are run as one"),
    (12, "train: resources.shm_size is for containers"),
    (13, "train: queue_settings (job_tier spot)"),
    (19, "other: services (board)"),
]


class Notes(Listener):
    notes: tuple[str, ...] = ()

    def hear(self, event: Event, run: RunState) -> None:
        if event.kind in ("run_started", "run_resumed"):
            self.notes = event.fields["plan"].notes


@pytest.fixture
def pipeline(project: Path) -> Path:
    (project / "pipeline.yml").write_text(PIPELINE)
    return project / "pipeline.yml"


def test_without_it_everything_is_told_in_a_line_and_the_run_completes(run: Run, pipeline: Path) -> None:
    told = Notes()
    assert statuses(run(pipeline, listeners=[told])) == {"train": "completed", "other": "completed"}
    assert len(told.notes) == len(TOLD)
    for _, text in TOLD:
        assert any(note.startswith(text) for note in told.notes)


def test_with_it_everything_is_refused_at_its_place_before_anything_runs(run: Run, pipeline: Path) -> None:
    with pytest.raises(SpecError) as caught:
        run(pipeline, options=Options(strict=True))
    assert [(problem.line, problem.code) for problem in caught.value.problems] == [(line, "AZD377") for line, _ in TOLD]
    for problem, (_, text) in zip(caught.value.problems, TOLD, strict=True):
        assert problem.message.startswith(text)
        assert problem.file.endswith("pipeline.yml")
    assert not list((pipeline.parent / ".azdistill").glob("runs/*"))


def test_what_is_told_of_steps_that_are_not_selected_does_not_count(run: Run, pipeline: Path) -> None:
    with pytest.raises(SpecError) as caught:
        run(pipeline, options=Options(strict=True, selection=Selection(only=("other",))))
    assert [problem.line for problem in caught.value.problems] == [3, 19]


def test_a_pipeline_that_is_honoured_whole_runs(run: Run) -> None:
    assert statuses(run({"a": step("true")}, options=Options(strict=True))) == {"a": "completed"}


def test_an_output_that_a_selection_leaves_out_is_no_reason_to_refuse(run: Run) -> None:
    jobs = {"a": step("true"), "b": step("echo x > ${{outputs.x}}", outputs=("x",))}
    jobs["b"] = {"type": "command", "component": jobs["b"], "outputs": {"x": "${{parent.outputs.last}}"}}
    options = Options(strict=True, selection=Selection(only=("a",)))
    assert statuses(run(jobs, options=options, outputs={"last": {"type": "uri_file"}})) == {"a": "completed"}


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_the_command_line_says_where(pipeline: Path, more: tuple[str, ...]) -> None:
    result = CliRunner().invoke(run_command, [str(pipeline), "--strict", "--no-tracking", *more])
    assert isinstance(result.exception, SpecError)
    assert result.exception.exit_code == 2
    assert "pipeline.yml:13:5" in str(result.exception)


def test_a_line_that_knows_no_place_is_refused_too() -> None:
    with pytest.raises(SpecError, match="somewhere"):
        refuse(["a: something somewhere"])
    refuse([])


def test_steps_that_should_run_before_and_after_all_others_are_told(run: Run, project: Path) -> None:
    settings = {"on_init": "first", "on_finalize": "last"}
    jobs = {name: step("true") for name in ("last", "train", "first")}
    told = Notes()
    run(jobs, listeners=[told], settings=settings)
    assert [note.partition(" is ignored")[0] for note in told.notes] == [
        "the pipeline: on_init",
        "the pipeline: on_finalize",
    ]
    with pytest.raises(SpecError) as caught:
        run(jobs, settings=settings, options=Options(strict=True))
    assert [problem.code for problem in caught.value.problems] == ["AZD377", "AZD377"]
