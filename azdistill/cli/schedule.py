"""``azdistill schedule``: distillation that starts by itself, in a workspace."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from azdistill import strict_json
from azdistill.cli.workspace import workspace_options
from azdistill.errors import UserError
from azdistill.redact import clean, redact

if TYPE_CHECKING:
    from azdistill.cloud.schedules.apply import Change
    from azdistill.cloud.schedules.desired import DesiredSchedule
    from azdistill.cloud.schedules.listing import Fired
    from azdistill.cloud.schedules.resource import Stored
    from azdistill.cloud.workspace.connect import Connection, Where
    from azdistill.recipe.firings import Firing

_sets = click.option("--set", "sets", multiple=True, metavar="NAME=VALUE", help="Give an input another value.")
_yes = click.option("-y", "--yes", is_flag=True, help="Do not ask; required without a terminal.")
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout.")
_name = click.option("--name", metavar="NAME", help="Name of the schedule (default: the file's).")
_frozen = click.option(
    "--allow-frozen", "frozen", multiple=True, metavar="INPUT", help="Accept that no firing sees this data change."
)
_file = click.argument("file", type=click.Path(path_type=Path))
_schedule = click.argument("name")


@click.group("schedule")
def schedule_command() -> None:
    """Run a recipe or pipeline on a schedule, in a workspace.

    FILE is a recipe with schedule:, or an Azure ML schedule (trigger, create_job).
    """


@schedule_command.command("apply")
@_file
@_name
@_sets
@_frozen
@_yes
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@_json
@workspace_options
def apply_verb(
    file: Path,
    name: str | None,
    sets: tuple[str, ...],
    frozen: tuple[str, ...],
    yes: bool,
    dry_run: bool,
    as_json: bool,
    where: Where,
) -> None:
    """Make the workspace's schedule what FILE says.

    Applying an unchanged schedule sends no request. Data that would never change between firings is refused, with the
    form that stays fresh. The next five firings are shown before anything is created.
    """
    change, connection = _planned(file, name, sets, frozen, where)
    _show(change)
    if change.kind != "none" and not dry_run:
        from azdistill.cloud.schedules.apply import carry_out

        _agree(f"{'Make' if change.kind == 'create' else 'Change'} this schedule?", yes)
        carry_out(connection, change)
    done = {"create": "made", "update": "changed", "none": "unchanged"}[change.kind]
    _answer(change, "would be " + done if dry_run and change.kind != "none" else done, as_json)


@schedule_command.command("diff")
@_file
@_name
@_sets
@_frozen
@_json
@workspace_options
def diff_verb(
    file: Path, name: str | None, sets: tuple[str, ...], frozen: tuple[str, ...], as_json: bool, where: Where
) -> None:
    """Show what `schedule apply FILE` would change; ends with 1 where there is something."""
    change, _ = _planned(file, name, sets, frozen, where)
    _show(change)
    _answer(change, {"create": "not there", "update": "differs", "none": "unchanged"}[change.kind], as_json)
    if change.kind != "none":
        click.get_current_context().exit(1)


@schedule_command.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that azdistill did not make.")
@_json
@workspace_options
def list_verb(everything: bool, as_json: bool, where: Where) -> None:
    """List the schedules of the workspace and when each fires next."""
    from azdistill.cloud.schedules import resource
    from azdistill.cloud.workspace.connect import connect

    found = [one for one in resource.every(connect(where)) if everything or one.ours]
    if as_json:
        click.echo(strict_json.dumps(clean([_as_json(one, _now()) for one in found]), indent=2))
        return
    for one in found:
        click.echo(redact(_line(one)))
    if not found:
        click.echo("no schedules; `azdistill schedule apply FILE` makes one", err=True)


@schedule_command.command("show")
@_schedule
@_json
@workspace_options
def show_verb(name: str, as_json: bool, where: Where) -> None:
    """Show a schedule: its trigger, its next five firings and its last runs."""
    from azdistill.cloud.schedules import listing, resource
    from azdistill.cloud.workspace.connect import connect

    connection = connect(where)
    stored = resource.get(connection, name)
    runs = listing.runs_of(connection, stored)
    if as_json:
        told = {**_as_json(stored, _now()), "runs": [run.as_json() for run in runs]}
        click.echo(strict_json.dumps(clean(told), indent=2))
        return
    for line in _described(stored, runs):
        click.echo(redact(line))


@schedule_command.command("enable")
@_schedule
@workspace_options
def enable_verb(name: str, where: Where) -> None:
    """Let a schedule fire again."""
    _switch(name, where, True)


@schedule_command.command("disable")
@_schedule
@workspace_options
def disable_verb(name: str, where: Where) -> None:
    """Stop a schedule from firing; current runs continue."""
    _switch(name, where, False)


@schedule_command.command("trigger")
@_schedule
@_sets
@_json
@workspace_options
def trigger_verb(name: str, sets: tuple[str, ...], as_json: bool, where: Where) -> None:
    """Start now what a schedule starts; with --set, its job is submitted afresh with other inputs."""
    from azdistill.cloud.schedules.changes import trigger
    from azdistill.cloud.workspace.connect import connect
    from azdistill.compile.sets import parse_sets

    started = trigger(connect(where), name, parse_sets(sets), _now())
    click.echo(f"started {started.how}: {started.studio_url}", err=True)
    told = {"name": started.name, "how": started.how, "studio_url": started.studio_url}
    click.echo(strict_json.dumps(told) if as_json else started.name)


@schedule_command.command("delete")
@_schedule
@_yes
@workspace_options
def delete_verb(name: str, yes: bool, where: Where) -> None:
    """Disable and delete a schedule. Its runs stay."""
    from azdistill.cloud.schedules import resource
    from azdistill.cloud.schedules.changes import delete
    from azdistill.cloud.workspace.connect import connect

    connection = connect(where)
    resource.get(connection, name)
    _agree(f"Delete the schedule {name}?", yes)
    delete(connection, name)
    click.echo(f"deleted {name}", err=True)


@schedule_command.command("run")
@_file
@_sets
@click.option("--at", metavar="TIME", help="The moment of the firing, in ISO 8601 (default: now).")
@click.option("--out", type=click.Path(path_type=Path), help="Copy the pipeline's outputs here.")
@click.option("--no-tracking", is_flag=True, help="Log nothing to MLflow.")
@_json
def run_verb(file: Path, sets: tuple[str, ...], at: str | None, out: Path | None, **options: Any) -> None:
    """Run on this machine, now, what a firing would run."""
    from azdistill.cli.schedule_run import run_firing

    run_firing(file, sets, _moment(at), out, **options)


def _planned(
    file: Path, name: str | None, sets: Sequence[str], frozen: tuple[str, ...], where: Where
) -> tuple[Change, Connection]:
    """What applying would do, after everything that can be checked without a workspace was."""
    from azdistill.cloud.workspace.connect import begin_import, connect
    from azdistill.compile.sets import parse_sets

    begin_import()
    from azdistill.cloud.schedules.apply import plan
    from azdistill.cloud.schedules.desired import read_desired
    from azdistill.cloud.schedules.freshness import check_fresh
    from azdistill.cloud.submit.prepare import raise_for

    wanted = read_desired(file, name=name, sets=parse_sets(sets), profile=where.profile)
    problems = check_fresh(wanted.prepared, frozen)
    raise_for(problems)
    _warn(wanted, [str(problem) for problem in problems])
    connection = connect(where, file.resolve().parent)
    return plan(connection, wanted, _now()), connection


def _warn(wanted: DesiredSchedule, more: list[str]) -> None:
    prepared = wanted.prepared
    for text in [*map(str, (*wanted.problems, *prepared.warnings)), *more]:
        click.echo(redact(text), err=True)


def _show(change: Change) -> None:
    from azdistill.cloud.schedules.freshness import reuse

    said = [f"schedule {change.desired.name}: {_kind(change)}", *(f"  {line}" for line in change.lines)]
    if not change.enabled:
        said.append(f"it is disabled, and stays so: `azdistill schedule enable {change.desired.name}` lets it fire")
    said += ["next firings:", *(f"  {firing}" for firing in change.firings)]
    if change.kind == "update" and change.desired.schedule.start_time is None:
        said.append("it has no start_time: Azure ML may fire at once when it is changed, as it does when it is made")
    said += [f"{line[0].upper()}{line[1:]}." for line in reuse(change.desired.prepared)]
    for line in said:
        click.echo(redact(line), err=True)


def _kind(change: Change) -> str:
    return {"create": "is new", "update": "changes", "none": "is as the file says; nothing to do"}[change.kind]


def _answer(change: Change, state: str, as_json: bool) -> None:
    name = change.desired.name
    if not as_json:
        click.echo(f"{name}: {state}")
        return
    told = {
        "name": name,
        "state": state,
        "enabled": change.enabled,
        "changes": change.lines,
        "firings": [firing.as_json() for firing in change.firings],
        "fingerprint": change.desired.fingerprint,
    }
    click.echo(strict_json.dumps(clean(told)))


def _agree(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        message = f"there is no terminal to ask on: {question}"
        raise UserError(message, code="AZD455", hint="--yes goes ahead without asking")
    if not click.confirm(question, err=True):
        raise click.Abort


def _switch(name: str, where: Where, enabled: bool) -> None:
    from azdistill.cloud.schedules.changes import enable
    from azdistill.cloud.workspace.connect import connect

    word = "enabled" if enabled else "disabled"
    changed = enable(connect(where), name, enabled=enabled)
    click.echo(f"{name}: {word}" if changed else f"{name}: was {word} already", err=True)


def _as_json(stored: Stored, now: datetime) -> dict[str, Any]:
    from azdistill.cloud.schedules.listing import coming
    from azdistill.cloud.schedules.resource import trigger_words

    return {
        "name": stored.name,
        "enabled": stored.enabled,
        "ours": stored.ours,
        "trigger": trigger_words(stored.properties.get("trigger") or {}),
        "firings": [firing.as_json() for firing in coming(stored, now)],
        "fingerprint": stored.fingerprint,
    }


def _line(stored: Stored) -> str:
    from azdistill.cloud.schedules.listing import coming

    following = coming(stored, _now(), 1)
    return f"{stored.name:<32} {following[0] if following else _silent(stored)}"


def _silent(stored: Stored) -> str:
    if not stored.enabled:
        return "disabled"
    return "fires no more" if stored.schedule else "its trigger cannot be read here"


def _described(stored: Stored, runs: list[Fired]) -> list[str]:
    from azdistill.cloud.schedules.listing import coming
    from azdistill.cloud.schedules.resource import trigger_words

    trigger = trigger_words(stored.properties.get("trigger") or {})
    firings: list[Firing] = coming(stored, _now())
    lines = [f"{stored.name}: {'enabled' if stored.enabled else 'disabled'}"]
    lines += [f"  {key}: {value}" for key, value in trigger.items()]
    lines += ["next firings:", *(f"  {firing}" for firing in firings)] if firings else [f"next: {_silent(stored)}"]
    lines.append("last runs:" if runs else "no runs so far")
    for run, before in zip(runs, [*runs[1:], None], strict=True):
        by_hand = ", by hand" if run.by_hand else ""
        lines.append(f"  {run.name}  {run.status}{by_hand}  {run.created[:19]}")
        lines += [f"    {step}: data {digest[:12]}{_same(step, digest, before)}" for step, digest in run.data.items()]
    return lines


def _same(step: str, digest: str, before: Fired | None) -> str:
    known = before.data.get(step) if before else None
    return "" if known is None else ", as in the run before" if known == digest else ", new since the run before"


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _moment(text: str | None) -> datetime:
    if text is None:
        return _now()
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        hint = "write it as 2026-12-01T09:00:00Z"
        raise UserError(f"--at {text}: no moment in ISO 8601", code="AZD456", hint=hint) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
