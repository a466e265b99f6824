"""Watching a run on Azure to its end, and what the command line ends with because of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from azdistill import strict_json
from azdistill.client.headline import verdict_of_tags
from azdistill.errors import AzdistillError, Interrupted, RunFailed
from azdistill.redact import clean, redact

if TYPE_CHECKING:
    from azdistill.cloud.jobs.follow import Job
    from azdistill.cloud.workspace.connect import Connection


def stream(connection: Connection, name: str, *, as_json: bool = False) -> Job:
    """Show the run ``name`` until it has ended. Ctrl-C asks whether to cancel it or to leave it to itself.

    Raises Interrupted where it is left to itself; how the run ended is in the job (see :func:`finish`).
    """
    from azdistill.cli.cloud_view import make_cloud_view
    from azdistill.cloud.jobs.follow import follow

    canceled = False
    while True:
        try:
            with make_cloud_view(to_stderr=as_json) as view:
                return follow(connection, name, view)
        except KeyboardInterrupt:
            if canceled or not _cancels(name):
                raise left_alone(name) from None
        from azdistill.cloud.jobs.follow import cancel

        cancel(connection, name)
        canceled = True
        click.echo("canceling; waiting for the run to end", err=True)


def _cancels(name: str) -> bool:
    """Whether the person at the terminal wants the run canceled; without a terminal nobody does."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    click.echo(f"\nThe run {name} goes on without you.", err=True)
    try:
        answer: str = click.prompt(
            "Detach and let it run, or cancel it?",
            type=click.Choice(["detach", "cancel"]),
            default="detach",
            err=True,
        )
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
    said = (step.error if step else "") or job.error
    first = redact(said.splitlines()[0][:400]) if said else ""
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


def as_json(job: Job, error: AzdistillError | None = None) -> str:
    """The object that ``--json`` prints."""
    result: dict[str, Any] = job.as_json()
    return strict_json.dumps(clean(result | ({"exit_code": error.exit_code} if error else {"exit_code": 0})))
