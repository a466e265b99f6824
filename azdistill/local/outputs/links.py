"""Links in what a step has written. They are followed when it is kept, so where they lead is looked at first.

A step in a container sees few places of this machine, and none of them by a link: ``/etc/passwd`` in there is not the
one out here.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path


def stray(paths: Mapping[str, Path], within: Collection[Path] | None = None) -> str:
    """What is wrong with the links in outputs (name -> place); empty where nothing is.

    ``within``: the places that the step was given, where it could not see the whole machine.
    """
    seen = None if within is None else [place.resolve() for place in within]
    for name, path in paths.items():
        for link in links(path):
            if told := _wrong(link, seen):
                shown = os.path.relpath(link, path.parent)
                return f"output '{name}' holds a link, {shown} -> {os.readlink(link)}, {told}"
    return ""


def links(root: Path) -> Iterator[Path]:
    """Every link under ``root``, and ``root`` if it is one; what a link leads to is not looked into."""
    if root.is_symlink():
        yield root
        return
    for folder, folders, names in os.walk(root):
        yield from (path for name in (*folders, *names) if (path := Path(folder, name)).is_symlink())


def is_own(path: Path, folder: Path) -> bool:
    """Whether ``path`` lies in ``folder`` when all links are followed."""
    return path.resolve().is_relative_to(folder.resolve())


def _wrong(link: Path, seen: Iterable[Path] | None) -> str:
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):
        return "that leads nowhere"
    if seen is not None and not any(target.is_relative_to(place) for place in seen):
        return "that leads out of what the step was given: in its container it stood for another file"
    return "that leads back to a folder around it: a copy would have no end" if _is_endless(link, target) else ""


def _is_endless(link: Path, target: Path) -> bool:
    """Whether what ``link`` leads to, links in there followed too, leads back to a folder that is being copied."""
    around = {str(folder) for folder in (link.parent.resolve() / link.name).parents}
    finished: set[str] = set()
    # A folder comes up a second time, with True, when all that it holds is done.
    todo = [(str(target), False)] if target.is_dir() else []
    while todo:
        folder, is_done = todo.pop()
        if is_done:
            around.discard(folder)
            finished.add(folder)
        elif folder in around:
            return True
        elif folder not in finished:
            around.add(folder)
            todo.append((folder, True))
            todo += [(os.path.realpath(inner), False) for inner in _folders(folder)]
    return False


def _folders(folder: str) -> list[str]:
    try:
        return [path for name in os.listdir(folder) if os.path.isdir(path := os.path.join(folder, name))]
    except PermissionError:
        # Copying it says so.
        return []
