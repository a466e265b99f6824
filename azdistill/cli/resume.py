"""``azdistill resume``: submit a run on Azure again, from where it had got."""

from __future__ import annotations

from typing import Any

import click

from azdistill import strict_json
from azdistill.cli.workspace import workspace_options


@click.command("resume")
@click.argument("run", required=False)
@click.option("--stream", "streams", is_flag=True, help="Watch the new run until it has ended.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout; everything else on stderr.")
@workspace_options
def resume_command(run: str | None, streams: bool, as_json: bool, where: Any) -> None:
    """Resubmit a run on Azure that failed or was canceled, under a new name.

    Completed steps that did not change are reused, unless their component forbids it; the teacher is not asked again
    for stored answers. RUN is a name, the beginning of the name of a run submitted from this
    folder, or 'latest' (the default). With --stream the exit code follows the new run.
    """
    from azdistill.cli import following
    from azdistill.cloud.jobs import recent
    from azdistill.cloud.submit.submit import resume
    from azdistill.cloud.workspace.connect import connect

    connection = connect(where)
    name = recent.resolve(connection, run)
    made = resume(connection, name)
    recent.remember(connection, made.name, experiment=made.experiment, studio_url=made.studio_url)
    if not as_json:
        click.echo(f"run {made.name}, from {name}")
        click.echo(made.studio_url)
    if made.forced:
        said = "Azure may reuse none of its steps; this run goes without it, and stored answers count"
        click.echo(f"note: {name} ran with force_rerun: {said}", err=True)
    elif made.reuses:
        click.echo(f"finished before: {', '.join(made.reuses)}", err=as_json)
    job = following.stream(connection, made.name, as_json=as_json) if streams else None
    if as_json:
        told: dict[str, Any] = {"name": made.name, "resumed_from": name, "studio_url": made.studio_url}
        click.echo(strict_json.dumps({**told, "status": job.status if job else None}))
    if job is not None:
        following.finish(connection, job)
