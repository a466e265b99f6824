"""The last line of a run says when its student is not better than it was before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from azdistill.cli import watch
from azdistill.cli.run_view import summary_lines
from azdistill.client.headline import SENTENCE
from azdistill.client.progress import Lines
from azdistill.client.workspace import FollowLines
from azdistill.cloud.jobs.job import Job, job_from
from azdistill.errors import RunFailed
from azdistill.local.store.events import Event, RunState, StepState


def run_with(**metrics: float) -> RunState:
    """A run whose headline step logged these metrics."""
    run = RunState(run_id="r", folder=Path("r"), status="completed")
    run.headline = ["compare"]
    run.steps = {"compare": StepState(status="completed", metrics=metrics)}
    run.outputs = {"report": "out/report"}
    return run


@pytest.mark.parametrize(
    ("metrics", "said"), [({"better_than_baseline": 0.0}, True), ({"better_than_baseline": 1.0}, False), ({}, False)]
)
def test_a_run_here_ends_with_it(metrics: dict[str, float], said: bool, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_with(**metrics)
    assert (summary_lines(run)[-1] == SENTENCE) is said
    Lines().hear(Event.of("run_ended"), run)
    assert (capsys.readouterr().err.splitlines()[-1] == SENTENCE) is said


@pytest.mark.parametrize(("tags", "said"), [({"azdistill.not_better": "true"}, True), ({}, False)])
def test_a_run_on_azure_ends_with_it(tags: dict[str, str], said: bool, capsys: pytest.CaptureFixture[str]) -> None:
    nobody: Any = None
    watch.finish(nobody, Job("job", "Completed", tags=tags))
    assert (capsys.readouterr().err == f"{SENTENCE}\n") is said


@pytest.mark.parametrize(("tags", "said"), [({"azdistill.not_better": "true"}, True), ({}, False)])
def test_a_program_that_waits_for_a_run_on_azure_sees_it(
    tags: dict[str, str], said: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    FollowLines().ended(Job("job", "Completed", tags=tags))
    assert (capsys.readouterr().err.splitlines()[-1] == SENTENCE) is said


def test_a_run_below_its_gate_says_both(capsys: pytest.CaptureFixture[str]) -> None:
    nobody: Any = None
    with pytest.raises(RunFailed):
        watch.finish(nobody, Job("job", "Failed", tags={"azdistill.not_better": "true"}))
    assert SENTENCE in capsys.readouterr().err


def test_tags_that_steps_set_while_the_job_ran_are_the_jobs() -> None:
    arm = {"name": "job", "properties": {"tags": {"mine": "1", "both": "old"}}}
    job = job_from(arm, {"tags": {"azdistill.not_better": "true", "both": "new"}}, {}, "")
    assert job.tags == {"mine": "1", "both": "new", "azdistill.not_better": "true"}
