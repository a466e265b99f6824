"""``azdistill doctor``: what would stand in the way of a run on Azure, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from azdistill import strict_json
from azdistill.cli.options import json_option, workspace_options
from azdistill.errors import AzdistillError
from azdistill.redact import redact

if TYPE_CHECKING:
    from azdistill.cloud.doctor.finding import Finding
    from azdistill.cloud.submit.prepare import Submission
    from azdistill.cloud.workspace.connect import Connection, Where

_STYLES = {"ok": "green", "warn": "yellow", "fail": "red", "skip": "bright_black"}
_WIDTH = 13
#: Without these nothing else can be asked.
_FIRST = ("credentials", "workspace")


@click.command("doctor")
@click.argument("recipe", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--compute",
    metavar="NAME",
    help="Also run a two-minute job there (a cluster or an instance type) that checks it from inside.",
)
@click.option("--offline", is_flag=True, help="Only this machine and the recipe; ask no service.")
@json_option
@workspace_options
@click.pass_context
def doctor_command(
    context: click.Context, recipe: Path | None, compute: str | None, offline: bool, as_json: bool, where: Where
) -> None:
    """Check this machine, the workspace and RECIPE for anything that would prevent a run on Azure.

    The exit code is 0 where nothing fails; else 4 for Azure, 3 for this machine, 2 for the recipe.
    """
    from azdistill.cloud.doctor import machine
    from azdistill.cloud.doctor import recipe as recipes
    from azdistill.cloud.doctor.finding import worst

    findings: list[Finding] = []

    def note(checks: Iterable[Finding]) -> None:
        for finding in checks:
            findings.append(finding)
            _show(finding, as_json)

    note(machine.look(Path.cwd() / ".azdistill"))
    connection = None
    prepared, problems = recipes.read(recipe, where.profile) if recipe else (None, [])
    note(problems)
    if not offline:
        connection, unreached = _connection(where, recipe)
        note(unreached)
        note(_remote(connection, prepared))
    if as_json:
        click.echo(strict_json.dumps([finding.as_json() for finding in findings], indent=2))
    if compute and connection is not None and _reached(findings):
        folder = recipe.resolve().parent if recipe else Path.cwd()
        _probe(connection, compute, prepared, folder, where.profile, as_json=as_json)
    elif compute:
        click.echo("no probe: the workspace is not reached", err=True)
    context.exit(worst(findings))


def _connection(where: Where, recipe: Path | None) -> tuple[Connection | None, list[Finding]]:
    """The workspace, or why there is none and what is therefore not looked at."""
    from azdistill.cloud.doctor.finding import SKIP, Finding, failed
    from azdistill.cloud.workspace.connect import connect

    try:
        return connect(where, recipe.resolve().parent if recipe else None), []
    except AzdistillError as error:
        names = ", ".join(name for name, _ in _checks(None) if name != "credentials")
        skipped = Finding("azure", SKIP, f"not looked at without a workspace: {names}", "--offline leaves it out")
        return None, [failed("workspace", error), skipped]


def _checks(prepared: Submission | None) -> list[tuple[str, Callable[..., Iterator[Finding]]]]:
    from azdistill.cloud.doctor import recipe as recipes
    from azdistill.cloud.doctor import workspace

    checks: list[tuple[str, Callable[..., Iterator[Finding]]]] = [
        ("clock", workspace.clock),
        ("credentials", workspace.credentials),
        ("workspace", workspace.workspace),
        ("roles", workspace.permissions),
        ("storage", workspace.storage),
        ("connections", workspace.connections),
    ]
    if prepared is not None:
        checks += [
            ("connection", lambda connection: recipes.references(connection, prepared)),
            ("plan", lambda connection: recipes.against(connection, prepared)),
        ]
    return checks


def _remote(connection: Connection | None, prepared: Submission | None) -> Iterator[Finding]:
    from azdistill.cloud.doctor.finding import FAIL, SKIP, Finding, guarded

    if connection is None:
        return
    broken = ""
    for name, check in _checks(prepared):
        if broken:
            yield Finding(name, SKIP, f"not looked at: {broken} failed")
            continue
        for finding in guarded(name, lambda run=check: run(connection)):  # type: ignore[misc]
            yield finding
            if finding.level == FAIL and name in _FIRST:
                broken = name


def _reached(findings: list[Finding]) -> bool:
    return all(finding.level != "fail" for finding in findings if finding.name in _FIRST)


def _show(finding: Finding, as_json: bool) -> None:
    if as_json:
        return
    level = click.style(f"{finding.level:<5}", fg=_STYLES[finding.level])
    click.echo(f"{level} {finding.name:<{_WIDTH}}{redact(finding.said)}")
    if finding.todo:
        click.echo(f"{'':<{6 + _WIDTH}}{redact(finding.todo)}")


def _probe(
    connection: Connection,
    compute: str,
    prepared: Submission | None,
    folder: Path,
    profile: str | None,
    *,
    as_json: bool,
) -> None:
    """Submit the probe, follow it to its end; raises where it failed."""
    from azdistill.cli import watch
    from azdistill.cloud.doctor.recipe import probe, teacher
    from azdistill.cloud.submit.plan import plan_submission
    from azdistill.cloud.submit.submit import submit

    job = probe(compute, teacher(prepared), folder, profile)
    plan_submission(connection, job).raise_for_problems()
    submitted = submit(connection, job)
    click.echo(f"probe {submitted.name}\n{submitted.studio_url}", err=True)
    watch.finish(connection, watch.stream(connection, submitted.name, as_json=as_json))
