"""What a person sees of a run: a live table on a terminal, a line per change elsewhere, a summary at the end."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import TextIO

from azdistill.cli.board import Board, Row, duration, shown
from azdistill.cli.failure import error_lines
from azdistill.client.headline import verdict_of_metrics
from azdistill.local import Event, Listener, Plan, RunState, StepState


class View(Listener):
    """A listener that shows; a context manager."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> View:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def warn(self, text: str) -> None:
        """Show a warning of the program's own."""
        print(shown(f"warning: {text}"), file=sys.stderr, flush=True)

    def hear(self, event: Event, run: RunState) -> None:
        if event.kind == "preparing":
            print(shown(event.fields["text"]), file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """Show a line."""
        # In one piece with its end: several threads do so.
        print(f"{shown(text)}\n", end="", file=self._stream, flush=True)


class PlainView(View):
    """One line per thing that happens, for pipes and log files."""

    def hear(self, event: Event, run: RunState) -> None:
        super().hear(event, run)
        match event.kind:
            case "run_started" | "run_resumed":
                self._begin(run, event.fields["plan"])
            case "step_started":
                attempt = event.fields["attempt"]
                self.say(f"{event.step}: started" + (f" (attempt {attempt})" if attempt > 1 else ""))
            case "line":
                self.say(f"{event.step} | {event.fields['text']}")
            case "step_ended":
                self._end_step(event.step, run.steps[event.step])
            case "run_ended":
                for line in summary_lines(run):
                    self.say(line)

    def _begin(self, run: RunState, plan: Plan) -> None:
        self.say(f"run {run.run_id}: {plan.name}, {len(plan.steps)} step{'s' * (len(plan.steps) != 1)}")
        for note in plan.notes:
            self.say(f"note: {note}")

    def _end_step(self, name: str, step: StepState) -> None:
        seconds = f" in {duration(step.seconds)}" if step.status in ("completed", "failed") else ""
        why = step.error or step.detail
        self.say(f"{name}: {step.status}{seconds}" + (f": {why}" if why else ""))


class LiveView(View):
    """A table that is drawn anew four times a second, with the latest log lines under it."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._board = Board(stream)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._board.stop()

    def warn(self, text: str) -> None:
        self._board.print(f"warning: {text}", "yellow")

    def hear(self, event: Event, run: RunState) -> None:
        super().hear(event, run)
        match event.kind:
            case "run_started" | "run_resumed":
                plan: Plan = event.fields["plan"]
                for note in plan.notes:
                    self._board.print(f"note: {note}", "dim")
                self._board.start(f"{plan.name}  ({run.run_id})", plan.steps)
            case "step_reading":
                self._board.show(event.step, Row("running", time.monotonic(), detail="reading its code and inputs"))
            case "step_started":
                self._board.show(event.step, Row("running", time.monotonic()))
            case "line":
                self._board.line(event.step, event.fields["text"])
            case "record" if event.trial is None and event.fields["record"]["kind"] == "progress":
                self._board.progress(event.step, event.fields["record"])
            case "trial_ended":
                self._board.print(f"{event.step}: {event.fields['line']}")
            case "step_ended":
                step = run.steps[event.step]
                self._board.show(event.step, Row(step.status, 0.0, step.seconds, detail=step.detail))
            case "run_ended":
                self._end(run)

    def _end(self, run: RunState) -> None:
        self._board.stop()
        self._board.print_table()
        for line in summary_lines(run, steps=False):
            self._board.print(line, "bold red" if run.status == "failed" else "")


def summary_lines(run: RunState, *, steps: bool = True) -> list[str]:
    """How a run ended: a table of steps, what failed and why, and where the outputs are."""
    lines = []
    if steps:
        width = max((len(name) for name in run.steps), default=0)
        lines += [f"  {name:<{width}}  {step.status:<9}  {_time_of(step)}".rstrip() for name, step in run.steps.items()]
    lines.append(f"run {run.run_id}: {run.status} in {duration(run.seconds)}")
    if run.error and not any(step.status == "failed" for step in run.steps.values()):
        lines.append(run.error)
    lines += why_failed(run)
    lines += [line for name, step in run.steps.items() if (line := best_line(name, step))]
    lines += [f"{name}: {path}" for name, path in run.outputs.items()]
    lines += [f"{name}: not written: {why}" for name, why in run.withheld.items()]
    return [*lines, line] if (line := verdict_of_metrics(run.metrics)) else lines


def why_failed(run: RunState) -> list[str]:
    """The steps that failed, the lines of their logs that say why, and where those are."""
    lines = []
    for name, step in run.steps.items():
        if step.status == "failed":
            lines.append(f"step '{name}' failed: {step.error}")
            if step.log:
                lines += [f"  {line}" for line in error_lines(Path(step.log))]
                lines.append(f"  log: {step.log}")
    return lines


def best_line(name: str, step: StepState) -> str:
    """What a sweep found: its best trial, what that reached, and with which hyperparameters. Empty for other steps."""
    best = step.trials.get(step.best_trial) if step.best_trial is not None else None
    if best is None:
        return ""
    drawn = ", ".join(f"{key}={value}" for key, value in best.hyperparameters.items())
    reached = "" if best.metric is None else f" ({best.metric:.6g})"
    return f"{name}: best trial {best.number}{reached}: {drawn}"


def _time_of(step: StepState) -> str:
    if step.detail:
        return step.detail
    tried = f", attempt {step.attempts}" if step.attempts > 1 else ""
    return duration(step.seconds) + tried if step.status in ("completed", "failed", "canceled") else ""


def make_view(*, to_stderr: bool) -> View:
    """The view for this terminal."""
    stream = sys.stderr if to_stderr else sys.stdout
    return LiveView(stream) if stream.isatty() else PlainView(stream)
