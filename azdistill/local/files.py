"""Files that survive a crash: written whole or not at all, hashed, and removed only where they are ours."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from azdistill.errors import MachineError

CHUNK = 1 << 20
_DISK = {
    errno.ENOSPC,
    errno.EROFS,
    errno.EDQUOT,
    errno.EIO,
    errno.EACCES,
    errno.EPERM,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOTDIR,
}


@contextmanager
def disk_errors(doing: str) -> Iterator[None]:
    """Turn what the file system refuses (full, read-only, no permission) into a MachineError saying what was tried."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK:
            raise
        hint = "free some space, or move the state folder with AZDISTILL_HOME"
        place = f" ({error.filename})" if error.filename else ""
        raise MachineError(f"{doing}: {error.strerror}{place}", code="AZD310", hint=hint) from error


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


def sync(path: Path) -> None:
    """fsync a file or a folder (a folder's entries are not on disk before that)."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_whole(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` so that a reader, now or after a crash, sees the old file or the new one."""
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        with open(beside, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync(path.parent)


def walk_files(root: Path) -> Iterator[tuple[str, Path]]:
    """Every file under ``root`` as (relative POSIX path, path), sorted; linked folders are followed once, never in a
    ring.
    """
    yield from _walk(root, "", frozenset({os.path.realpath(root)}))


def _walk(folder: Path, prefix: str, above: frozenset[str]) -> Iterator[tuple[str, Path]]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = Path(entry.path)
        if entry.is_dir():
            real = os.path.realpath(entry.path)
            if real not in above:
                yield from _walk(path, f"{prefix}{entry.name}/", above | {real})
        elif entry.is_file():
            yield f"{prefix}{entry.name}", path


def make_read_only(root: Path) -> None:
    """Take the write permission from everything under ``root`` (and ``root``)."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                os.chmod(path, stat.S_IMODE(os.stat(path).st_mode) & ~0o222)
        os.chmod(folder, stat.S_IMODE(os.stat(folder).st_mode) & ~0o222)
    if root.is_file():
        os.chmod(root, stat.S_IMODE(os.stat(root).st_mode) & ~0o222)


def remove_tree(root: Path) -> None:
    """Remove a folder of ours, read-only parts included. The caller knows that it is ours."""
    if root.is_symlink() or root.is_file():
        root.unlink()
        return
    for folder, _, _ in os.walk(root):
        os.chmod(folder, 0o700)
    shutil.rmtree(root, ignore_errors=False)
