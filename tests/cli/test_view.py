"""The live view: what a terminal shows while a run goes on, and after it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from azdistill.cli.board import duration
from azdistill.cli.view import LiveView, PlainView, make_view
from azdistill.local.plan import Plan
from azdistill.local.store import RunState, StepState


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def a_run(tmp_path: Path) -> tuple[RunState, Plan]:
    """A run of two steps, [markup] in its name."""
    plan = Plan("my [bold]pipeline", "e", {"first": None, "second": None}, {}, {}, False, False, ("a note",))  # type: ignore[dict-item]
    run = RunState("run_1", tmp_path, "my [bold]pipeline", steps={"first": StepState(), "second": StepState()})
    return run, plan


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Everything that a terminal received during a run whose second step failed."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    terminal = Terminal()
    run, plan = a_run(tmp_path)
    (tmp_path / "log.txt").write_text("error[BAD]: no [rows]\n")
    with LiveView(terminal) as view:
        view.run_started(run, plan)
        view.step_started("first", StepState("running"))
        view.line("first", "a [red]line")
        view.record("first", {"kind": "progress", "done": 3, "total": 12, "rate": 1.5, "eta": 6, "text": "asking"})
        assert view._board.live
        view._board.live.refresh()
        run.steps["first"] = StepState("completed", seconds=75)
        view.step_ended("first", run.steps["first"])
        run.steps["second"] = StepState("failed", seconds=1, error="it failed", log=str(tmp_path / "log.txt"))
        view.step_ended("second", run.steps["second"])
        run.steps["third"] = StepState("skipped", reason="branch", detail="'gate' is false")
        view.step_ended("third", run.steps["third"])
        run.status, run.seconds = "failed", 80.0
        view.run_ended(run)
    return terminal.getvalue()


def test_progress_is_shown_with_rate_and_time_left(shown: str) -> None:
    assert "3/12, 1.5/s, 6.0 s left  asking" in shown
    assert "first | a [red]line" in shown


def test_the_end_shows_every_step_and_the_failure(shown: str) -> None:
    end = shown[shown.rindex("my [bold]pipeline") :]
    for text in (
        "completed",
        "1 m 15 s",
        "failed",
        "step 'second' failed: it failed",
        "error[BAD]: no [rows]",
        "log.txt",
    ):
        assert text in end


def test_the_end_says_why_a_step_was_skipped(shown: str) -> None:
    assert "'gate' is false" in shown[shown.rindex("my [bold]pipeline") :]


def test_the_terminal_is_as_before_afterwards(shown: str) -> None:
    assert shown.count("\x1b[?25l") == shown.count("\x1b[?25h")


def test_elsewhere_there_is_a_line_per_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert isinstance(make_view(to_stderr=True), PlainView)
    monkeypatch.setattr("sys.stderr", Terminal())
    assert isinstance(make_view(to_stderr=True), LiveView)


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0 s"), (12, "12 s"), (185, "3 m 05 s"), (7800, "2 h 10 m")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
