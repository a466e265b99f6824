"""``azdistill status``: how a run on Azure is doing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from azdistill.cli.workspace import workspace_options

if TYPE_CHECKING:
    from azdistill.cloud.jobs.follow import Job


@click.command("status")
@click.argument("run", required=False)
@click.option("--wait", is_flag=True, help="Watch the run until it has ended.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@workspace_options
def status_command(run: str | None, wait: bool, as_json: bool, where: Any) -> None:
    """Show a run on Azure: its steps, their states and times, what was reused.

    RUN is a name, the beginning of the name of a run submitted from this folder, or 'latest' (the default). The exit
    code follows the run: 0 while it goes on or when it completed, 1 when it failed (2 or 4 where the failed step says
    that its input or a service was at fault), 130 when it was canceled.
    """
    from azdistill.cli import following
    from azdistill.cloud.jobs import recent
    from azdistill.cloud.jobs.follow import get_job
    from azdistill.cloud.workspace.connect import connect

    connection = connect(where)
    name = recent.resolve(connection, run)
    job = following.stream(connection, name, as_json=as_json) if wait else get_job(connection, name)
    error = following.error_of(job)
    if as_json:
        click.echo(following.as_json(job, error))
    else:
        _print(job, steps=not wait)
    following.finish(connection, job)


def _print(job: Job, *, steps: bool) -> None:
    from azdistill.cli.board import duration
    from azdistill.cli.cloud_view import step_lines

    for line in step_lines(job) if steps else ():
        click.echo(line)
    spent = job.seconds if job.has_ended else job.started and time.time() - job.started
    after = f" {'in' if job.has_ended else 'for'} {duration(max(spent, 0.0))}" if spent is not None else ""
    click.echo(f"run {job.name}: {job.status.lower()}{after}")
    if job.studio_url:
        click.echo(job.studio_url)
