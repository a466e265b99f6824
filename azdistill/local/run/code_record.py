"""``code.json`` in the folder of a run: the code that it has taken, and what has changed in it since another time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from azdistill import strict_json
from azdistill.local.run.run_code import StepCode
from azdistill.trees import digest

RECORD = "code.json"
_SHOWN = 3

#: ``code``: what a cache key says of it; ``archives``: the hashes of what is in them.
Record = Mapping[str, Any]


def as_record(code: StepCode) -> Record:
    """What is written down of the code of a step."""
    archives = {
        name: {member: file.sha256 for member, file in members.items()} for name, members in code.archives.items()
    }
    return {"code": code.fields(), "archives": archives}


def write_record(folder: Path, records: Mapping[str, Record]) -> None:
    """Write down the code of each step, once where steps share it."""
    names = {id(record): digest(record) for record in records.values()}
    document = {
        "steps": {step: names[id(record)] for step, record in records.items()},
        "code": {names[id(record)]: record for record in records.values()},
    }
    (folder / RECORD).write_text(strict_json.dumps(document, ensure_ascii=False), encoding="utf-8")


def read_record(folder: Path) -> dict[str, Record]:
    """What the run in ``folder`` has taken, by step; of a run of an earlier version nothing is known."""
    try:
        document = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return {step: document["code"][name] for step, name in document["steps"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def changes(before: Mapping[str, Record], after: Mapping[str, Record]) -> list[str]:
    """A line for each code that is not what it was."""
    steps: dict[tuple[str, ...], list[str]] = {}
    for step in (step for step in after if step in before):
        earlier, now = before[step]["code"], after[step]["code"]
        fields = sorted(name for name in earlier.keys() | now.keys() if earlier.get(name) != now.get(name))
        if names := tuple(dict.fromkeys(name.removesuffix("/executable") for name in fields)):
            steps.setdefault(names, []).append(step)
    return [
        f"the code of {_listed(sharing)} has changed since the run took it: {_listed(names)}"
        for names, sharing in steps.items()
    ]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def copies_in(records: Mapping[str, Record]) -> set[str]:
    """The hashes of all files that were taken."""
    codes = [record["code"].values() for record in records.values()]
    members = [files.values() for record in records.values() for files in record["archives"].values()]
    return {sha256 for hashes in (*codes, *members) for sha256 in hashes}
