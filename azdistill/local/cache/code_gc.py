"""The copies of code that no run uses any more, and their removal.

A copy is used when a run takes code that holds it: what a run has taken is listed in its folder, and the time of that
list says when. Copies of current runs are never removed, nor is one that was used within the last hour.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from azdistill.local.cache.code_store import store_lock
from azdistill.local.run.code_record import RECORD, copies_in, read_record
from azdistill.local.store.durable_files import disk_errors
from azdistill.local.store.home import Home
from azdistill.local.store.runs import list_runs


@dataclass(frozen=True, slots=True)
class CopyUse:
    """A copy of a file of code: where it lies, its size in bytes, when a run last took it (Unix time)."""

    place: Path
    bytes: int
    used: float
    in_use: bool


def held_copies(home: Home) -> list[CopyUse]:
    """Every copy of a file of code, the one that was used last first."""
    running = {run.folder for run in list_runs(home) if run.status == "running"}
    used: dict[str, float] = {}
    busy: set[str] = set()
    for folder in home.runs.iterdir() if home.runs.is_dir() else ():
        names = copies_in(read_record(folder))
        if names:
            taken_at = (folder / RECORD).stat().st_mtime
            used |= {name: max(taken_at, used.get(name, 0.0)) for name in names}
        if folder in running:
            busy |= names
    return sorted(_copies(home, used, busy), key=lambda copy: copy.used, reverse=True)


def _copies(home: Home, used: Mapping[str, float], busy: Set[str]) -> Iterator[CopyUse]:
    now = time.time()
    for place in home.code.glob("??/*"):
        status = place.stat()
        last = max(status.st_ctime, used.get(place.name, 0.0))
        yield CopyUse(place, status.st_size, min(last, now), place.name in busy)


def remove_copies(home: Home, copies: Sequence[CopyUse]) -> tuple[int, int]:
    """Remove copies: how many, and how many bytes that gave back. None while a run is taking its code."""
    count = freed = 0
    if not copies:
        return count, freed
    with disk_errors("cannot remove copies of code"), store_lock(home, shared=False) as alone:
        # Looked at again: a run may have taken them since.
        now_held = {copy.place: copy for copy in held_copies(home)} if alone else {}
        for copy in copies:
            if now_held.get(copy.place) == copy:
                copy.place.unlink()
                count, freed = count + 1, freed + copy.bytes
                with contextlib.suppress(OSError):
                    copy.place.parent.rmdir()
    return count, freed
