"""What a person sees of a run: a live table on a terminal, a line per change elsewhere, a summary at the end."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TextIO

from azdistill.local.listener import Listener
from azdistill.local.plan import Plan
from azdistill.local.store import RunState, StepState


class View(Listener):
    """A listener that shows; a context manager. ``with`` it, the terminal is as before afterwards."""

    def __enter__(self) -> View:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def warn(self, text: str) -> None:
        """Show a warning of the program's own."""
        print(f"warning: {text}", file=sys.stderr, flush=True)


class PlainView(View):
    """One line per thing that happens, for pipes and log files."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def run_started(self, run: RunState, plan: Plan) -> None:
        self._say(f"run {run.run_id}: {plan.name}, {len(plan.steps)} steps")
        for note in plan.notes:
            self._say(f"note: {note}")

    def step_started(self, name: str, step: StepState) -> None:
        self._say(f"{name}: started (attempt {step.attempts})")

    def line(self, name: str, text: str) -> None:
        self._say(f"{name} | {text}")

    def step_ended(self, name: str, step: StepState) -> None:
        self._say(f"{name}: {step.status}{_why(step)}")

    def run_ended(self, run: RunState) -> None:
        self._say(f"run {run.run_id}: {run.status} in {run.seconds:.1f} s")

    def _say(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


def _why(step: StepState) -> str:
    if step.status == "completed":
        return f" in {step.seconds:.1f} s"
    return f": {step.error}" if step.error else ""


def make_view(*, to_stderr: bool) -> View:
    """The view for this terminal."""
    return PlainView(sys.stderr if to_stderr else sys.stdout)
