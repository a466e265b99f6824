"""The content of what is installed and is not told by a name and a version, read again only where stat says so.

An editable package, the folder that a ``.pth`` file names, a module that somebody put beside the packages: an
interpreter imports all of them, and no version changes when they do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from azdistill.local.in_step.installed_probe import IMPORTABLE
from azdistill.trees import Stat, digest, hash_file, stat_of

#: What was changed this recently (seconds) may change again without its stat showing it.
_SETTLED = 2.0
#: A label -> what stat said of its files, as a hash, and the hash of what they held.
Memory = Mapping[str, Sequence[str]]


def read_sources(sources: Mapping[str, Sequence[Mapping[str, Any]]], memory: Memory) -> dict[str, tuple[str, str]]:
    """The memory with the hashes of now. ``sources`` are what ``installed_probe`` says of each label."""
    return {label: _read(found, memory.get(label, ())) for label, found in sources.items()}


def _read(sources: Sequence[Mapping[str, Any]], before: Sequence[str]) -> tuple[str, str]:
    files = {name: path for source in sources for name, path in _files(source)}
    stats = {name: stat for name, path in sorted(files.items()) if (stat := _stat(path))}
    stamp = digest([[name, *stat] for name, stat in stats.items()])
    if len(before) == 2 and before[0] == stamp:
        return stamp, before[1]
    content = digest([[name, hash_file(Path(files[name]))] for name in stats])
    latest = max((max(stat[1:3]) for stat in stats.values()), default=0)
    # A stamp that nothing has: it is read again next time.
    return stamp if time.time() - latest / 1e9 > _SETTLED else "", content


def _stat(path: str) -> Stat | None:
    try:
        return stat_of(os.stat(path))
    except OSError:
        return None


def _files(source: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What an interpreter may import of a source, by a name that does not say where it lies."""
    if path := source.get("path"):
        yield from _module(path)
    elif path := source.get("module"):
        yield from _module(path)
        folder, stem = os.path.split(path)
        for entry in _entries(folder):
            if entry.name.startswith(f"{stem}.") and entry.name.endswith(IMPORTABLE):
                yield entry.name, entry.path
    else:
        for entry in _entries(source["folder"]):
            if _is_importable(entry, namespaces=source["namespaces"]):
                yield from _module(entry.path)


def _is_importable(entry: os.DirEntry[str], *, namespaces: bool) -> bool:
    """Whether an entry of a folder on the path is a module, or a package; ``namespaces``: one without a file of its
    own, too.
    """
    if not entry.is_dir():
        return entry.name.endswith(IMPORTABLE)
    if not entry.name.isidentifier() or entry.name == "__pycache__":
        return False
    inside = [each.name for each in _entries(entry.path)]
    return "__init__.py" in inside or (namespaces and any(name.endswith(IMPORTABLE) for name in inside))


def _module(path: str) -> Iterator[tuple[str, str]]:
    """A file, or all files of a package but for those that are made from others."""
    if os.path.isfile(path):
        yield os.path.basename(path), path
        return
    todo, seen = [(path, os.path.basename(path))], set[str]()
    while todo:
        folder, name = todo.pop()
        if (real := os.path.realpath(folder)) in seen:
            continue
        seen.add(real)
        for entry in _entries(folder):
            if entry.is_dir() and entry.name != "__pycache__" and not entry.name.startswith("."):
                todo.append((entry.path, f"{name}/{entry.name}"))
            elif entry.is_file() and not entry.name.endswith(".pyc"):
                yield f"{name}/{entry.name}", entry.path


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        return list(os.scandir(folder))
    except OSError:
        return []
