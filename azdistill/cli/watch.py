"""A run on Azure: watching it to its end, in a local run's words, and what the command line ends with because of it."""

from __future__ import annotations

import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import click

from azdistill import strict_json
from azdistill.cli.board import Row
from azdistill.cli.screen import PlainScreen, open_screen
from azdistill.cli.text import aligned, duration, plural
from azdistill.client.headline import verdict_of_tags
from azdistill.cloud.jobs.follow import FollowListener, Job, JobStep, cancel, follow
from azdistill.errors import AzdistillError, Interrupted, RunFailed
from azdistill.redact import clean, redact

if TYPE_CHECKING:
    from azdistill.cloud.workspace.connect import Connection

_STATES = {
    **{"NotStarted": "pending", "Queued": "queued", "Preparing": "preparing", "Provisioning": "preparing"},
    **{"Starting": "preparing", "Running": "running", "Finalizing": "finalizing", "CancelRequested": "canceling"},
    **{"Completed": "completed", "Failed": "failed", "Canceled": "canceled"},
}


class JobView(FollowListener):
    """Shows what happens to a job."""

    def __init__(self, screen: PlainScreen) -> None:
        self._screen = screen

    def started(self, job: Job) -> None:
        text = f"run {job.name}: {plural(len(job.steps), 'step')}, {job.status.lower()}"
        self._screen.start(f"{job.experiment}  ({job.name})", job.steps, text)

    def step_changed(self, step: JobStep) -> None:
        ended = step.status in ("Completed", "Failed") and step.seconds is not None and not step.reused
        seconds = f" in {duration(step.seconds or 0.0)}" if ended else ""
        self._screen.show(step.name, _row(step), f"{step.name}: {state_of(step)}{seconds}")

    def line(self, step: str, text: str) -> None:
        self._screen.line(step, text)

    def trouble(self, text: str) -> None:
        self._screen.say(f"waiting: {text}")

    def ended(self, job: Job) -> None:
        for step in job.steps.values():
            self._screen.show(step.name, _row(step, job))
        self._screen.finish(step_lines(job))


def state_of(step: JobStep, job: Job | None = None) -> str:
    """A step's state in the words of a local run; of a run that has ended, what never began was skipped."""
    if step.reused and step.status == "Completed":
        return "reused"
    if step.status == "NotStarted" and job is not None and job.has_ended:
        return "skipped"
    return _STATES.get(step.status, step.status.lower())


def step_lines(job: Job) -> list[str]:
    """A table of the steps: state, time, compute, and which run's results were reused."""
    rows = [
        (name, state_of(step, job), _time(step), step.compute, f"of {step.reused_from}" if step.reused_from else "")
        for name, step in job.steps.items()
    ]
    return [f"  {line}" for line in aligned(rows)]


def _time(step: JobStep) -> str:
    if step.reused or step.started is None:
        return ""
    return duration(step.seconds if step.seconds is not None else max(time.time() - step.started, 0.0))


def _row(step: JobStep, job: Job | None = None) -> Row:
    # The screen counts by a clock that starts at any moment; the service says when it was.
    began = time.monotonic() - (time.time() - step.started) if step.started is not None else time.monotonic()
    return Row(state_of(step, job), began, step.seconds or 0.0)


def stream(connection: Connection, name: str, *, as_json: bool = False) -> Job:
    """Show the run ``name`` until it has ended. Ctrl-C asks whether to cancel it or to leave it to itself.

    Raises Interrupted where it is left to itself; how the run ended is in the job (see :func:`finish`).
    """
    canceled = False
    while True:
        try:
            with closing(open_screen(to_stderr=as_json)) as screen:
                return follow(connection, name, JobView(screen))
        except KeyboardInterrupt:
            if canceled or not _cancels(name):
                raise left_alone(name) from None
        cancel(connection, name)
        canceled = True
        click.echo("canceling; waiting for the run to end", err=True)


def _cancels(name: str) -> bool:
    """Whether the person at the terminal wants the run canceled; without a terminal nobody does."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    click.echo(f"\nThe run {name} goes on without you.", err=True)
    choice = click.Choice(["detach", "cancel"])
    try:
        answer: str = click.prompt("Detach and let it run, or cancel it?", type=choice, default="detach", err=True)
    except (click.Abort, KeyboardInterrupt):
        return False
    return answer == "cancel"


def left_alone(name: str) -> Interrupted:
    """The error for a run that is no longer watched."""
    hint = f"azdistill status {name} --wait; azdistill cancel {name}"
    return Interrupted(f"the run {name} goes on without us", code="AZD448", hint=hint)


def finish(connection: Connection, job: Job) -> None:
    """Say why the run failed, and raise what the command line ends with; nothing where it completed or goes on.

    Of a student that is not better than it was before that is said too.
    """
    error = error_of(job)
    if line := verdict_of_tags(job.tags):
        click.echo(line, err=True)
    if error is None:
        return
    for line in why_failed(connection, job):
        click.echo(line, err=True)
    raise error


def error_of(job: Job) -> AzdistillError | None:
    """The error that stands for how a run ended: exit code 1, or what the failed step says; 130 if it was canceled."""
    if job.status == "Canceled":
        return Interrupted(f"the run {job.name} was canceled", code="AZD434", hint=f"azdistill resume {job.name}")
    if job.status != "Failed":
        return None
    step = job.failed_step
    what = f"step '{step.name}' of the run {job.name} failed" if step else f"the run {job.name} failed"
    reason = (step.error if step else "") or job.error
    first = redact(reason.splitlines()[0][:400]) if reason else ""
    what += f": {first}" if first else ""
    hint = f"azdistill logs --run {job.name}"
    return RunFailed(what, code="AZD433", hint=hint, step_exit_code=step.exit_code if step else None)


def why_failed(connection: Connection, job: Job) -> list[str]:
    """The failed step and the first lines of its log that say why; where the log cannot be read, nothing of it."""
    from azdistill.cloud.jobs.logs import why
    from azdistill.cloud.jobs.run_history import History

    step = job.failed_step
    if step is None or not step.run_id:
        return []
    try:
        lines = why(History(connection), step)
    except AzdistillError:
        lines = []
    return [f"step '{step.name}' failed:", *(f"  {line}" for line in lines)] if lines else []


def as_json(job: Job) -> str:
    """The object that ``--json`` prints, with the exit code that the run ends with."""
    error = error_of(job)
    return strict_json.dumps(clean({**job.as_json(), "exit_code": error.exit_code if error else 0}))
