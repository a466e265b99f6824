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
        self._root, self._hashes, self._copying = os.path.realpath(home.code), hashes, copying
        self._draft = under_way(home.cache)
        #: What was copied: what stat said of the file before, and the copy.
        self._copies: dict[Path, tuple[Stat, CodeFile]] = {}
        self._folders: dict[str, str] = {}

    def copy(self, path: Path) -> tuple[Stat, CodeFile]:
        """The copy of a file, and what stat said of the file before it was read, to tell whether it was changed since.

        FileNotFoundError for what is no file any more.
        """
        status = os.stat(path)
        before = self._copies.get(path)
        if before is None or before[0] != stat_of(status):
            sha256 = self._hashes.remembered(real := self._real(path), status)
            copy = self._stored(sha256) if sha256 else None
            if copy is None:
                status, sha256, copy = self._fresh(path, real)
            assert sha256
            before = stat_of(status), CodeFile(sha256, is_executable(path), *copy)
            self._copies[path] = before
        return before

    def _real(self, path: Path) -> str:
        """``path`` without links; those on the way to a folder are followed once."""
        if path.is_symlink():
            return os.path.realpath(path)
        folder, name = os.path.split(path)
        if folder not in self._folders:
            self._folders[folder] = os.path.realpath(folder)
        return os.path.join(self._folders[folder], name)

    def _stored(self, sha256: str) -> tuple[str, Stat] | None:
        """The copy with this content, if there is one and it is what it was."""
        place = self._place(sha256)
        try:
            status = os.stat(place)
        except FileNotFoundError:
            return None
        if self._hashes.remembered(place, status) != sha256:
            # A power cut may have taken what it held.
            if hash_file(Path(place)) != sha256:
                return None
            self._hashes.remember(place, status, sha256)
        return place, stat_of(status)

    def _place(self, sha256: str) -> str:
        return f"{self._root}/{sha256[:2]}/{sha256}"

    def _fresh(self, path: Path, real: str) -> tuple[os.stat_result, str, tuple[str, Stat]]:
        """Copy a file, hashing it: what stat said of it before, its hash, and the copy."""
        # Not to wait for a pipe that has taken the place of a file.
        handle, began = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), time.time()
        with open(handle, "rb", buffering=0) as source:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError(errno.ENOENT, "no file any more", str(path))
            self._copying(path, status.st_size)
            draft = self._new_draft()
            with open(draft, "w+b", buffering=0, opener=_open_new) as target:
                sha256 = _copy_hashing(source, target)
        copy = self._stored(sha256) or self._publish(draft, sha256)
        if stat_of(os.stat(path)) == stat_of(status):
            self._hashes.remember_settled(real, status, sha256, began)
        return status, sha256, copy

    def _new_draft(self) -> str:
        draft = f"{self._draft}/file"
        try:
            os.unlink(draft)
        except FileNotFoundError:
            self._draft.mkdir(exist_ok=True)
        return draft

    def _publish(self, draft: str, sha256: str) -> tuple[str, Stat]:
        place = self._place(sha256)
        try:
            os.replace(draft, place)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(place), exist_ok=True)
            os.replace(draft, place)
        status = os.stat(place)
        self._hashes.remember(place, status, sha256)
        return place, stat_of(status)

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


def _open_new(path: str, flags: int) -> int:
    """Open a file that nobody may write to once it is closed."""
    return os.open(path, flags | os.O_EXCL, 0o444)


def _copy_hashing(source: BinaryIO, target: BinaryIO) -> str:
    """Copy a file into an empty one; the hash of what the copy holds, whatever the original may hold by now."""
    sha = hashlib.sha256()
    read, cloned = (target, True) if clone(source, target) else (source, False)
    while chunk := read.read(CHUNK):
        sha.update(chunk)
        if not cloned:
            write_all(target, chunk)
    return sha.hexdigest()
