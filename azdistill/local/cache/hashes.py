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

#: A file changed this recently (seconds) may change again without its stat showing it: its hash is not remembered.
_SETTLED = 2.0
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
        real = Path(os.path.realpath(path))
        status = os.stat(real)
        if sha256 := self.remembered(real, status):
            return sha256
        sha256 = hash_file(real)
        self.remember_settled(real, status, sha256)
        return sha256

    def remembered(self, path: Path, status: os.stat_result) -> str | None:
        """The hash of a file that is what it was when it was hashed."""
        real = os.path.realpath(path)
        with self._lock:
            hashed = self._known.get(real) or self._look_up(real)
        return hashed[1] if hashed and hashed[0] == _mark(status) else None

    def remember_settled(self, path: Path, status: os.stat_result, sha256: str) -> None:
        """Remember the hash of a file that was last changed a while ago; ``status`` is from before it was read."""
        if time.time() - max(status.st_mtime, status.st_ctime) > _SETTLED:
            self.remember(path, status, sha256)

    def remember(self, path: Path, status: os.stat_result, sha256: str) -> None:
        """Remember the hash of a file that nobody writes to."""
        real = os.path.realpath(path)
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
            rows = [(path, *hashed) for path, hashed in self._new.items()]
            with contextlib.suppress(sqlite3.Error), database:
                database.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?)", rows)

    def _look_up(self, real: str) -> tuple[str, str] | None:
        if self._database is None:
            return None
        try:
            row = self._database.execute("SELECT stat, sha256 FROM hashes WHERE path = ?", (real,)).fetchone()
        except sqlite3.Error:
            return None
        if row:
            self._known[real] = (row[0], row[1])
        return self._known.get(real)


def _mark(status: os.stat_result) -> str:
    return " ".join(map(str, stat_of(status)))
