"""What took the room of a full disk: the biggest folders of the state folder, and what a cache gc would free."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

from azdistill.errors import AzdistillError, MachineError
from azdistill.local.cache.code_gc import CopyUse, held_copies
from azdistill.local.cache.gc import EntryUse, entries_to_remove, held_entries
from azdistill.local.store.home import Home
from azdistill.local.store.machine_errors import FULL
from azdistill.terminal import size

#: Folders whose subfolders are named, rather than they themselves, and how many folders are.
_BY_PARTS, _SHOWN = ("runs", "datastores"), 3


def told(home: Home, error: AzdistillError) -> AzdistillError:
    """``error``; where the disk of the state folder was full, with a hint that says what lies there."""
    cause = error.__cause__ if isinstance(error, MachineError) else None
    if not isinstance(cause, OSError) or cause.errno not in FULL or not _is_there(cause, home):
        return error
    return MachineError(error.message, code=error.code, hint="; ".join([error.hint, *_advice(home)]))


def _is_there(error: OSError, home: Home) -> bool:
    """Whether it was the disk of the state folder; of an error without a file it is."""
    name = error.filename2 or error.filename
    if name is None:
        return True
    place = Path(os.fsdecode(name)).absolute()
    nearest = next((each for each in (place, *place.parents) if each.exists()), place)
    try:
        return nearest.stat().st_dev == home.root.stat().st_dev
    except OSError:
        return False


def _advice(home: Home) -> Iterator[str]:
    # To say what helps must not fail where much else does.
    with contextlib.suppress(OSError):
        sizes = {folder: _bytes(folder) for folder in _folders(home.root)}
        biggest = sorted((folder for folder in sizes if sizes[folder]), key=lambda each: -sizes[each])[:_SHOWN]
        if biggest:
            named = ", ".join(f"{folder.relative_to(home.root)} {size(sizes[folder])}" for folder in biggest)
            yield f"the most in {home.root}: {named}"
    with contextlib.suppress(OSError):
        freed = _collectable(home)
        yield f"'azdistill cache gc --max-size 0' would free {size(freed)}" + ("" if freed else " now")


def _folders(root: Path) -> Iterator[Path]:
    for path in root.iterdir():
        if path.is_dir() and not path.is_symlink():
            yield from path.iterdir() if path.name in _BY_PARTS else (path,)


def _bytes(path: Path) -> int:
    """What a file or a folder takes on the disk; what is gone meanwhile takes nothing."""
    with contextlib.suppress(OSError):
        total = path.lstat().st_blocks * 512
        if path.is_dir() and not path.is_symlink():
            total += sum(_bytes(each) for each in path.iterdir())
        return total
    return 0


def _collectable(home: Home) -> int:
    uses: list[EntryUse | CopyUse] = [*held_entries(home), *held_copies(home)]
    uses.sort(key=lambda use: use.used, reverse=True)
    return sum(use.bytes for use in entries_to_remove(uses, None, 0, time.time()))
