"""What a program sees on stderr while it waits: a line for each step that begins or ends."""

from __future__ import annotations

import sys

from azdistill.client.headline import verdict_of_metrics
from azdistill.local import Event, Listener, Plan, RunState, StepState
from azdistill.redact import redact


def say(text: str) -> None:
    """Show one line on stderr; secrets are hidden in it."""
    # One write: lines of several steps do not mix.
    sys.stderr.write(redact(text) + "\n")
    sys.stderr.flush()


class Lines(Listener):
    """Tells how a local run goes."""

    def hear(self, event: Event, run: RunState) -> None:
        match event.kind:
            case "run_started" | "run_resumed":
                plan: Plan = event.fields["plan"]
                say(f"{run.run_id}: {plan.name}, {len(plan.steps)} steps")
                for note in plan.notes:
                    say(f"note: {note}")
            case "step_started":
                say(f"  {event.step} ...")
            case "step_ended":
                _say_end(event.step, run.steps[event.step])
            case "run_ended":
                # The step that failed has said why.
                told = any(step.status == "failed" for step in run.steps.values())
                why = f": {run.error}" if run.error and not told else ""
                say(f"{run.run_id}: {run.status} in {run.seconds:.1f} s{why}")
                if line := verdict_of_metrics(run.metrics):
                    say(line)


def _say_end(name: str, step: StepState) -> None:
    took = f" in {step.seconds:.1f} s" if step.status in ("completed", "failed") else ""
    say(f"  {name}: {step.status}{took}" + (f": {step.error}" if step.error else ""))
    if step.status == "failed" and step.log:
        say(f"  log: {step.log}")
