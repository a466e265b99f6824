"""The fields of each step's key, kept with its attempt so that a later run can be explained against it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from azdistill import strict_json
from azdistill.local.store.home import Home
from azdistill.local.store.runs import RunState, clean

_FILE = "key.json"
_OWN = "own-key.json"


def write_fields(attempt: Path, fields: dict[str, Any], *, reusable: bool = True) -> None:
    """Keep the fields of an attempt's key in its folder. Secrets are in none of them, and are hidden all the same.

    ``reusable``: the result goes into the cache; else only its own run, resumed, may ever use it again.
    """
    # Not worth a wait for the disk: half a file, after a power cut, is read as none.
    file = attempt / (_FILE if reusable else _OWN)
    file.write_text(strict_json.dumps(clean(fields), ensure_ascii=False), encoding="utf-8")


def has_fields(attempt: Path, fields: dict[str, Any]) -> bool:
    """Whether an attempt was made with exactly these fields."""
    wanted = json.loads(strict_json.dumps(clean(fields)))
    return wanted in (_read(attempt / _FILE), _read(attempt / _OWN))


def same_fields(first: Path, second: Path) -> bool:
    """Whether two attempts were made with the same fields, as far as is known of both."""
    found = [_read(attempt / _FILE) or _read(attempt / _OWN) for attempt in (first, second)]
    return found[0] is not None and found[0] == found[1]


def read_fields(home: Home, run: RunState, step: str) -> dict[str, Any] | None:
    """The fields of a step's key in a run: from its last attempt, or from the cache entry that it found."""
    key = run.steps[step].key
    attempts = run.folder / "steps" / step / "attempts"
    tried = [int(found.name) for found in attempts.iterdir() if found.name.isdigit()] if attempts.is_dir() else []
    if tried and (found := _read(attempts / str(max(tried)) / _FILE)) is not None:
        return found
    stored = _read(home.cache / key[:2] / key / _FILE) if key else None
    return stored.get("fields") if stored else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
