"""``azdistill schedule``: distillation that starts by itself, in a workspace."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from azdistill.cli import options
from azdistill.cli.text import print_answer, print_findings
from azdistill.errors import UserError, raise_errors
from azdistill.redact import redact

if TYPE_CHECKING:
    from azdistill.cloud.schedules.apply import Change
    from azdistill.cloud.schedules.resource import Fired, Stored
    from azdistill.cloud.workspace.connect import Connection, Where

_schedule_options = options.add_options(click.argument("name"), options.connection_options)
_file_options = options.add_options(
    options.file_argument,
    click.option("--name", metavar="NAME", help="Name of the schedule (default: the file's)."),
    options.sets_option,
    click.option(
        "--allow-frozen", "frozen", multiple=True, metavar="INPUT", help="Accept that no firing sees this data change."
    ),
    options.json_option,
    options.workspace_options,
)


@click.group("schedule")
def schedule_command() -> None:
    """Run a recipe or pipeline on a schedule, in a workspace.

    FILE is a recipe with schedule:, or an Azure ML schedule (trigger, create_job).
    """


@schedule_command.command("apply")
@options.yes_option
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
@_file_options
def apply_verb(file: Path, yes: bool, dry_run: bool, as_json: bool, where: Where, **settings: Any) -> None:
    """Make the workspace's schedule what FILE says.

    Applying an unchanged schedule sends no request. Data that would never change between firings is refused, with the
    form that stays fresh. The next five firings are shown before anything is created.
    """
    change, connection = _planned(file, where, **settings)
    _show(change)
    if change.kind != "none" and not dry_run:
        from azdistill.cloud.schedules.apply import carry_out

        _confirm(f"{'Make' if change.kind == 'create' else 'Change'} this schedule?", yes)
        carry_out(connection, change)
    state = {"create": "made", "update": "changed", "none": "unchanged"}[change.kind]
    _answer(change, "would be " + state if dry_run and change.kind != "none" else state, as_json)


@schedule_command.command("diff")
@_file_options
def diff_verb(file: Path, as_json: bool, where: Where, **settings: Any) -> None:
    """Show what `schedule apply FILE` would change; ends with 1 where there is something."""
    change, _ = _planned(file, where, **settings)
    _show(change)
    _answer(change, {"create": "not there", "update": "differs", "none": "unchanged"}[change.kind], as_json)
    if change.kind != "none":
        click.get_current_context().exit(1)


@schedule_command.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that azdistill did not make.")
@options.json_option
@options.connection_options
def list_verb(everything: bool, as_json: bool, connection: Connection) -> None:
    """List the schedules of the workspace and when each fires next."""
    from azdistill.cloud.schedules import resource

    schedules = [schedule for schedule in resource.every(connection) if everything or schedule.ours]
    content = [_as_json(schedule, _now()) for schedule in schedules]
    print_answer(content, lambda: map(_line, schedules), as_json=as_json, indent=2)
    if not schedules:
        click.echo("no schedules; `azdistill schedule apply FILE` makes one", err=True)


@schedule_command.command("show")
@_schedule_options
@options.json_option
def show_verb(name: str, as_json: bool, connection: Connection) -> None:
    """Show a schedule: its trigger, its next five firings and its last runs."""
    from azdistill.cloud.schedules import resource

    stored = resource.get(connection, name)
    runs = resource.runs_of(connection, stored)
    content = {**_as_json(stored, _now()), "runs": [run.as_json() for run in runs]}
    print_answer(content, lambda: _described(stored, runs), as_json=as_json, indent=2)


@schedule_command.command("enable")
@_schedule_options
def enable_verb(name: str, connection: Connection) -> None:
    """Let a schedule fire again."""
    _switch(name, connection, True)


@schedule_command.command("disable")
@_schedule_options
def disable_verb(name: str, connection: Connection) -> None:
    """Stop a schedule from firing; current runs continue."""
    _switch(name, connection, False)


@schedule_command.command("trigger")
@_schedule_options
@options.sets_option
@options.json_option
def trigger_verb(name: str, sets: tuple[str, ...], as_json: bool, connection: Connection) -> None:
    """Start now what a schedule starts; with --set, its job is submitted afresh with other inputs."""
    from azdistill.cloud.schedules.changes import trigger
    from azdistill.compile.sets import parse_sets

    run = trigger(connection, name, parse_sets(sets), _now())
    click.echo(f"started {run.how}: {run.studio_url}", err=True)
    content = {"name": run.name, "how": run.how, "studio_url": run.studio_url}
    print_answer(content, lambda: [run.name], as_json=as_json)


@schedule_command.command("delete")
@_schedule_options
@options.yes_option
def delete_verb(name: str, yes: bool, connection: Connection) -> None:
    """Disable and delete a schedule. Its runs stay."""
    from azdistill.cloud.schedules import resource
    from azdistill.cloud.schedules.changes import delete

    resource.get(connection, name)
    _confirm(f"Delete the schedule {name}?", yes)
    delete(connection, name)
    click.echo(f"deleted {name}", err=True)


@schedule_command.command("run")
@options.file_argument
@options.sets_option
@click.option("--at", metavar="TIME", help="The moment of the firing, in ISO 8601 (default: now).")
@options.out_option
@options.no_tracking_option
@options.json_option
def run_verb(file: Path, sets: tuple[str, ...], at: str | None, out: Path | None, **settings: Any) -> None:
    """Run on this machine, now, what a firing would run."""
    from azdistill.cli.local_run import run_firing

    run_firing(file, sets, _moment(at), out, **settings)


def _planned(
    file: Path, where: Where, *, name: str | None, sets: Sequence[str], frozen: tuple[str, ...]
) -> tuple[Change, Connection]:
    """What applying would do, after everything that can be checked without a workspace was."""
    from azdistill.cloud.workspace.connect import begin_import, connect
    from azdistill.compile.sets import parse_sets

    begin_import()
    from azdistill.cloud.schedules.apply import plan
    from azdistill.cloud.schedules.request import check_fresh, read_desired

    schedule = read_desired(file, name=name, sets=parse_sets(sets), profile=where.profile)
    problems = check_fresh(schedule.prepared, frozen)
    raise_errors(problems)
    print_findings([*schedule.problems, *schedule.prepared.warnings, *problems])
    connection = connect(where, file.resolve().parent)
    return plan(connection, schedule, _now()), connection


def _show(change: Change) -> None:
    from azdistill.cloud.schedules.request import reuse

    kind = {"create": "is new", "update": "changes", "none": "is as the file says; nothing to do"}[change.kind]
    lines = [f"schedule {change.desired.name}: {kind}", *(f"  {line}" for line in change.lines)]
    if not change.enabled:
        lines.append(f"it is disabled, and stays so: `azdistill schedule enable {change.desired.name}` lets it fire")
    lines += ["next firings:", *(f"  {firing}" for firing in change.firings)]
    if change.kind == "update" and change.desired.schedule.start_time is None:
        lines.append("it has no start_time: Azure ML may fire at once when it is changed, as it does when it is made")
    lines += [f"{line[0].upper()}{line[1:]}." for line in reuse(change.desired.prepared)]
    for line in lines:
        click.echo(redact(line), err=True)


def _answer(change: Change, state: str, as_json: bool) -> None:
    content = {
        "name": change.desired.name,
        "state": state,
        "enabled": change.enabled,
        "changes": change.lines,
        "firings": [firing.as_json() for firing in change.firings],
        "fingerprint": change.desired.fingerprint,
    }
    print_answer(content, lambda: [f"{change.desired.name}: {state}"], as_json=as_json)


def _confirm(question: str, yes: bool) -> None:
    message = f"there is no terminal to ask on: {question}"
    refusal = UserError(message, code="AZD455", hint="--yes goes ahead without asking")
    options.confirm(question, yes=yes, refusal=refusal)


def _switch(name: str, connection: Connection, enabled: bool) -> None:
    from azdistill.cloud.schedules.changes import enable

    word = "enabled" if enabled else "disabled"
    changed = enable(connection, name, enabled=enabled)
    click.echo(f"{name}: {word}" if changed else f"{name}: was {word} already", err=True)


def _as_json(stored: Stored, now: datetime) -> dict[str, Any]:
    from azdistill.cloud.schedules.resource import coming, trigger_words

    return {
        "name": stored.name,
        "enabled": stored.enabled,
        "ours": stored.ours,
        "trigger": trigger_words(stored.properties.get("trigger") or {}),
        "firings": [firing.as_json() for firing in coming(stored, now)],
        "fingerprint": stored.fingerprint,
    }


def _line(stored: Stored) -> str:
    from azdistill.cloud.schedules.resource import coming

    following = coming(stored, _now(), 1)
    return f"{stored.name:<32} {following[0] if following else _silent(stored)}"


def _silent(stored: Stored) -> str:
    if not stored.enabled:
        return "disabled"
    return "fires no more" if stored.schedule else "its trigger cannot be read here"


def _described(stored: Stored, runs: list[Fired]) -> list[str]:
    from azdistill.cloud.schedules.resource import coming, trigger_words

    trigger = trigger_words(stored.properties.get("trigger") or {})
    firings = coming(stored, _now())
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
    earlier = before.data.get(step) if before else None
    return "" if earlier is None else ", as in the run before" if earlier == digest else ", new since the run before"


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
