"""``azdistill cancel``: end a run on Azure."""

from __future__ import annotations

from typing import Any

import click

from azdistill.cli.workspace import workspace_options


@click.command("cancel")
@click.argument("run", required=False)
@click.option("--wait", is_flag=True, help="Wait until it has ended.")
@workspace_options
def cancel_command(run: str | None, wait: bool, where: Any) -> None:
    """Cancel a run on Azure. 'azdistill resume' reuses the steps that it finished.

    RUN is a name, the beginning of the name of a run submitted from this folder, or 'latest' (the default). A run that
    has already ended is not changed.
    """
    from azdistill.cli import following
    from azdistill.cloud.jobs import recent
    from azdistill.cloud.jobs.follow import cancel
    from azdistill.cloud.workspace.connect import connect

    connection = connect(where)
    name = recent.resolve(connection, run)
    ended = cancel(connection, name)
    if ended:
        click.echo(f"run {name}: {ended.lower()} already")
        return
    if wait:
        job = following.stream(connection, name)
        click.echo(f"run {name}: {job.status.lower()}")
    else:
        click.echo(f"run {name}: canceling")
