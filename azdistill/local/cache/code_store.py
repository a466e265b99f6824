"""The files of code that runs have taken, each once: ``cache/code/<sha256[:2]>/<sha256>``, read-only.

A file is hashed while it is copied: its name says what the copy holds, whatever becomes of the original meanwhile. A
copy is never a hard link to the user's file, through which an edit would reach it; where the file system can, the two
share their blocks until one of them is written (a reflink).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from azdistill.local.cache.entries import under_way
from azdistill.local.cache.hashes import Hashes
from azdistill.local.run.run_code import CodeFile, clone, write_all
from azdistill.local.store.durable_files import lock, remove_tree
from azdistill.local.store.home import Home
from azdistill.snapshot import is_executable
from azdistill.trees import CHUNK, Stat, hash_file, stat_of


class CodeStore:
    """Copies files of code. ``hashes`` remembers those that are copied already; ``copying`` hears how large one is
    before it is copied.
    """

    def __init__(
        self, home: Home, hashes: Hashes, copying: Callable[[Path, int], None] = lambda path, size: None
    ) -> None:
        self._root, self._cache, self._hashes, self._copying = home.code, home.cache, hashes, copying
        self._draft = under_way(self._cache)
        #: What was copied: what stat said of the file before, and the copy.
        self._copies: dict[Path, tuple[Stat, CodeFile]] = {}

    def copy(self, path: Path) -> tuple[Stat, CodeFile]:
        """The copy of a file, and what stat said of the file before it was read, to tell whether it was changed since.

        FileNotFoundError for what is no file any more.
        """
        status = path.stat()
        seen = stat_of(status)
        before = self._copies.get(path)
        if before is None or before[0] != seen:
            sha256 = self._hashes.remembered(path, status)
            copy = self._stored(sha256) if sha256 else None
            if copy is None:
                seen, sha256, copy = self._fresh(path)
            executable = is_executable(path)
            assert sha256
            self._copies[path] = before = seen, CodeFile(sha256, executable, *copy)
        return before

    def _stored(self, sha256: str) -> tuple[Path, Stat] | None:
        """The copy with this content, if there is one and it is what it was."""
        place = self._root / sha256[:2] / sha256
        try:
            status = place.stat()
        except FileNotFoundError:
            return None
        if self._hashes.remembered(place, status) != sha256:
            # A power cut may have taken what it held.
            if hash_file(place) != sha256:
                return None
            self._hashes.remember(place, status, sha256)
        return place, stat_of(status)

    def _fresh(self, path: Path) -> tuple[Stat, str, tuple[Path, Stat]]:
        """Copy a file, hashing it: what stat said of it before, its hash, and the copy."""
        # Not to wait for a pipe that has taken the place of a file.
        handle, began = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), time.time()
        with open(handle, "rb", buffering=0) as source:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError(errno.ENOENT, "no file any more", str(path))
            self._copying(path, status.st_size)
            self._draft.mkdir(exist_ok=True)
            draft = self._draft / "file"
            with open(draft, "wb", buffering=0) as target:
                sha256 = _copy_hashing(source, target)
        copy = self._stored(sha256)
        if copy:
            draft.unlink()
        else:
            os.chmod(draft, 0o444)
            place = self._root / sha256[:2] / sha256
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(draft, place)
            status_of_copy = place.stat()
            self._hashes.remember(place, status_of_copy, sha256)
            copy = place, stat_of(status_of_copy)
        if stat_of(path.stat()) == stat_of(status):
            self._hashes.remember_settled(path, status, sha256, began)
        return stat_of(status), sha256, copy

    def close(self) -> None:
        """Remove what an interrupted copy has left."""
        if self._draft.exists():
            remove_tree(self._draft)


@contextlib.contextmanager
def store_lock(home: Home, *, shared: bool) -> Iterator[bool]:
    """Hold the store: ``shared`` while files are copied to it or found in it, alone while some are removed.

    Waits for those who remove; False where some are copied and it is wanted alone.
    """
    home.code.mkdir(parents=True, exist_ok=True)
    handle = os.open(home.code, os.O_RDONLY)
    try:
        yield lock(handle, shared=shared, wait=shared) is not False
    finally:
        os.close(handle)


def _copy_hashing(source: BinaryIO, target: BinaryIO) -> str:
    sha = hashlib.sha256()
    cloned = clone(source, target)
    if cloned:
        # What the copy holds, not what the original may hold by now.
        with open(target.name, "rb", buffering=0) as copy:
            while chunk := copy.read(CHUNK):
                sha.update(chunk)
        return sha.hexdigest()
    while chunk := source.read(CHUNK):
        sha.update(chunk)
        write_all(target, chunk)
    return sha.hexdigest()
