"""``azdistill explain`` and ``azdistill cache``: why a step ran, and what is kept."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import click

from azdistill.cli.options import json_option
from azdistill.cli.text import plural, print_answer
from azdistill.errors import UserError, did_you_mean
from azdistill.terminal import size

if TYPE_CHECKING:
    from azdistill.local import EntryUse, Explanation

if TYPE_CHECKING:
    from azdistill.local import CopyUse, EntryUse

#: Differences that are printed; --json has all of them.
_SHOWN = 12
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_TIMES = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@click.command("explain")
@click.argument("run_name", metavar="RUN")
@click.argument("step", required=False)
@json_option
def explain_command(run_name: str, step: str | None, as_json: bool) -> None:
    """Explain why a step of a run ran again, or was reused: the first difference, down to the file.

    RUN is a run id, the beginning of one, or 'latest'. Without STEP there is a line for every step.
    """
    from azdistill.cli.runs import find_run
    from azdistill.local import explain, find_home, list_runs

    home, run = find_home(), find_run(run_name)
    runs = list_runs(home)
    if step is None:
        reasons = [explain(home, run, name, runs) for name in run.steps]
        content = [why.as_json() for why in reasons]
        print_answer(content, lambda: [f"{why.step}: {why.status}: {why.reason}" for why in reasons], as_json=as_json)
        return
    if step not in run.steps:
        hint = did_you_mean(step, list(run.steps))
        raise UserError(f"the run {run.run_id} has no step '{step}'", code="AZD386", hint=hint)
    why = explain(home, run, step, runs)
    print_answer(why.as_json(), lambda: _explained(why, run.run_id), as_json=as_json)


def _explained(why: Explanation, run_id: str) -> Iterator[str]:
    from azdistill.local import short_value

    yield f"step '{why.step}' of {run_id}: {why.status}"
    yield why.reason
    for difference in why.differences[:_SHOWN]:
        yield from ("", f"  {difference.path}", f"    in {why.compared_with}  {short_value(difference.before)}")
        yield f"    in {run_id}  {short_value(difference.after)}"
    if len(why.differences) > _SHOWN:
        yield from ("", f"{len(why.differences) - _SHOWN} more: --json")


@click.group("cache")
def cache_command() -> None:
    """List what the cache holds, or free its disk space.

    It holds results of steps, and copies of the code that runs have taken. The teacher's answers are stored separately
    and never removed.
    """


@cache_command.command("ls")
@json_option
def list_entries(as_json: bool) -> None:
    """List the stored results, most recently used first."""
    from azdistill.local import find_home, held_copies, held_entries

    entries, copies = held_entries(find_home()), held_copies(find_home())
    print_answer([entry.as_json() for entry in entries], lambda: _listed(entries, copies), as_json=as_json)


def _listed(entries: Sequence[EntryUse], copies: Sequence[CopyUse]) -> Iterator[str]:
    for entry in entries:
        used = f"{datetime.fromtimestamp(entry.used):%Y-%m-%d %H:%M}"
        yield f"{entry.key[:12]}  {size(entry.bytes):>9}  {used}  {entry.step}  {entry.run_id}"
    yield f"{len(entries)} results, {size(_bytes(entries))}"
    if copies:
        yield f"{plural(len(copies), 'file')} of code, {size(_bytes(copies))}"


@cache_command.command("gc")
@click.option("--older-than", metavar="AGE", help="Remove what was not used for so long: 12h, 30d, 8w.")
@click.option("--max-size", metavar="SIZE", help="Remove what was used longest ago until the rest fits: 20GB, 500MB.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def collect_entries(older_than: str | None, max_size: str | None, dry_run: bool) -> None:
    """Remove results, and copies of code, that are no longer used.

    What a run that is going on uses stays, and so does what was used within the last hour.
    """
    from azdistill.local import (
        entries_to_remove,
        find_home,
        held_copies,
        held_entries,
        remove_copies,
        remove_entries,
    )

    if older_than is None and max_size is None:
        raise UserError("say what may go", code="AZD387", hint="--older-than 30d, or --max-size 20GB")
    home = find_home()
    age = _parsed(older_than, r"(\d+)\s*([mhdw])", _TIMES, "--older-than")
    room = _parsed(max_size, r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", _UNITS, "--max-size")
    entries, copies = held_entries(home), held_copies(home)
    uses: list[EntryUse | CopyUse] = [*entries, *copies]
    uses.sort(key=lambda use: use.used, reverse=True)
    going = set(entries_to_remove(uses, age, None if room is None else int(room), time.time()))
    chosen, chosen_copies = [use for use in entries if use in going], [use for use in copies if use in going]
    for entry in chosen:
        click.echo(f"{entry.key[:12]}  {size(entry.bytes):>9}  {entry.step}")
    if dry_run:
        freed, count, freed_code = _bytes(chosen), len(chosen_copies), _bytes(chosen_copies)
    else:
        freed, (count, freed_code) = remove_entries(home, chosen), remove_copies(home, chosen_copies)
    code = f" and {plural(count, 'file')} of code" if count else ""
    click.echo(f"{'would remove' if dry_run else 'removed'} {len(chosen)} results{code}, {size(freed + freed_code)}")
    if staying := len(entries) - len(chosen):
        click.echo(
            f"{staying} results stay: recent enough, small enough, in use, or used within the last hour", err=True
        )


def _bytes(uses: Iterable[EntryUse | CopyUse]) -> int:
    return sum(use.bytes for use in uses)


def _parsed(text: str | None, pattern: str, units: dict[str, int], option: str) -> float | None:
    if text is None:
        return None
    match = re.fullmatch(pattern, text.strip(), re.IGNORECASE)
    if not match:
        example = "30d" if option == "--older-than" else "20GB"
        raise UserError(f"{option} takes a number and a unit, such as {example}, not '{text}'", code="AZD387")
    return float(match[1]) * units[match[2].lower()]
