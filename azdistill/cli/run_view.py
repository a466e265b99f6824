"""A run on this machine, as it is shown on a screen, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from azdistill.cli.board import Row
from azdistill.cli.screen import PlainScreen
from azdistill.cli.text import aligned, brief, duration, plural
from azdistill.client.headline import verdict_of_metrics
from azdistill.local import Event, Listener, Plan, RunState, StepState
from azdistill.terminal import telling

#: The end of a log is enough: what went wrong is said last.
_LOG_END = 256 * 1024
_ENDED = "[azdistill] the command ended with exit code"


class RunView(Listener):
    """Shows what happens in a run."""

    def __init__(self, screen: PlainScreen, clock: Callable[[], float] = time.monotonic) -> None:
        self._screen, self._clock = screen, clock
        self._failed: set[str] = set()

    def hear(self, event: Event, run: RunState) -> None:
        screen, name = self._screen, event.step
        match event.kind:
            case "preparing":
                screen.prepare(event.fields["text"])
            case "run_started" | "run_resumed":
                plan: Plan = event.fields["plan"]
                text = f"run {run.run_id}: {plan.name}, {plural(len(plan.steps), 'step')}"
                screen.start(f"{plan.name}  ({run.run_id})", plan.steps, text)
                for note in plan.notes:
                    screen.note(note)
            case "step_reading":
                screen.show(name, Row("running", self._clock(), detail="reading its code and inputs"))
            case "step_waiting":
                text = f"run {event.fields['run']} executes the same step: waiting for its result"
                screen.show(name, Row("running", self._clock(), detail=text), f"{name}: {text}")
            case "step_started":
                attempt = event.fields["attempt"]
                text = f"{name}: started" + (f" (attempt {attempt})" if attempt > 1 else "")
                screen.show(name, Row("running", self._clock()), text)
            # How a command ended stands in its log for those who read that; here the run tells it.
            case "line" if not event.fields["text"].startswith(_ENDED):
                screen.line(name, event.fields["text"])
            case "record" if event.trial is None and event.fields["record"]["kind"] == "progress":
                screen.progress(name, event.fields["record"])
            case "trial_ended":
                screen.pin(f"{name}: {event.fields['line']}")
            case "step_ended":
                self._end_step(name, run.steps[name])
            case "run_ended":
                screen.finish(_step_lines(run))
                for line in summary_lines(run, self._told_as_error(run)):
                    screen.say(line, "bold red" if run.status == "failed" else "")

    def _end_step(self, name: str, step: StepState) -> None:
        seconds = f" in {duration(step.seconds)}" if step.status in ("completed", "failed") else ""
        if step.status == "failed":
            self._failed.add(name)
        # Why it failed is said once, when the run ends, with what its log says of it.
        text = f"{name}: {step.status}{seconds}" + (f": {step.detail}" if step.detail else "")
        self._screen.show(name, Row(step.status, 0.0, step.seconds, detail=step.detail), text)

    def _told_as_error(self, run: RunState) -> str | None:
        """The step whose failure is the error that the program ends with."""
        return next((name for name in run.steps if name in self._failed), None) if run.status == "failed" else None


def _step_lines(run: RunState) -> list[str]:
    return [f"  {line}" for line in aligned([(name, step.status, _time_of(step)) for name, step in run.steps.items()])]


def _time_of(step: StepState) -> str:
    if step.detail:
        return step.detail
    attempts = f", attempt {step.attempts}" if step.attempts > 1 else ""
    return duration(step.seconds) + attempts if step.status in ("completed", "failed", "canceled") else ""


def summary_lines(run: RunState, told: str | None = None) -> list[str]:
    """How a run ended: what failed and why, and where the outputs are. ``told``: see :func:`why_failed`."""
    lines = [f"run {run.run_id}: {run.status} in {duration(run.seconds)}"]
    if run.error and not any(step.status == "failed" for step in run.steps.values()):
        lines.append(run.error)
    lines += why_failed(run, told)
    lines += [line for name, step in run.steps.items() if (line := best_line(name, step))]
    lines += [f"{name}: {path}" for name, path in run.outputs.items()]
    lines += [f"{name}: not written: {why}" for name, why in run.withheld.items()]
    return [*lines, line] if (line := verdict_of_metrics(run.metrics)) else lines


def why_failed(run: RunState, told: str | None = None) -> list[str]:
    """The steps that failed, the lines of their logs that say why, and where those are.

    ``told``: the step whose failure is told besides, as the error that the program ends with.
    """
    lines = []
    for name, step in run.steps.items():
        if step.status != "failed":
            continue
        said = error_lines(Path(step.log)) if step.log else []
        if name != told:
            lines.append(f"step '{name}' failed: {_readable(step.error, run)}")
        elif step.log:
            lines.append(f"step '{name}' failed:")
        lines += [f"  {_readable(line, run)}" for line in said]
        lines += [f"  log: {step.log}"] if step.log else []
    return lines


def _readable(line: str, run: RunState) -> str:
    """A line of a log with the outputs of steps in place of where they lie: in the cache, under long hashes."""
    places = [(path, name, output) for name, step in run.steps.items() for output, path in step.outputs.items()]
    for path, name, output in sorted(places, reverse=True):
        line = line.replace(path, f"output '{output}' of step '{name}'")
    return brief(line)


def error_lines(log: Path) -> list[str]:
    """The first lines that say ``error...``, else the last line of the last traceback, else the end of the log."""
    try:
        with open(log, "rb") as file:
            file.seek(max(file.seek(0, 2) - _LOG_END, 0))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return telling([line for line in text.splitlines() if not line.startswith("[azdistill] ")])


def best_line(name: str, step: StepState) -> str:
    """What a sweep found: its best trial, what that reached, and with which hyperparameters. Empty for other steps."""
    best = step.trials.get(step.best_trial) if step.best_trial is not None else None
    if best is None:
        return ""
    drawn = ", ".join(f"{key}={value}" for key, value in best.hyperparameters.items())
    reached = "" if best.metric is None else f" ({best.metric:.6g})"
    return f"{name}: best trial {best.number}{reached}: {drawn}"
