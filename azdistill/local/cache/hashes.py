"""Content hashes of files and folders, remembered by what stat says so that large files are read once."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from pathlib import Path

from azdistill.trees import hash_file, stat_of, walk_files
from azdistill.trees import tree_digest as tree_digest

#: A file changed this recently (seconds) may change again without its stat showing it: its hash is not remembered. The
#: clock of a file system ticks every few milliseconds, that of some every two seconds.
_SETTLED, _SETTLED_BY_SECONDS = 0.1, 2.0
_TABLE = "CREATE TABLE IF NOT EXISTS hashes (path TEXT PRIMARY KEY, stat TEXT NOT NULL, sha256 TEXT NOT NULL)"


class Hashes:
    """sha256 by path, size, times of change and inode, kept in one sqlite file. Safe for several threads and processes.

    The store is only a memory: where it cannot be opened or is broken, hashes are computed each time. ``looking``:
    nothing is written.
    """

    def __init__(self, path: Path, *, looking: bool = False) -> None:
        self._lock = threading.Lock()
        self._new: dict[str, tuple[str, str]] = {}
        self._known: dict[str, tuple[str, str]] = {}
        #: Held while a file is read: who needs its hash too waits, and finds it.
        self._reading: dict[str, threading.Lock] = {}
        self._database = self._open(path, looking)

    @staticmethod
    def _open(path: Path, looking: bool) -> sqlite3.Connection | None:
        place = f"{path.absolute().as_uri()}?mode={'ro' if looking else 'rwc'}"
        try:
            database = sqlite3.connect(place, timeout=2, check_same_thread=False, uri=True)
            if not looking:
                database.execute(_TABLE)
        except sqlite3.Error:
            return None
        return database

    def file(self, path: Path) -> str:
        """sha256 (hex) of a file's content."""
        real = os.path.realpath(path)
        if sha256 := self.remembered(real, os.stat(real)):
            return sha256
        with self._lock:
            reading = self._reading.setdefault(real, threading.Lock())
        with reading:
            status, began = os.stat(real), time.time()
            if sha256 := self.remembered(real, status):
                return sha256
            sha256 = hash_file(Path(real))
            # Of what was written to, or replaced, while it was read nobody knows what the hash is of.
            if stat_of(os.stat(real)) == stat_of(status):
                self.remember_settled(real, status, sha256, began)
        return sha256

    def remembered(self, real: str, status: os.stat_result) -> str | None:
        """The hash of a file, by its path without links, that is what it was when it was hashed."""
        with self._lock:
            hashed = self._known.get(real) or self._look_up(real)
        return hashed[1] if hashed and hashed[0] == _mark(status) else None

    def remember_settled(self, real: str, status: os.stat_result, sha256: str, began: float) -> None:
        """Remember the hash of a file that was last changed a while before reading it ``began``; ``status`` is from
        then.
        """
        by_seconds = not status.st_ctime_ns % 1_000_000_000
        if began - max(status.st_mtime, status.st_ctime) > (_SETTLED_BY_SECONDS if by_seconds else _SETTLED):
            self.remember(real, status, sha256)

    def remember(self, real: str, status: os.stat_result, sha256: str) -> None:
        """Remember the hash of a file that nobody writes to."""
        with self._lock:
            self._known[real] = self._new[real] = (_mark(status), sha256)

    def tree(self, root: Path) -> str:
        """One hash over the names and contents of all files under ``root``; empty folders do not count."""
        return tree_digest({name: self.file(path) for name, path in walk_files(root)})

    def close(self) -> None:
        """Write what was learnt, which may fail, and let go of the file."""
        if self._database is None:
            return
        with self._lock, contextlib.closing(self._database) as database:
            self._database = None
            rows = [(_column(path), *hashed) for path, hashed in self._new.items()]
            with contextlib.suppress(sqlite3.Error), database:
                database.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?)", rows)

    def _look_up(self, real: str) -> tuple[str, str] | None:
        if self._database is None:
            return None
        try:
            row = self._database.execute("SELECT stat, sha256 FROM hashes WHERE path = ?", (_column(real),)).fetchone()
        except sqlite3.Error:
            return None
        if row:
            self._known[real] = (row[0], row[1])
        return self._known.get(real)


def _column(path: str) -> str | bytes:
    """A path as the table holds it: its bytes, where they are no UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def _mark(status: os.stat_result) -> str:
    return " ".join(map(str, stat_of(status)))
