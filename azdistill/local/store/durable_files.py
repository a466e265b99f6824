"""Files that survive a crash: written whole or not at all, hashed, and removed only where they are ours."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

from azdistill.local.store.machine_errors import disk_errors as disk_errors
from azdistill.trees import digest as digest
from azdistill.trees import hash_file as hash_file
from azdistill.trees import walk_files as walk_files

#: With less than this many bytes left a disk is full: what is to be written does not go in by bytes.
_LEAST = 1 << 20


def is_full(place: Path) -> bool:
    """Whether the disk of a folder has no room left."""
    try:
        return shutil.disk_usage(place).free < _LEAST
    except OSError:
        return False


def sync(path: Path) -> None:
    """fsync a file or a folder (a folder's entries are not on disk before that)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(handle: int, *, shared: bool = False, wait: bool = False) -> bool | None:
    """Lock an open file or folder until it is closed, however its process ends; False where another process has it.

    None where nothing can be locked: a file system without locks, or Windows, where runs are looked at but never made.
    """
    try:
        import fcntl

        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except (ImportError, OSError):
        return None
    return True


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` so that a reader, now or after a crash, sees the old file or the new one."""
    fresh = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with open(fresh, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync(path.parent)


def make_read_only(root: Path) -> None:
    """Let everything under ``root`` (and ``root``) be read and nothing more, but for executing what was executable."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                _read_only(path)
        os.chmod(folder, 0o555)
    if root.is_file():
        _read_only(root)


def _read_only(path: str | Path) -> None:
    os.chmod(path, 0o555 if os.stat(path).st_mode & 0o111 else 0o444)


def remove_tree(root: Path) -> None:
    """Remove a folder of ours, read-only parts included. The caller knows that it is ours."""
    if root.is_symlink() or not root.is_dir():
        # A pipe too, which to open would wait for ever.
        root.unlink()
        return
    for folder, _, _ in os.walk(root):
        os.chmod(folder, 0o700)
    shutil.rmtree(root, ignore_errors=False)
