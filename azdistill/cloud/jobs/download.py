"""Fetches outputs of a run: several files at a time, each checked, taken up again where an earlier try was killed.

Nothing here writes where the user looks: files gather in a folder of ours, and are delivered from there when all of
them are whole.
"""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from threading import Event
from typing import Any

from azdistill.cloud.jobs.outputs import Output
from azdistill.cloud.jobs.storage import Blob, Container
from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.errors import ServiceError

_AT_ONCE = 8
#: How often a blob's connection may be cut before the download ends.
_TRIES = 6


@dataclass(frozen=True, slots=True)
class Fetched:
    """An output on this machine: ``checked`` says whether its step's manifest told what it should be."""

    output: Output
    path: Path
    files: int
    size: int
    checked: bool
    left_out: int = 0


def fetch(
    connection: Connection, output: Output, folder: Path, on_bytes: Callable[[int], None] = lambda _: None
) -> Fetched:
    """Fetch ``output`` into ``folder``. ServiceError AZD439 where it holds nothing, AZD440 where it is not what its
    step wrote.
    """
    container = Container(connection, output.place.datastore)
    with explain(f"downloading output '{output.name}'"):
        listed = container.blobs(output.place.path)
        blobs = _of_step(output, listed)
        path = folder / PurePosixPath(output.place.path).name
        _each(blobs, lambda name, blob: _File(container, blob, path / name if name else path, on_bytes), output)
    size = sum(blob.size for blob in blobs.values())
    return Fetched(output, path, len(blobs), size, output.expected is not None, len(listed) - len(blobs))


def read(connection: Connection, output: Output, file: str) -> bytes:
    """One small file of an output, checked like a download."""
    container = Container(connection, output.place.datastore)
    path = f"{output.place.path}/{file}" if file else output.place.path
    with explain(f"reading {file or output.name} of output '{output.name}'"):
        content = container.content(path)
    if content is None:
        raise ServiceError(f"output '{output.name}' has no file '{file}'", code="AZD439")
    mark = (output.expected or {}).get(file)
    if mark and hashlib.sha256(content).hexdigest() != mark.get("sha256"):
        raise _changed(output, file, "its content")
    return content


def _of_step(output: Output, listed: list[Blob]) -> dict[str, Blob]:
    """Relative path -> blob, of what the step wrote. What others have put beside it since is left out."""
    if not listed:
        hint = "it was deleted, or its step wrote nothing"
        raise ServiceError(f"output '{output.name}' holds nothing at {output.place.path}", code="AZD439", hint=hint)
    blobs = {_relative(blob.name, output.place.path): blob for blob in listed}
    if output.expected is None:
        return blobs
    for name, mark in output.expected.items():
        if name not in blobs:
            raise ServiceError(f"output '{output.name}' has lost the file '{name}' that its step wrote", code="AZD440")
        if blobs[name].size != mark.get("size"):
            raise _changed(output, name, f"{blobs[name].size} bytes in place of {mark.get('size')}")
    return {name: blobs[name] for name in output.expected}


def _relative(blob: str, root: str) -> str:
    name = blob.removeprefix(root).lstrip("/")
    if ".." in PurePosixPath(name).parts or "\\" in name or "\0" in name:
        raise ServiceError(f"a file is called '{name}', which leads out of its folder", code="AZD440")
    return name


def _changed(output: Output, name: str, what: str) -> ServiceError:
    file = f"file '{name}' of output '{output.name}'" if name else f"output '{output.name}'"
    hint = "it was written over since, or damaged: run the step again"
    return ServiceError(f"{file} is not what its step wrote ({what})", code="AZD440", hint=hint)


def _each(blobs: Mapping[str, Blob], make: Callable[[str, Blob], _File], output: Output) -> None:
    """Fetch them all, several at a time; the first error ends the rest."""
    stop = Event()

    def fetch_one(name: str, blob: Blob) -> None:
        mark = (output.expected or {}).get(name)
        if not make(name, blob).fetch(stop, mark.get("sha256") if mark else None):
            raise _changed(output, name, "its content")

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="download") as pool:
        # The largest first, so that none is left alone at the end.
        names = sorted(blobs, key=lambda name: -blobs[name].size)
        running = [pool.submit(fetch_one, name, blobs[name]) for name in names]
        try:
            finished, _ = wait(running, return_when=FIRST_EXCEPTION)
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        if any(each.exception() for each in finished):
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
    for each in running:
        if not each.cancelled():
            each.result()


class _File:
    """One blob on its way: into ``<name>.<etag>.part``, whose bytes a later try keeps, then renamed."""

    def __init__(self, container: Container, blob: Blob, target: Path, on_bytes: Callable[[int], None]) -> None:
        self._container, self._blob, self._target, self._on_bytes = container, blob, target, on_bytes
        mark = hashlib.sha256(f"{blob.etag} {blob.size}".encode()).hexdigest()[:16]
        self._part = target.with_name(f"{target.name}.{mark}.part")

    def fetch(self, stop: Event, sha256: str | None) -> bool:
        """Whether what came is what ``sha256`` says (always, where that is not known)."""
        self._target.parent.mkdir(parents=True, exist_ok=True)
        if self._is_there(sha256):
            self._on_bytes(self._blob.size)
            return True
        digest = hashlib.sha256()
        with open(self._part, "ab+") as file:
            self._take_up(file, digest)
            self._receive(file, digest, stop)
            file.flush()
            os.fsync(file.fileno())
            received = file.seek(0, os.SEEK_END)
        if stop.is_set() and received < self._blob.size:
            # Another file has failed, and says why; this one's bytes wait for the next try.
            return True
        if received != self._blob.size or (sha256 is not None and digest.hexdigest() != sha256):
            self._part.unlink()
            return False
        os.utime(self._part, (self._blob.modified, self._blob.modified))
        os.replace(self._part, self._target)
        return True

    def _is_there(self, sha256: str | None) -> bool:
        try:
            stat = self._target.stat()
            if stat.st_size != self._blob.size:
                return False
            if sha256 is None:
                return stat.st_mtime == self._blob.modified
            with open(self._target, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == sha256
        except OSError:
            return False

    def _take_up(self, file: Any, digest: Any) -> None:
        """Keep what an earlier try has received."""
        file.seek(0)
        while chunk := file.read(1 << 20):
            digest.update(chunk)
        self._on_bytes(file.tell())

    def _receive(self, file: Any, digest: Any, stop: Event) -> None:
        for attempt in range(1, _TRIES + 1):
            try:
                for chunk in self._container.read(self._blob, file.seek(0, os.SEEK_END)):
                    if stop.is_set():
                        return
                    file.write(chunk)
                    digest.update(chunk)
                    self._on_bytes(len(chunk))
                return
            except Exception as error:
                # Bytes that are here are kept; the next try asks for the rest.
                if attempt == _TRIES or not _is_cut(error):
                    raise
                file.flush()
                time.sleep(min(0.25 * 2**attempt, 8.0) * random.uniform(0.8, 1.2))


def _is_cut(error: BaseException) -> bool:
    """Whether a connection broke, so that asking again may help."""
    from azure.core import exceptions

    if isinstance(error, exceptions.HttpResponseError) and error.status_code and error.status_code not in (408, 429):
        return int(error.status_code) >= 500
    cut = (exceptions.ServiceRequestError, exceptions.ServiceResponseError, exceptions.IncompleteReadError)
    return isinstance(error, (*cut, exceptions.HttpResponseError, ConnectionError, TimeoutError))
