"""``azdistill logs``: what the steps of a run printed, here or on Azure."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from azdistill.cli.workspace import workspace_options
from azdistill.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from azdistill.cloud.jobs.follow import Job
    from azdistill.cloud.workspace.connect import Connection, Where


@click.command("logs")
@click.argument("step", required=False)
@click.option("--run", metavar="RUN", help="The run, here or on Azure (default: the one begun last from here).")
@click.option("-f", "--follow", "follows", is_flag=True, help="Keep printing new lines until the run ends.")
@workspace_options
def logs_command(step: str | None, run: str | None, follows: bool, where: Any) -> None:
    """Print the logs of a run, of all steps or of STEP, each line behind the name of its step.

    RUN is a run here or on Azure: its name, the beginning of one, or 'latest'. When it failed, the failed step and the
    lines that say why come first; with -f the exit code is the run's. Reused steps show the log of the run that made
    their results when they are named.
    """
    if _is_here(step, run, where, follows):
        return
    from azdistill.cli import following
    from azdistill.cloud.jobs import recent
    from azdistill.cloud.jobs.follow import get_job
    from azdistill.cloud.workspace.connect import connect

    try:
        connection = connect(where)
    except UserError as unnamed:
        raise _nowhere(unnamed, run) from None
    if run is None and step is not None and step in recent.recent(connection):
        # A run's name where a step's is expected can only mean the run.
        run, step = step, None
    name = recent.resolve(connection, run)
    job = get_job(connection, name)
    refuse_unknown_step(job, step)
    for line in following.why_failed(connection, job):
        click.echo(line)
    if not follows or job.has_ended:
        _print(connection, job, step)
    else:
        job = _follow(connection, name, step)
        for line in following.why_failed(connection, job):
            click.echo(line, err=True)
    if follows and (error := following.error_of(job)):
        raise error


def _is_here(step: str | None, run: str | None, where: Where, follows: bool) -> bool:
    """Print the logs of a run on this machine, if that is what is meant: a workspace that is named has the others."""
    from azdistill.cli.local_logs import meant_here, print_logs
    from azdistill.cloud.jobs import recent

    submitted = recent.submitted()
    if any(dataclasses.astuple(where)) or (run is None and step in submitted):
        return False
    found, step = meant_here(run, step, max(submitted.values(), default=None))
    if not found:
        return False
    if run is None or run == "latest":
        click.echo(f"run {found.run_id}, on this machine", err=True)
    print_logs(found, step, follows=follows)
    return True


def _nowhere(error: UserError, run: str | None) -> UserError:
    """The error where no workspace is named, and nothing here is meant either."""
    if error.code != "AZD411":
        return error
    from azdistill.local import find_home, list_runs

    known = [found.run_id for found in list_runs(find_home())][:5]
    if run is None or not known:
        return UserError(
            "there are no runs here yet", code="AZD383", hint=f"azdistill run FILE; on Azure: {error.hint}"
        )
    hint = f"{did_you_mean(run, known)}; for one on Azure name its workspace (azdistill logs --help)"
    return UserError(f"no run '{run}' here", code="AZD385", hint=hint)


def refuse_unknown_step(job: Job, step: str | None) -> None:
    """Raise UserError AZD437 where the run has no such step."""
    if step is None or step in job.steps or any(name.startswith(f"{step}.") for name in job.steps):
        return
    hint = did_you_mean(step, list(job.steps))
    raise UserError(f"the run {job.name} has no step '{step}'", code="AZD437", hint=hint)


def _print(connection: Connection, job: Job, step: str | None) -> None:
    from azdistill.cloud.jobs.logs import LogTail
    from azdistill.cloud.jobs.run_history import History
    from azdistill.cloud.workspace.errors import explain

    tail = LogTail(History(connection), [step] if step else None, reused=step is not None)
    with explain("reading logs"):
        told = tail.read(job, lambda name, text: click.echo(f"{name} | {text}"))
    if not told:
        waiting = "nothing was printed" if job.has_ended else f"nothing is printed yet ({job.status.lower()})"
        click.echo(waiting, err=True)


def _follow(connection: Connection, name: str, step: str | None) -> Job:
    from azdistill.cli.following import left_alone
    from azdistill.cloud.jobs.follow import FollowListener, follow

    class Lines(FollowListener):
        def line(self, step: str, text: str) -> None:
            click.echo(f"{step} | {text}")

        def trouble(self, text: str) -> None:
            click.echo(f"waiting: {text}", err=True)

    try:
        return follow(connection, name, Lines(), steps=[step] if step else None)
    except KeyboardInterrupt:
        raise left_alone(name) from None
