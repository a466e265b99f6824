"""The live view: what a terminal shows while a run goes on, and after it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from azdistill import redact
from azdistill.cli import main
from azdistill.cli.run_view import RunView
from azdistill.cli.screen import LiveScreen, PlainScreen, open_screen
from azdistill.cli.text import duration
from azdistill.local.plan.steps import Plan
from azdistill.local.store.events import Event, RunState, StepState


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
    with closing(LiveScreen(terminal)) as screen:
        view = RunView(screen)
        view.hear(Event.of("run_started", plan=plan), run)
        view.hear(Event.of("step_started", "first", attempt=1), run)
        view.hear(Event.of("line", "first", text="a [red]line"), run)
        progress = {"kind": "progress", "done": 3, "total": 12, "rate": 1.5, "eta": 6, "text": "asking"}
        view.hear(Event.of("record", "first", record=progress), run)
        assert screen.live
        screen.live.refresh()
        run.steps["first"] = StepState("completed", seconds=75)
        view.hear(Event.of("step_ended", "first"), run)
        run.steps["second"] = StepState("failed", seconds=1, error="it failed", log=str(tmp_path / "log.txt"))
        view.hear(Event.of("step_ended", "second"), run)
        run.steps["third"] = StepState("skipped", reason="branch", detail="'gate' is false")
        view.hear(Event.of("step_ended", "third"), run)
        run.status, run.seconds = "failed", 80.0
        view.hear(Event.of("run_ended"), run)
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
        "step 'second' failed:",
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
    assert not isinstance(open_screen(to_stderr=True), LiveScreen)
    monkeypatch.setattr("sys.stderr", Terminal())
    assert isinstance(open_screen(to_stderr=True), LiveScreen)


@pytest.mark.parametrize(("seconds", "text"), [(0.04, "0.0 s"), (12, "12 s"), (185, "3 m 05 s"), (7800, "2 h 10 m")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_step_whose_inputs_are_read_is_not_shown_as_one_that_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    terminal = Terminal()
    run, plan = a_run(tmp_path)
    with closing(LiveScreen(terminal)) as screen:
        view = RunView(screen)
        view.hear(Event.of("run_started", plan=plan), run)
        view.hear(Event.of("step_reading", "first"), run)
        assert screen.live
        screen.live.refresh()
    assert "running" in terminal.getvalue()
    assert "reading its code and inputs" in terminal.getvalue()


EVIL = "demo\x1b]0;title\x07\x1b[2J\x9b31m\u202e"


@pytest.mark.parametrize("kind", [PlainScreen, LiveScreen])
def test_what_a_pipeline_is_called_does_not_steer_the_terminal(
    kind: type[PlainScreen], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = Terminal()
    plan = Plan(EVIL, "e", {"first": None}, {}, {}, False, False, (EVIL,))  # type: ignore[dict-item]
    run = RunState("run_1", tmp_path, EVIL, "e", error=EVIL, steps={"first": StepState()}, outputs={"o": EVIL})
    with closing(kind(terminal)) as screen:
        shown = RunView(screen)
        shown.hear(Event.of("run_started", plan=plan), run)
        run.status = "failed"
        shown.hear(Event.of("run_ended"), run)
    text = terminal.getvalue()
    assert text.count("demo") >= 3
    assert not any(part in text for part in ("title", "\x1b[2J", "\x9b", "\u202e"))


SECRET = "s3cr3t-Value/with+chars==\"q'"


@pytest.fixture
def hidden() -> Iterator[str]:
    """A secret that is registered."""
    redact.register(SECRET)
    yield SECRET
    redact.forget()


@pytest.mark.parametrize("kind", [PlainScreen, LiveScreen])
def test_no_secret_is_in_anything_that_is_shown(
    kind: type[PlainScreen],
    hidden: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "200")
    terminal = Terminal()
    run, plan = a_run(tmp_path)
    torn = f"{hidden[:9]}\x1b[1m{hidden[9:]}"
    with closing(kind(terminal)) as screen:
        view = RunView(screen)
        view.hear(Event.of("run_started", plan=replace(plan, notes=(f"note {hidden}",))), run)
        screen.warn(f"warned {hidden}")
        view.hear(Event.of("preparing", text=f"pulling {torn}"), run)
        view.hear(Event.of("step_started", "first", attempt=1), run)
        for text in (hidden, torn, [hidden]):
            view.hear(Event.of("line", "first", text=f"line {text}"), run)
            progress = {"kind": "progress", "done": 1, "total": 2, "text": text}
            view.hear(Event.of("record", "first", record=progress), run)
            if isinstance(screen, LiveScreen):
                assert screen.live
                screen.live.refresh()
        run.steps["first"] = StepState("failed", seconds=1, error=f"it is '{hidden}', which is not allowed")
        view.hear(Event.of("step_ended", "first"), run)
        run.steps["second"] = StepState("skipped", reason="branch", detail=f"'{hidden}' is false")
        view.hear(Event.of("step_ended", "second"), run)
        # What failed in a run that was interrupted is told by the view alone.
        run.status, run.withheld = "canceled", {"o": f"why {hidden}"}
        view.hear(Event.of("run_ended"), run)
    said = terminal.getvalue() + "".join(capsys.readouterr())
    assert "step 'first' failed: it is '***', which is not allowed" in said
    assert "pulling ***\n" in said
    assert said.count("***") >= 6
    assert hidden[:9] not in said
    assert hidden[9:] not in said


def test_an_error_does_not_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.yml").write_text('type: pipeline\n"jo\\e]0;title\\abs": 1\n')
    with pytest.raises(SystemExit):
        main(["run", str(tmp_path / "p.yml")])
    said = capsys.readouterr().err
    assert "unknown key" in said
    assert "\x1b" not in said
