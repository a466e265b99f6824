"""Names and contents of files: walked in one order, hashed in one way."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CHUNK = 1 << 20


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
