"""What the cache holds, and the removal of what is no longer used.

An entry is used when a run makes or finds it; the file time of its ``used`` says when. Entries of current runs are
never removed, nor is one that was used within the last hour: its run may not have recorded that yet.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from azdistill.local.cache.entries import USED, Entry, is_entry, under_way
from azdistill.local.outputs.manifest import Manifest
from azdistill.local.store.durable_files import disk_errors, remove_tree
from azdistill.local.store.home import Home
from azdistill.local.store.runs import list_runs

#: Seconds for which an entry is left alone after it was used.
_FRESH = 3600.0


@dataclass(frozen=True, slots=True)
class EntryUse:
    """An entry: its key, the step and run that made it, its size in bytes, when it was last used (Unix time)."""

    key: str
    folder: Path
    step: str
    run_id: str
    seconds: float
    bytes: int
    used: float
    in_use: bool

    def as_json(self) -> dict[str, Any]:
        """The object that ``azdistill cache ls --json`` prints."""
        fields = ("key", "step", "run_id", "seconds", "bytes", "used", "in_use")
        return {name: getattr(self, name) for name in fields}


def held_entries(home: Home) -> list[EntryUse]:
    """Every entry of the cache, the one that was used last first."""
    steps = [step for run in list_runs(home) if run.status == "running" for step in run.steps.values()]
    # A sweep takes the files of its best trial when all trials have ended.
    used = [step.key for step in steps] + [trial.key for step in steps for trial in step.trials.values()]
    busy = {key for key in used if key}
    return sorted((_held(folder, busy) for folder in _folders(home)), key=lambda entry: entry.used, reverse=True)


class _Use(Protocol):
    """What is kept, and when it was last used."""

    @property
    def bytes(self) -> int: ...

    @property
    def used(self) -> float: ...

    @property
    def in_use(self) -> bool: ...


_Kept = TypeVar("_Kept", bound=_Use)


def entries_to_remove(
    entries: Sequence[_Kept], older_than: float | None, max_bytes: int | None, now: float
) -> list[_Kept]:
    """Which of ``entries``, the one used last first, go: those not used for ``older_than`` seconds, and then the ones
    used longest ago until the rest fits into ``max_bytes``. None: no such limit.
    """
    chosen, kept_bytes = [], 0
    for entry in entries:
        too_old = older_than is not None and now - entry.used > older_than
        too_much = max_bytes is not None and kept_bytes + entry.bytes > max_bytes
        if (too_old or too_much) and not entry.in_use and now - entry.used > _FRESH:
            chosen.append(entry)
        else:
            kept_bytes += entry.bytes
    return chosen


def remove_entries(home: Home, entries: list[EntryUse]) -> int:
    """Remove entries; how many bytes that gave back. Each goes out of sight first, so no run finds half of one."""
    freed = 0
    with disk_errors("cannot remove cache entries"):
        for entry in entries:
            aside = under_way(home.cache, "collected-")
            try:
                if entry.used < _last_used(entry.folder) <= time.time():
                    # A run has found it since.
                    continue
                os.rename(entry.folder, aside)
            except FileNotFoundError:
                continue
            remove_tree(aside)
            freed += entry.bytes
    return freed


def _folders(home: Home) -> Iterator[Path]:
    for shelf in home.cache.iterdir() if home.cache.is_dir() else ():
        if len(shelf.name) == 2 and shelf.is_dir():
            yield from (each for each in shelf.iterdir() if each.name.startswith(shelf.name) and is_entry(each))


def _held(folder: Path, busy: set[str]) -> EntryUse:
    manifest = Manifest.read(folder) or Manifest({})
    size = sum(mark.size for files in manifest.outputs.values() for mark in files.values())
    about = Entry(folder, manifest, {}).about()
    return EntryUse(
        folder.name,
        folder,
        str(about.get("step", "?")),
        str(about.get("run_id", "?")),
        float(about.get("seconds", 0)),
        size,
        min(_last_used(folder), time.time()),
        folder.name in busy,
    )


def _last_used(folder: Path) -> float:
    used = folder / USED
    return (used if used.exists() else folder).stat().st_mtime
