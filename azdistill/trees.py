"""Names and contents of files: walked in one order, hashed in one way."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHUNK = 1 << 20
#: What stat says of a file or a folder: its size, when its content and when anything of it was changed, and its inode.
Stat = tuple[int, int, int, int]
#: The clock that Linux takes the times of files from (CLOCK_REALTIME_COARSE); others have a fine one.
_TICKING = 5 if sys.platform == "linux" else 0
#: Nanoseconds.
_LONGEST_TICK = 10_000_000
_SECOND = 1_000_000_000


def canonical(value: Any) -> str:
    """JSON with one spelling per value: sorted keys, no spaces, UTF-8. What hashes are taken over."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """sha256 (hex) of :func:`canonical` JSON."""
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogatepass")).hexdigest()


def hash_file(path: Path) -> str:
    """sha256 (hex) of a file's content."""
    sha = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            sha.update(chunk)
    return sha.hexdigest()


def tree_digest(files: Mapping[str, str]) -> str:
    """The hash of a folder from the hashes of its files, by relative POSIX path."""
    return digest(sorted(files.items()))


def walk_files(root: Path) -> Iterator[tuple[str, Path]]:
    """Every file under ``root`` as (relative POSIX path, path), sorted; linked folders are followed once, never in a
    ring.
    """
    yield from _walk(root, "", frozenset({os.path.realpath(root)}))


@dataclass(frozen=True, slots=True)
class Shape:
    """What a folder holds beside the names and contents of its files, by relative POSIX path: the files that are
    executable, the folders that are empty, and what is neither file nor folder, with what it is.
    """

    executables: tuple[str, ...]
    empty: tuple[str, ...]
    others: Mapping[str, str]


def shape_of(root: Path) -> Shape:
    """The shape of a folder, linked folders followed as by :func:`walk_files`."""
    executables, empty, others = list[str](), list[str](), dict[str, str]()
    todo = [(str(root), "", frozenset({os.path.realpath(root)}))]
    while todo:
        folder, prefix, ancestors = todo.pop()
        entries = list(os.scandir(folder))
        if prefix and not entries:
            empty.append(prefix.rstrip("/"))
        for entry in entries:
            name = prefix + entry.name
            if entry.is_dir() and (real := os.path.realpath(entry.path)) not in ancestors:
                todo.append((entry.path, f"{name}/", ancestors | {real}))
            elif not entry.is_file():
                others[name] = f"a link to {os.readlink(entry.path)}" if entry.is_symlink() else "no file"
            elif entry.stat().st_mode & 0o111:
                executables.append(name)
    return Shape(tuple(sorted(executables)), tuple(sorted(empty)), dict(sorted(others.items())))


def stat_of(status: os.stat_result) -> Stat:
    """What tells a file or a folder from one that was changed. Anybody may set the time of a change to the content,
    nobody that of a change to the file.
    """
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def stat_at(path: str) -> Stat | None:
    """What stat says of what lies at ``path``, if anything does."""
    try:
        return stat_of(os.stat(path))
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen at some paths: ``found``, which ``look`` finds anew. What does not count comes and goes in a folder
    as well, so that another time of one is only a reason to look.
    """

    stats: Mapping[str, Stat | None] = field(compare=False)
    found: str
    look: Callable[[], str] = field(compare=False)

    def is_still_so(self) -> bool:
        """Whether nothing that counts has changed since."""
        return all(stat_at(path) == stat for path, stat in self.stats.items()) or self.look() == self.found


def stamps(root: Path) -> dict[str, Stat]:
    """What stat says of a file (named ""), or of a folder and all that lies in it, and of the links that lead there.

    What comes or goes changes its folder; what vanishes while this looks has no stamp.
    """
    found, looked_at = dict[str, Stat](), set[str]()
    todo = [(str(root), "", True, frozenset[tuple[int, int]]())]
    while todo:
        path, name, may_be_link, around = todo.pop()
        if may_be_link:
            found |= _links(path, looked_at)
            looked_at |= {*_ways(path)}
        try:
            status = os.stat(path)
            found[name] = stat_of(status)
            identity = status.st_dev, status.st_ino
            if not stat.S_ISDIR(status.st_mode) or identity in around:
                continue
            entries = list(os.scandir(path))
        except OSError:
            continue
        prefix, around = f"{name}/" if name else "", around | {identity}
        todo += [(entry.path, prefix + entry.name, entry.is_symlink(), around) for entry in entries]
    return found


def outwait(found: Iterable[Stat]) -> None:
    """Wait until a change to any of these shows, which one within the same tick of the clock does not that their times
    are from: the system's, or one of whole seconds.
    """
    times = [stat[2] for stat in found]
    newest = max(times, default=0)
    by_seconds = max((each for each in times if not each % _SECOND), default=0)
    # A time to come is of another machine's clock.
    while _TICKING and 0 <= newest - time.clock_gettime_ns(_TICKING) < _LONGEST_TICK:
        time.sleep(_LONGEST_TICK / 10 / _SECOND)
    while 0 < (left := _shows_from(by_seconds) - time.time_ns()) <= 2 * _SECOND + _LONGEST_TICK:
        time.sleep(left / _SECOND)


def shows_from(stat: Stat) -> int:
    """From when on (nanoseconds) a change to this certainly shows."""
    return _shows_from(stat[2])


def _shows_from(changed: int) -> int:
    if changed % _SECOND:
        return changed + _LONGEST_TICK
    # Some file systems count by two.
    return changed + (1 if changed // _SECOND % 2 else 2) * _SECOND + _LONGEST_TICK


def _links(path: str, passed_over: Collection[str]) -> dict[str, Stat]:
    """What stat says of every link on the way to ``path``, by its own path and an arrow."""
    found: dict[str, Stat] = {}
    todo = [path]
    while todo:
        for place in _ways(todo.pop()):
            name = f"{place} ->"
            if place in passed_over or name in found:
                continue
            try:
                status = os.lstat(place)
                if stat.S_ISLNK(status.st_mode):
                    found[name] = stat_of(status)
                    todo.append(os.path.join(os.path.dirname(place), os.readlink(place)))
            except OSError:
                continue
    return found


def _ways(path: str) -> list[str]:
    """``path`` and every folder that it leads through."""
    return [path[:end] for end, letter in enumerate(path) if letter == "/" and end] + [path]


def _is_ring(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a link that leads to itself: no file and no folder, and not to be lost in silence."""
    try:
        return entry.is_symlink() and not entry.stat()
    except OSError as error:
        return error.errno == errno.ELOOP


def _walk(folder: Path, prefix: str, ancestors: frozenset[str]) -> Iterator[tuple[str, Path]]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        if _is_ring(entry):
            yield f"{prefix}{entry.name}", path
        elif entry.is_dir():
            real = os.path.realpath(entry.path)
            if real not in ancestors:
                yield from _walk(path, f"{prefix}{entry.name}/", ancestors | {real})
        elif entry.is_file():
            yield f"{prefix}{entry.name}", path
