"""What a program sees on stderr while it waits: a line for each step that begins or ends."""

from __future__ import annotations

import sys
from typing import TextIO

from azdistill.local.listener import Listener
from azdistill.local.plan import Plan
from azdistill.local.store import RunState, StepState
from azdistill.redact import redact


class Lines(Listener):
    """Tells ``stream`` (default: stderr) how a local run goes."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def say(self, text: str) -> None:
        """Show one line; secrets are hidden in it."""
        # One write: lines of several steps do not mix.
        stream = self._stream or sys.stderr
        stream.write(redact(text) + "\n")
        stream.flush()

    def run_started(self, run: RunState, plan: Plan) -> None:
        self.say(f"{run.run_id}: {plan.name}, {len(plan.steps)} steps")
        for note in plan.notes:
            self.say(f"note: {note}")

    def step_started(self, name: str, step: StepState) -> None:
        self.say(f"  {name} ...")

    def step_ended(self, name: str, step: StepState) -> None:
        took = f" in {step.seconds:.1f} s" if step.status in ("completed", "failed") else ""
        self.say(f"  {name}: {step.status}{took}" + (f": {step.error}" if step.error else ""))
        if step.status == "failed" and step.log:
            self.say(f"  log: {step.log}")

    def run_ended(self, run: RunState) -> None:
        self.say(f"{run.run_id}: {run.status} in {run.seconds:.1f} s" + (f": {run.error}" if run.error else ""))
