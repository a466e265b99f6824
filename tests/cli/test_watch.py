"""What is shown of a run on Azure while it goes on and after it."""

from __future__ import annotations

import io
import time
from contextlib import closing

import pytest

from azdistill.cli.screen import LiveScreen, PlainScreen
from azdistill.cli.watch import JobView, state_of, step_lines
from azdistill.cloud.jobs.job import Job, JobStep


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def a_job(status: str = "Completed") -> Job:
    """A run with a step in each of several states."""
    now = time.time()
    steps = {
        "prepare": JobStep("prepare", "1", "Completed", True, "earlier-run", now - 90, now - 80),
        "teacher": JobStep("teacher", "2", "Completed", started=now - 80, ended=now - 5, compute="gpu"),
        "evaluate": JobStep("evaluate", "3", "Running", started=now - 5),
        "compare": JobStep("compare"),
    }
    return Job("job-1", status, experiment="my [bold]experiment", steps=steps)


@pytest.mark.parametrize(
    ("step", "ended", "word"),
    [
        (JobStep("a", "1", "Completed"), False, "completed"),
        (JobStep("a", "1", "Completed", reused=True), False, "reused"),
        (JobStep("a", "1", "Provisioning"), False, "preparing"),
        (JobStep("a"), False, "pending"),
        (JobStep("a"), True, "skipped"),
        (JobStep("a", "1", "NotResponding"), False, "notresponding"),
    ],
)
def test_states_have_the_words_of_a_local_run(step: JobStep, ended: bool, word: str) -> None:
    assert state_of(step, a_job("Failed" if ended else "Running")) == word


def test_a_table_of_the_steps() -> None:
    prepare, teacher, evaluate, compare = step_lines(a_job("Running"))
    assert prepare.split() == ["prepare", "reused", "of", "earlier-run"]
    assert teacher.split() == ["teacher", "completed", "1", "m", "15", "s", "gpu"]
    assert evaluate.split()[:2] == ["evaluate", "running"]
    assert compare.split() == ["compare", "pending"]


def test_elsewhere_there_is_a_line_per_change() -> None:
    stream, job = io.StringIO(), a_job()
    view = JobView(PlainScreen(stream))
    view.started(job)
    view.step_changed(job.steps["teacher"])
    view.line("teacher", "asking")
    view.trouble("no answer")
    assert stream.getvalue().splitlines() == [
        "run job-1: 4 steps, completed",
        "teacher: completed in 1 m 15 s",
        "teacher | asking",
        "waiting: no answer",
    ]


def test_a_terminal_shows_the_table_and_is_as_before_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    terminal, job = Terminal(), a_job()
    with closing(LiveScreen(terminal)) as screen:
        view = JobView(screen)
        view.started(job)
        for step in job.steps.values():
            view.step_changed(step)
        view.line("evaluate", "a [red]line")
        screen.live.refresh()
        view.trouble("the service is busy")
        view.ended(job)
    shown = terminal.getvalue()
    for text in ("my [bold]experiment  (job-1)", "evaluate | a [red]line", "waiting: the service is busy", "1 m 15 s"):
        assert text in shown
    assert "skipped" in shown[shown.rindex("my [bold]experiment") :]
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")
