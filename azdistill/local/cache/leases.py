"""Leases of cache entries: while a run may read what lies in one, no other run puts its own in that place.

A lease is a shared lock on the entry's folder, which ends with its process however that ends. On a file system without
such locks nothing is leased.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path


class Leases:
    """Those of one run, until :meth:`close`. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: Device and inode of a folder -> the open folder that is locked.
        self._held: dict[tuple[int, int], int] = {}

    def take(self, folder: Path) -> bool:
        """Lease ``folder``; False where it is not there (any more)."""
        # Imported here: there is none on Windows, where runs are looked at but never made.
        import fcntl

        try:
            handle = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            return False
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_SH)
        found = _identity(handle)
        with self._lock:
            if self._held.setdefault(found, handle) != handle:
                os.close(handle)
        return _lies_at(folder, found)

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
        yield _is_free(handle) and _lies_at(folder, _identity(handle))
    finally:
        os.close(handle)


def _is_free(handle: int) -> bool:
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _identity(handle: int) -> tuple[int, int]:
    found = os.fstat(handle)
    return found.st_dev, found.st_ino


def _lies_at(folder: Path, identity: tuple[int, int]) -> bool:
    try:
        found = folder.stat()
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == identity
