"""The content of what is installed and is not told by a name and a version, read again only where stat says so.

An editable package, the folder that a ``.pth`` file names, a module that somebody put beside the packages: an
interpreter imports all of them, and no version changes when they do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from azdistill.local.in_step.installed_probe import IMPORTABLE
from azdistill.trees import Seen, Stat, digest, hash_file, outwait, stat_at

#: What was changed this recently (seconds) may change again without its stat showing it.
_SETTLED = 2.0
#: So many folders without modules may lie around a package that has no file of its own.
_DEEPEST = 5
_NO_PACKAGES = frozenset({"__pycache__", "node_modules"})
#: A label -> what stat said of its files, as a hash, and the hash of what they held.
Memory = Mapping[str, Sequence[str]]
Sources = Sequence[Mapping[str, Any]]


class Read(NamedTuple):
    """What was read of a label: what goes into the memory, and what stat said before it was read."""

    remembered: tuple[str, str]
    seen: Seen


def read_sources(sources: Mapping[str, Sources], memory: Memory) -> dict[str, Read]:
    """What the sources hold now. They are what ``installed_probe`` says of each label."""
    return {label: _read(found, memory.get(label, ())) for label, found in sources.items()}


def _read(sources: Sources, before: Sequence[str]) -> Read:
    places = _places(sources)
    stats = {path: stat_at(path) for path in places.values()}
    # Folders are there to be looked at: what counts is what lies in them.
    files = {name: path for name, path in places.items() if not name.endswith("/") and stats[path]}
    stamp = _stamp(files, stats)
    seen = Seen(stats, stamp, partial(_look, sources))
    if len(before) == 2 and before[0] == stamp:
        return Read((stamp, before[1]), seen)
    times = [stat for path in files.values() if (stat := stats[path])]
    outwait(times)
    content = digest([[name, hash_file(Path(path))] for name, path in files.items()])
    latest = max((max(stat[1:3]) for stat in times), default=0)
    # A stamp that nothing has: it is read again next time.
    return Read((stamp if time.time() - latest / 1e9 > _SETTLED else "", content), seen)


def _look(sources: Sources) -> str:
    """What stat says of the files of sources now, as a hash."""
    files = {name: path for name, path in _places(sources).items() if not name.endswith("/")}
    return _stamp(files, {path: stat_at(path) for path in files.values()})


def _stamp(files: Mapping[str, str], stats: Mapping[str, Stat | None]) -> str:
    return digest([[name, *stat] for name, path in files.items() if (stat := stats[path])])


def entries_seen(folder: str) -> list[tuple[str, int]]:
    """What lies in a folder but for what Python puts there itself: installing replaces the folders of a package."""
    return sorted((entry.name, entry.inode()) for entry in _entries(folder) if entry.name != "__pycache__")


def _places(sources: Sources) -> dict[str, str]:
    """All that counts of the sources of a label, by names that do not say where it lies. One module may lie in several
    of them.
    """
    every = [(f"{n}:{name}", path) for n, source in enumerate(sources) for name, path in _files(source)]
    return dict(sorted(every))


def _files(source: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What an interpreter may import of a source, by a name that does not say where it lies; of folders it ends with a
    slash.
    """
    if path := source.get("path"):
        yield from _module(path)
    elif path := source.get("module"):
        yield from _module(path)
        folder, stem = os.path.split(path)
        yield "/", folder
        for entry in _entries(folder):
            if entry.name.startswith(f"{stem}.") and entry.name.endswith(IMPORTABLE):
                yield entry.name, entry.path
    else:
        found = [*_importable(source["folder"], deep=source["namespaces"])]
        # That nothing is there would be said of all content alike.
        is_empty = all(name.endswith("/") for name, _ in found)
        yield from _importable(source["folder"], deep=True) if is_empty else found


def _importable(folder: str, prefix: str = "", levels: int = _DEEPEST, *, deep: bool) -> Iterator[tuple[str, str]]:
    """All modules and packages in a folder on the path; ``deep``: in packages without a file of their own, too."""
    yield f"{prefix}/", folder
    for entry in _entries(folder):
        name = f"{prefix}{entry.name}"
        if not entry.is_dir():
            if entry.name.endswith(IMPORTABLE):
                yield name, entry.path
        elif entry.name.isidentifier() and entry.name not in _NO_PACKAGES:
            inside = [each.name for each in _entries(entry.path)]
            if "__init__.py" in inside or (deep and any(each.endswith(IMPORTABLE) for each in inside)):
                yield from ((prefix + below, path) for below, path in _module(entry.path))
            elif deep and levels:
                yield from _importable(entry.path, f"{name}/", levels - 1, deep=True)


def _module(path: str) -> Iterator[tuple[str, str]]:
    """A file, or all files of a package but for those that are made from others."""
    if os.path.isfile(path):
        yield os.path.basename(path), path
        return
    todo, seen = [(path, os.path.basename(path))], set[tuple[int, int]]()
    while todo:
        folder, name = todo.pop()
        if (identity := _identity(folder)) in seen:
            continue
        seen.add(identity)
        yield f"{name}/", folder
        for entry in _entries(folder):
            if entry.is_dir() and entry.name != "__pycache__" and not entry.name.startswith("."):
                todo.append((entry.path, f"{name}/{entry.name}"))
            elif entry.is_file() and not entry.name.endswith(".pyc"):
                yield f"{name}/{entry.name}", entry.path


def _identity(folder: str) -> tuple[int, int]:
    try:
        status = os.stat(folder)
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except OSError:
        return []
