"""The step cache: content-addressed entries that are written once, whole, and never changed.

An entry is ``cache/<key[:2]>/<key>/`` with ``outputs/``, ``metrics.jsonl``, ``key.json`` (the fields that the key was
taken over, so that a miss can be explained) and ``manifest.json``. It is built under ``cache/tmp`` and renamed into
place, so of two runs that build the same entry one wins and the other discards its own. An entry that no longer matches
its manifest is a miss. One whose step wrote in place as well is replaced when that place holds something else, but not
while another run may read it (:class:`Leases`).
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from azdistill import strict_json
from azdistill.local.outputs.manifest import MANIFEST, Hash, Manifest
from azdistill.local.outputs.manifest import METRICS as METRICS
from azdistill.local.store.durable_files import hash_file, lock, make_read_only, remove_tree, sync
from azdistill.local.store.home import Home
from azdistill.local.store.process_marks import PATTERN, from_name, in_name, is_abandoned, own_mark
from azdistill.redact import clean

#: Touched whenever an entry is made or found: what was used long ago may be removed.
USED = "used"
_KEY_FILE = "key.json"
#: What is being built, or has gone out of sight and is being removed: whose it is, and a number of its own.
_UNDER_WAY = re.compile(rf"(?:(?:collected|broken)-)?{PATTERN}-[0-9a-f]{{8}}")
#: What earlier versions called what they were removing.
_NAMELESS = re.compile(r"(?:collected|broken)-[0-9a-f]{8}")
_ENTRY = re.compile(r"[0-9a-f]{64}")
#: What the file of a flight says once it is over, and the seconds between two looks at one that is waited for.
_ENDED, _LOOK = "ended", 0.1


@dataclass(frozen=True, slots=True)
class Entry:
    """A step's committed result."""

    folder: Path
    manifest: Manifest
    outputs: dict[str, Path]

    @property
    def metrics(self) -> Path:
        return self.folder / METRICS

    def about(self) -> dict[str, Any]:
        """``fields`` of the key, and the ``run_id``, ``step`` and ``seconds`` that made the entry.

        Empty where a power cut took them: an entry is what its manifest says.
        """
        try:
            stored: dict[str, Any] = json.loads((self.folder / _KEY_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return stored


def is_entry(folder: Path) -> bool:
    """Whether a folder is an entry, by its name and its manifest."""
    return bool(_ENTRY.fullmatch(folder.name)) and (folder / MANIFEST).is_file()


def under_way(root: Path, what: str = "") -> Path:
    """A place in the cache ``root`` for an entry that is being built or removed, which bears our mark."""
    return root / "tmp" / f"{what}{in_name(own_mark())}-{uuid.uuid4().hex[:8]}"


class Cache:
    """The entries of one state folder. ``looking``: nothing is written, and the folder need not be there.

    ``hash_of`` is asked for the hashes of files that stat does not know again, as those of a restored folder.
    """

    def __init__(self, home: Home, *, looking: bool = False, hash_of: Hash = hash_file) -> None:
        self._root, self._looking, self._hash_of = home.cache, looking, hash_of
        self._leases = Leases()
        self.flights = Flights(home.cache)
        if not looking:
            self._sweep()

    def close(self) -> None:
        """Let other runs replace what this one has found or made."""
        self._leases.close()

    def find(self, key: str, standing_places: Mapping[str, Path] | None = None) -> Entry | None:
        """The entry of ``key``, if there is one and it is what was written, and what was written beside it to the
        ``standing_places`` is there still.
        """
        entry = self._read(key, standing_places or {})
        if entry is None or self._looking:
            return entry
        if entry.manifest.standing:
            # Read again: until it was leased, another run might have put its own there.
            entry = self._read(key, standing_places or {}) if self._leases.take(entry.folder) else None
        return entry if entry and _touch(entry.folder / USED) else None

    def _read(self, key: str, standing_places: Mapping[str, Path]) -> Entry | None:
        folder = self._folder(key)
        manifest = Manifest.read(folder)
        if manifest is None:
            return None
        outputs = _places(folder, manifest)
        if not manifest.matches(outputs, self._hash_of) or not manifest.holds(standing_places, self._hash_of):
            return None
        return Entry(folder, manifest, outputs)

    def commit(self, key: str, manifest: Manifest, outputs: Path, metrics: Path, about: dict[str, Any]) -> Entry | None:
        """Move the folder ``outputs`` into a new entry; the entry of another run that was faster is taken instead.

        None where that says otherwise of what was written in place, and may be read still: ``outputs`` stays.
        """
        building = under_way(self._root)
        building.mkdir()
        os.rename(outputs, building / "outputs")
        if metrics.is_file():
            shutil.copyfile(metrics, building / METRICS)
        # Without indentation, which only the slow encoder of Python knows.
        (building / _KEY_FILE).write_text(strict_json.dumps(clean(about), ensure_ascii=False), encoding="utf-8")
        make_read_only(building / "outputs")
        manifest = manifest.seen_at(_places(building, manifest))
        manifest.write(building)
        if manifest.standing:
            self._leases.take(building)
        if entry := self._publish(building, key, manifest):
            return entry
        _move_back(building / "outputs", outputs)
        remove_tree(building)
        return None

    def _publish(self, building: Path, key: str, manifest: Manifest) -> Entry | None:
        target = self._folder(key)
        target.parent.mkdir(exist_ok=True)
        while True:
            try:
                os.rename(building, target)
            except OSError:
                if not target.exists():
                    raise
            else:
                sync(target.parent)
                return Entry(target, manifest, _places(target, manifest))
            winner = self._read(key, {})
            if winner and winner.manifest.wrote_as(manifest) and (winner := self.find(key)):
                remove_tree(building)
                return winner
            # What was written in place then is not there any more: the outputs beside it go with it.
            if not self._set_aside(target):
                return None

    def _set_aside(self, broken: Path) -> bool:
        """Remove an entry, if no run may read it."""
        aside = under_way(self._root, "broken-")
        try:
            with unleased(broken) as free:
                if not free:
                    return False
                os.rename(broken, aside)
        except FileNotFoundError:
            return True
        remove_tree(aside)
        return True

    def _folder(self, key: str) -> Path:
        return self._root / key[:2] / key

    def _sweep(self) -> None:
        """Remove what dead runs left half built or half removed: what :func:`under_way` calls so, and nothing else."""
        self.flights.sweep()
        for folder in (self._root / "tmp").iterdir():
            match = _UNDER_WAY.fullmatch(folder.name)
            if _NAMELESS.fullmatch(folder.name) or (match and is_abandoned(from_name(match[1]), folder)):
                # Another run may be at it too.
                with contextlib.suppress(FileNotFoundError):
                    remove_tree(folder)


def _touch(used: Path) -> bool:
    """Note that an entry is used; False where it was collected meanwhile."""
    try:
        used.touch()
    except FileNotFoundError:
        return False
    except OSError:
        pass
    return True


def _move_back(source: Path, target: Path) -> None:
    # A folder that nobody may write to cannot be moved to another.
    mode = source.stat().st_mode
    source.chmod(mode | 0o200)
    source.rename(target)
    target.chmod(mode)


def _places(folder: Path, manifest: Manifest) -> dict[str, Path]:
    return {name: folder / "outputs" / name for name in manifest.outputs}


class Leases:
    """The leases of one run, until :meth:`close`: no other run puts its own in the place of a leased entry. Safe for
    several threads.

    A lease is a shared lock on the entry's folder, which ends with its process however that ends. On a file system
    without such locks nothing is leased.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: Device and inode of a folder -> the open folder that is locked.
        self._held: dict[tuple[int, int], int] = {}

    def take(self, folder: Path) -> bool:
        """Lease ``folder``; False where it is not there (any more)."""
        try:
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            return False
        lock(handle, shared=True, wait=True)
        identity = _identity(handle)
        with self._lock:
            if self._held.setdefault(identity, handle) != handle:
                os.close(handle)
        return _lies_at(folder, identity)

    def close(self) -> None:
        """Let go of all."""
        with self._lock:
            while self._held:
                os.close(self._held.popitem()[1])


@contextlib.contextmanager
def unleased(folder: Path) -> Iterator[bool]:
    """Whether nobody has leased ``folder``; nor does anybody, while that is acted upon."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        # What was put in its place meanwhile is not locked.
        yield lock(handle) is not False and _lies_at(folder, _identity(handle))
    finally:
        os.close(handle)


def _identity(handle: int) -> tuple[int, int]:
    stat = os.fstat(handle)
    return stat.st_dev, stat.st_ino


def _lies_at(folder: Path, identity: tuple[int, int]) -> bool:
    try:
        stat = folder.stat()
    except FileNotFoundError:
        return False
    return (stat.st_dev, stat.st_ino) == identity


#: How a step may go on: ``first``, it is its turn and nobody else's; ``alone``, what others do does not matter;
#: ``after``, somebody has just done the same, so the cache is worth a second look; ``canceled`` while it waited.
Turn = Literal["first", "alone", "after", "canceled"]


class Flights:
    """Who executes which step now: of runs that would do the same at the same time one does, and the others wait.

    A flight is ``cache/flights/<key>``, locked by the run that executes the step; the lock ends with its process,
    however that ends. What waits for the lock then finds in the file how the flight ended:

    - ``ended``: the result is in the cache, or there is none (the step failed, or its result may not be kept). Who
      finds nothing there executes the step itself, and all at once.
    - still the name of the run: it was killed. The first to get the lock goes on in its place; the others wait for it.

    Equal steps of one run wait for each other too. Where nothing can be locked, everybody executes what it needs.
    """

    def __init__(self, cache: Path) -> None:
        self._root = cache / "flights"

    @contextlib.contextmanager
    def join(self, key: str, name: str, tell: Callable[[str], None], asked: threading.Event) -> Iterator[Turn]:
        """Wait for who executes the step of ``key``, or be the one that does until the ``with`` ends.

        ``name``: what those who wait for us are told. ``tell`` is called once, with the name of who is waited for, and
        the waiting is over when somebody has ``asked`` to end.
        """
        self._root.mkdir(exist_ok=True)
        path = self._root / key
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
            try:
                turn = _turn(handle, path, tell, asked)
                if turn is None:
                    continue
                if turn == "first":
                    _put_name(handle, name)
                    try:
                        yield turn
                    finally:
                        _put_name(handle, _ENDED)
                        path.unlink(missing_ok=True)
                    return
            finally:
                os.close(handle)
            # Nothing is locked any more: all who have waited go on at once.
            yield turn
            return

    def sweep(self) -> None:
        """Remove what killed runs have left."""
        for path in self._root.iterdir() if self._root.is_dir() else ():
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                if lock(file.fileno()) and _lies_at(path, _identity(file.fileno())):
                    path.unlink()


def _turn(handle: int, path: Path, tell: Callable[[str], None], asked: threading.Event) -> Turn | None:
    """Whose turn it is once the file can be locked; None where it is no longer the one at ``path``."""
    waited = False
    while (locked := lock(handle)) is False:
        if not waited:
            tell(_name_in(handle))
        waited = True
        if asked.wait(_LOOK):
            return "canceled"
    if locked is None:
        return "alone"
    if waited and _name_in(handle) == _ENDED:
        return "after"
    return "first" if _lies_at(path, _identity(handle)) else None


def _name_in(handle: int) -> str:
    return os.pread(handle, 1000, 0).decode("utf-8", "replace")


def _put_name(handle: int, text: str) -> None:
    os.ftruncate(handle, 0)
    os.pwrite(handle, text.encode("utf-8", "replace"), 0)
