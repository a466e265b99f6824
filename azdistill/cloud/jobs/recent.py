"""Which jobs were submitted from this folder, so that a name need not be typed: one JSON line each.

A memory, not the truth: where the file cannot be read or written, names have to be given in full.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from azdistill import strict_json
from azdistill.cloud.workspace.connect import Connection
from azdistill.errors import UserError, did_you_mean
from azdistill.permissions import open_state_folder

_FILE = "submitted.jsonl"
#: Older lines than so many are not looked at.
_LOOKED_AT = 500


def remember(connection: Connection, name: str, *, experiment: str = "", studio_url: str = "") -> None:
    """Note that the job ``name`` was submitted to this workspace."""
    row = {"name": name, "workspace": connection.workspace_id, "experiment": experiment, "studio_url": studio_url}
    path = _path()
    try:
        open_state_folder(path.parent)
        # One write in append mode: lines of two processes do not mix.
        with open(path, "ab", buffering=0) as file:
            file.write(strict_json.dumps({**row, "time": time.time()}).encode() + b"\n")
    except OSError:
        return


def recent(connection: Connection) -> list[str]:
    """Names of the jobs that were submitted from here to this workspace, newest first."""
    mine = connection.workspace_id.lower()
    rows = [row for row in _rows() if str(row.get("workspace", "")).lower() == mine]
    return list(dict.fromkeys(str(row["name"]) for row in reversed(rows)))


def submitted() -> dict[str, float]:
    """The jobs that were submitted from here to any workspace, and when (Unix time)."""
    rows = ((str(row["name"]), row.get("time")) for row in _rows())
    return {name: float(time) for name, time in rows if isinstance(time, int | float)}


def resolve(connection: Connection, name: str | None) -> str:
    """The job that is meant: ``name`` in full, the beginning of one submitted from here, or ``latest`` (also: None).

    A name nobody here has heard of is taken as it is: it may have been submitted elsewhere.
    """
    names = recent(connection)
    if name is None or name == "latest":
        if names:
            return names[0]
        raise UserError(
            f"nothing was submitted from this folder to the workspace {connection.workspace_name}",
            code="AZD432",
            hint="name the run; azdistill runs --azure lists those of the workspace",
        )
    if name in names:
        return name
    matches = [each for each in names if each.startswith(name)]
    if len(matches) > 1:
        raise UserError(f"several runs begin with '{name}'", code="AZD431", hint=", ".join(matches[:5]))
    return matches[0] if matches else name


def unknown(connection: Connection, name: str) -> UserError:
    """The error for a job that the workspace does not have."""
    hint = did_you_mean(name, recent(connection)[:20]) or "azdistill runs --azure lists what is there"
    return UserError(f"the workspace {connection.workspace_name} has no run '{name}'", code="AZD430", hint=hint)


def _path() -> Path:
    return Path(os.environ.get("AZDISTILL_HOME") or ".azdistill").expanduser().absolute() / _FILE


def _rows() -> list[Mapping[str, Any]]:
    try:
        lines = _path().read_text(encoding="utf-8", errors="replace").splitlines()[-_LOOKED_AT:]
    except OSError:
        return []
    rows = []
    for line in lines:
        with suppress(ValueError):
            rows.append(json.loads(line))
    return [row for row in rows if isinstance(row, dict) and row.get("name")]
