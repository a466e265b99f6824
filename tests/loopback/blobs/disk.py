"""Blobs as files, so that a test can look at them and a runner can read and write them."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

from ..messages import BlobError

BESIDE = ".loopback"
"""Beside a container's folder lies what a file cannot hold: metadata, types, blocks not yet committed."""


class Disk:
    """Containers as folders below one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._staged: dict[tuple[str, str], dict[str, bytes]] = {}

    def path(self, container: str, name: str = "") -> Path:
        """Where a blob lies; refuses a name that leads out of its container."""
        folder = self._folder / container
        path = Path(os.path.normpath(folder / name))
        if container in ("", ".", "..") or (path != folder and folder not in path.parents):
            raise BlobError(400, "InvalidUri", "The requested URI does not represent any resource on the server.")
        return path

    def blob(self, container: str, name: str) -> Blob:
        """A blob, whether it is there or not."""
        staged = self._staged.setdefault((container, name), {})
        return Blob(self.path(container, name), self._folder / BESIDE / container / f"{name}.json", staged)

    def names(self, container: str) -> Iterator[str]:
        """The names of a container's blobs, in order."""
        folder = self.path(container)
        return iter(sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file()))


class Blob:
    """One blob. Each write is whole or not at all; a file that something else wrote is a block blob."""

    def __init__(self, path: Path, beside: Path, staged: dict[str, bytes]) -> None:
        self.path, self._beside, self._staged = path, beside, staged

    def exists(self) -> bool:
        """Whether it is there."""
        return self.path.is_file()

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size

    def read(self, first: int = 0, last: int | None = None) -> bytes:
        """Its bytes from ``first`` up to ``last``."""
        with self.path.open("rb") as file:
            file.seek(first)
            return file.read(-1 if last is None else last - first)

    def write(self, content: bytes, kind: str, metadata: dict[str, str]) -> None:
        """Replace it."""
        self._replace(content)
        self._note({"kind": kind, "metadata": metadata})

    def append(self, content: bytes) -> None:
        """Add to its end."""
        with self.path.open("ab") as file:
            file.write(content)

    def stage(self, name: str, content: bytes) -> None:
        """Keep a block until it is committed."""
        self._staged[name] = content

    def commit(self, names: list[str], metadata: dict[str, str]) -> None:
        """Make the blob of its blocks. Raises KeyError for a block that was never sent."""
        self._replace(b"".join(self._staged[name] for name in names))
        self._staged.clear()
        self._note({"kind": "BlockBlob", "metadata": metadata})

    def annotate(self, metadata: dict[str, str]) -> None:
        """Replace its metadata."""
        self._note({**self._notes(), "metadata": metadata})

    def delete(self) -> None:
        """Remove it."""
        self.path.unlink()
        self._beside.unlink(missing_ok=True)

    def headers(self) -> dict[str, str]:
        """What a HEAD answers."""
        notes, stat = self._notes(), self.path.stat()
        tag = hashlib.md5(f"{stat.st_mtime_ns} {stat.st_size} {stat.st_ino}".encode()).hexdigest()
        headers = {
            "ETag": f'"0x{tag[:15].upper()}"',
            "Last-Modified": formatdate(stat.st_mtime, usegmt=True),
            "Content-Type": "application/octet-stream",
            "Accept-Ranges": "bytes",
            "x-ms-blob-type": notes.get("kind", "BlockBlob"),
            "x-ms-server-encrypted": "true",
            "x-ms-creation-time": formatdate(stat.st_ctime, usegmt=True),
            "x-ms-lease-status": "unlocked",
            "x-ms-lease-state": "available",
        }
        return headers | {f"x-ms-meta-{name}": value for name, value in notes.get("metadata", {}).items()}

    def blocks_xml(self) -> bytes:
        """Its blocks, as a list of them."""
        staged = "".join(
            f"<Block><Name>{name}</Name><Size>{len(block)}</Size></Block>" for name, block in self._staged.items()
        )
        return f'<?xml version="1.0"?><BlockList><UncommittedBlocks>{staged}</UncommittedBlocks></BlockList>'.encode()

    def _replace(self, content: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._beside.parent / f".{uuid.uuid4().hex}"
        temporary.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(self.path)

    def _notes(self) -> dict:
        try:
            return json.loads(self._beside.read_text())
        except (FileNotFoundError, ValueError):
            return {}

    def _note(self, notes: dict) -> None:
        self._beside.parent.mkdir(parents=True, exist_ok=True)
        self._beside.write_text(json.dumps(notes))
