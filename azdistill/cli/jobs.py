"""``azdistill status``, ``cancel`` and ``resume``: a run on Azure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from azdistill import strict_json
from azdistill.cli.options import azure_run_options, json_option
from azdistill.cli.text import duration

if TYPE_CHECKING:
    from azdistill.cloud.jobs.follow import Job
    from azdistill.cloud.workspace.connect import Connection


@click.command("status")
@click.option("--wait", is_flag=True, help="Watch the run until it has ended.")
@json_option
@azure_run_options
def status_command(connection: Connection, name: str, wait: bool, as_json: bool) -> None:
    """Show a run on Azure: its steps, their states and times, what was reused.

    RUN is a name, the beginning of the name of a run submitted from this folder, or 'latest' (the default). The exit
    code follows the run: 0 while it goes on or when it completed, 1 when it failed (2 or 4 where the failed step says
    that its input or a service was at fault), 130 when it was canceled.
    """
    from azdistill.cli import watch
    from azdistill.cloud.jobs.follow import get_job

    job = watch.stream(connection, name, as_json=as_json) if wait else get_job(connection, name)
    if as_json:
        click.echo(watch.as_json(job))
    else:
        _print(job, steps=not wait)
    watch.finish(connection, job)


def _print(job: Job, *, steps: bool) -> None:
    from azdistill.cli import watch

    for line in watch.step_lines(job) if steps else ():
        click.echo(line)
    spent = job.seconds if job.has_ended else job.started and time.time() - job.started
    after = f" {'in' if job.has_ended else 'for'} {duration(max(spent, 0.0))}" if spent is not None else ""
    click.echo(f"run {job.name}: {job.status.lower()}{after}")
    if job.studio_url:
        click.echo(job.studio_url)


@click.command("cancel")
@click.option("--wait", is_flag=True, help="Wait until it has ended.")
@azure_run_options
def cancel_command(connection: Connection, name: str, wait: bool) -> None:
    """Cancel a run on Azure. 'azdistill resume' reuses the steps that it finished.

    RUN is a name, the beginning of the name of a run submitted from this folder, or 'latest' (the default). A run that
    has already ended is not changed.
    """
    from azdistill.cli import watch
    from azdistill.cloud.jobs.follow import cancel

    if status := cancel(connection, name):
        click.echo(f"run {name}: {status.lower()} already")
        return
    click.echo(f"run {name}: {watch.stream(connection, name).status.lower() if wait else 'canceling'}")


@click.command("resume")
@click.option("--stream", "streams", is_flag=True, help="Watch the new run until it has ended.")
@json_option
@azure_run_options
def resume_command(connection: Connection, name: str, streams: bool, as_json: bool) -> None:
    """Resubmit a run on Azure that failed or was canceled, under a new name.

    Completed steps that did not change are reused, unless their component forbids it; the teacher is not asked again
    for stored answers. RUN is a name, the beginning of the name of a run submitted from this
    folder, or 'latest' (the default). With --stream the exit code follows the new run.
    """
    from azdistill.cli import watch
    from azdistill.cloud.jobs import recent
    from azdistill.cloud.submit.submit import resume

    run = resume(connection, name)
    recent.remember(connection, run.name, experiment=run.experiment, studio_url=run.studio_url)
    if not as_json:
        click.echo(f"run {run.name}, from {name}")
        click.echo(run.studio_url)
    if run.forced:
        note = "Azure may reuse none of its steps; this run goes without it, and stored answers count"
        click.echo(f"note: {name} ran with force_rerun: {note}", err=True)
    elif run.reuses:
        click.echo(f"finished before: {', '.join(run.reuses)}", err=as_json)
    job = watch.stream(connection, run.name, as_json=as_json) if streams else None
    if as_json:
        names = {"name": run.name, "resumed_from": name, "studio_url": run.studio_url}
        click.echo(strict_json.dumps({**names, "status": job.status if job else None}))
    if job is not None:
        watch.finish(connection, job)
