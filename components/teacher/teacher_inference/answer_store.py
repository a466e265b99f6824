"""The answer store: every complete valid answer of a teacher, kept so that it is never asked for again.

An answer's key is the sha256 of what was asked: API, model, rendered messages, sampling parameters, sample number. The
endpoint, the row's id and the code are no part of it, so the same question is answered from here on another day, by
another run, after a change of code. What is kept is the body as the teacher sent it; of an answer that nothing may
learn from, and whose text nobody may read, the reason is kept in its place.

The store is a folder of shards, ``<model>-<hash>/<time>-<writer>-<number>.jsonl``. A shard has one writer,
is appended to line by line, closed after some rows or seconds, and never touched again: safe on a mounted blob
container, where files are uploaded when they are closed and the last of two writers wins. A torn last line is a
request that was in flight.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
import uuid
from hashlib import sha256
from pathlib import Path
from typing import Any

from common import strict_json
from common.step import StepError

#: A shard is closed after so many answers, or so many seconds.
SHARD_ROWS = 500
SHARD_SECONDS = 60.0
_KEY = re.compile(rb'^\{"key": "([0-9a-f]{64})"')


def answer_key(api: str, model: str, messages: list[dict[str, str]], parameters: dict[str, Any], sample: int) -> str:
    """The key of an answer: the sha256 of what was asked, as canonical JSON."""
    request = {"api": api, "model": model, "messages": messages, "parameters": parameters, "sample": sample}
    text = strict_json.dumps(request, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class AnswerStore:
    """The answers of one model. ``get`` and ``put`` by key; ``close`` when done."""

    def __init__(self, folder: Path, model: str) -> None:
        slug = re.sub(r"[^A-Za-z0-9.-]+", "-", model).strip("-.")[:40] or "model"
        self.folder = folder / f"{slug}-{sha256(model.encode()).hexdigest()[:8]}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StepError(f"cannot write answers to {folder}: {error.strerror}") from None
        #: key -> shard and offset of the line
        self._index: dict[bytes, tuple[Path, int]] = {}
        self._name = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:8]}"
        self._number = 0
        self._file: Any = None
        self._path = self.folder
        self._rows = 0
        self._opened = 0.0
        for shard in sorted(self.folder.glob("*.jsonl")):
            self._read_index(shard)

    def __len__(self) -> int:
        return len(self._index)

    def get(self, key: str) -> dict[str, Any] | None:
        """What was put under ``key`` (``body`` or ``rejected``, ``latency``, ``asked_at``), or None."""
        place = self._index.get(bytes.fromhex(key))
        if place is None:
            return None
        with place[0].open("rb") as file:
            file.seek(place[1])
            try:
                record: dict[str, Any] = json.loads(file.readline())
            except ValueError:
                return None
        return record if record.get("key") == key else None

    def put(self, key: str, body: dict[str, Any], latency: float) -> dict[str, Any]:
        """Keep an answer. When this returns, a kill of this process does not lose it."""
        return self._keep({"key": key, "latency": latency, "asked_at": int(time.time()), "body": body})

    def put_rejected(self, key: str, reason: str, latency: float) -> dict[str, Any]:
        """Keep that there was an answer and why it is rejected, but nothing of it. It takes an earlier one's place."""
        # Without a body, earlier versions reject it as malformed.
        record = {"key": key, "latency": latency, "asked_at": int(time.time()), "body": None, "rejected": reason}
        return self._keep(record)

    def _keep(self, record: dict[str, Any]) -> dict[str, Any]:
        line = strict_json.dumps(record, ensure_ascii=True).encode() + b"\n"
        offset = self._append(line)
        self._index[bytes.fromhex(record["key"])] = (self._path, offset)
        self._rows += 1
        if self._rows >= SHARD_ROWS or time.monotonic() - self._opened >= SHARD_SECONDS:
            self.close()
        return record

    def _append(self, line: bytes) -> int:
        """Write one line; returns where it begins. Raises StepError when the disk does not take it."""
        try:
            file = self._shard()
            offset: int = file.tell()
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            # The next line must not be glued to half of this one.
            self.close()
            raise StepError(f"cannot write the answer to {self._path}: {error.strerror}") from None
        return offset

    def close(self) -> None:
        """Close the shard that is being written, if any; the next answer begins another."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def _shard(self) -> Any:
        if self._file is None:
            self._path = self.folder / f"{self._name}-{self._number:04d}.jsonl"
            self._number += 1
            self._rows, self._opened = 0, time.monotonic()
            # Unbuffered: a line is with the system when write returns. "x": one writer.
            self._file = self._path.open("xb", buffering=0)
        return self._file

    def _read_index(self, shard: Path) -> None:
        offset = 0
        with shard.open("rb") as file:
            for line in file:
                if (match := _KEY.match(line)) and line.endswith(b"}\n"):
                    self._index[bytes.fromhex(match.group(1).decode())] = (shard, offset)
                offset += len(line)
