"""What is different between a schedule of the workspace and the one that a file asks for, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from azdistill.cloud.schedules.desired import Wanted
from azdistill.cloud.schedules.resource import Stored
from azdistill.recipe.schedule import Schedule
from azdistill.recipe.zones import zone_of


def differences(stored: Stored | None, wanted: Wanted) -> list[str]:
    """One line for each difference: ``-`` what is there, ``+`` what will be; empty where there is none."""
    new = words_of(wanted.schedule)
    if stored is None:
        said = wanted.said
        return [f"+ {name}: {value}" for name, value in (*_flat("trigger", new), *_flat("inputs", said["inputs"]))]
    there = stored.schedule
    old = words_of(there) if there else dict(stored.properties.get("trigger") or {})
    return [
        *_compared("trigger", old, new),
        *_compared("inputs", stored.said.get("inputs") or {}, wanted.said["inputs"]),
        *_steps(stored.said.get("steps") or {}, wanted.said["steps"]),
        *_about(stored, wanted),
    ]


def words_of(schedule: Schedule) -> dict[str, Any]:
    """A trigger in words that are equal where two triggers are, whichever way they were written."""
    words = schedule.model_dump(mode="json", exclude_none=True)
    words["time_zone"] = zone_of(schedule.time_zone).windows
    if pattern := schedule.schedule:
        names = ("hours", "minutes", "week_days", "month_days")
        words["schedule"] = {name: sorted(set(pattern.listed(name))) for name in names if pattern.listed(name)}
    return words


def _compared(head: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    before, after = dict(_flat(head, old)), dict(_flat(head, new))
    for name in [*before, *(name for name in after if name not in before)]:
        if before.get(name) == after.get(name):
            continue
        if name in before:
            yield f"- {name}: {before[name]}"
        if name in after:
            yield f"+ {name}: {after[name]}"


def _flat(head: str, words: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in words.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{head}.{name}", value)
        else:
            yield f"{head}.{name}", value


def _steps(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    yield from (f"- step {name}" for name in old if name not in new)
    for name, version in new.items():
        if name not in old:
            yield f"+ step {name}"
        elif old[name] != version:
            yield f"~ step {name}: its component, code, environment or settings changed"


def _about(stored: Stored, wanted: Wanted) -> Iterator[str]:
    before = str(stored.properties.get("description") or "")
    if before != wanted.description:
        yield f"~ description: {wanted.description or '(none)'}"
    job = stored.tags.get("azdistill.fingerprint", "")
    if job != wanted.fingerprint and not stored.said:
        yield "~ the job: it was not applied by this version of azdistill, so what changed cannot be told"
