"""``azdistill submit``: a recipe or pipeline, on Azure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from azdistill import strict_json
from azdistill.cli.workspace import workspace_options
from azdistill.errors import UserError
from azdistill.redact import redact

if TYPE_CHECKING:
    from azdistill.cloud.submit.plan import SubmitPlan
    from azdistill.cloud.submit.prepare import Prepared
    from azdistill.cloud.workspace.connect import Connection, Where


@click.command("submit")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--set", "sets", multiple=True, metavar="NAME=VALUE", help="Give an input or setting another value. Repeatable."
)
@click.option("--stream", is_flag=True, help="Follow the run to its end; the exit code is the run's.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask; required without a terminal.")
@click.option("--dry-run", is_flag=True, help="Print the plan and submit nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout; the rest goes to stderr.")
@click.option("--experiment", metavar="NAME", help="Experiment (default: the pipeline's).")
@workspace_options
def submit_command(
    file: Path,
    sets: tuple[str, ...],
    stream: bool,
    yes: bool,
    dry_run: bool,
    as_json: bool,
    experiment: str | None,
    where: Where,
) -> None:
    """Submit a recipe or pipeline to an Azure ML workspace.

    Everything is checked, and a plan is shown, before anything is uploaded: where steps run, what is uploaded, what is
    reused, and what it may cost.
    """
    from azdistill.cloud.workspace.connect import begin_import, connect
    from azdistill.compile.sets import parse_sets

    begin_import()
    from azdistill.cloud.submit.plan import make_plan
    from azdistill.cloud.submit.prepare import prepare

    prepared = prepare(file, parse_sets(sets), profile=where.profile, experiment=experiment)
    _say_findings(prepared)
    connection = connect(where, file.resolve().parent)
    plan = make_plan(connection, prepared)
    if dry_run and as_json:
        click.echo(strict_json.dumps(plan.as_json(), default=str))
    else:
        _show(plan)
    plan.raise_for_problems()
    if not dry_run:
        _agree(plan, yes)
        _send(connection, prepared, plan, stream=stream, as_json=as_json)


def _say_findings(prepared: Prepared) -> None:
    for text in [*map(str, prepared.warnings), *(f"note: {note}" for note in prepared.notes)]:
        click.echo(redact(text), err=True)


def _show(plan: SubmitPlan) -> None:
    from azdistill.cli.submit_text import plan_lines

    for line in plan_lines(plan):
        click.echo(redact(line), err=True)


def _agree(plan: SubmitPlan, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        message = "submitting needs confirmation, and there is no terminal to ask on"
        raise UserError(message, code="AZD425", hint="--yes submits without asking; --dry-run shows the plan only")
    more = f" and upload {plan.upload_size / 1e9:.0f} GB" if plan.needs_agreement else ""
    again = " again" if plan.earlier else ""
    if not click.confirm(f"Submit{again}{more}?", default=not (more or again), err=True):
        raise click.Abort


def _send(connection: Connection, prepared: Prepared, plan: SubmitPlan, *, stream: bool, as_json: bool) -> None:
    from azdistill.cloud.submit.submit import make_name, submit

    name = make_name(prepared)
    url = connection.studio_url(name)
    # Said before the upload: whoever is cut off knows what to look for.
    click.echo(f"run {name}\n{url}", err=True)
    submitted = submit(connection, prepared, name=name)
    if not stream:
        _answer({"name": name, "studio_url": url, "fingerprint": submitted.fingerprint}, as_json)
        click.echo(f"submitted; follow it with: azdistill logs -f {name}", err=True)
        return
    from azdistill.cli import following

    job = following.stream(connection, name, as_json=as_json)
    if as_json:
        click.echo(following.as_json(job, following.error_of(job)))
    following.finish(connection, job)


def _answer(submitted: dict[str, Any], as_json: bool) -> None:
    click.echo(strict_json.dumps(submitted) if as_json else submitted["name"])
