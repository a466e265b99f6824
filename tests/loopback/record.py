"""What was received: every request with its body, searchable for a text in any of the forms it could travel in."""

from __future__ import annotations

import base64
import json
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, unquote

from .messages import Request

LARGE = 1 << 20


@dataclass
class Recorded:
    """One request and the status it was answered with (0: the connection was cut).

    ``body`` is parsed where it is JSON, bytes where it is not; ``raw`` is always the bytes. What is large lies in
    ``file`` and is read when it is asked for.
    """

    method: str
    path: str
    url: str
    route: str
    query: dict[str, str]
    headers: dict[str, str]
    small: bytes = field(repr=False)
    file: Path | None = None
    status: int = 0

    @property
    def raw(self) -> bytes:
        """The body's bytes."""
        return self.file.read_bytes() if self.file else self.small

    @property
    def body(self) -> Any:
        """The body, parsed where it is JSON."""
        try:
            return json.loads(self.raw)
        except ValueError:
            return self.raw

    def haystack(self) -> bytes:
        """Everything this request said, as bytes."""
        headers = "\n".join(f"{name}: {value}" for name, value in self.headers.items())
        return "\n".join((self.method, self.url, unquote(self.url), headers)).encode() + b"\n" + self.raw


class Record:
    """The requests in the order in which they came; bodies of more than ``LARGE`` bytes are kept in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all: list[Recorded] = []
        self._lock = threading.Lock()

    def add(self, request: Request) -> Recorded:
        """Keep a request."""
        file = None
        if len(request.body) > LARGE:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = self._folder / uuid.uuid4().hex
            file.write_bytes(request.body)
        kept = Recorded(
            request.method,
            request.path,
            request.url,
            request.route,
            request.query,
            request.headers,
            b"" if file else request.body,
            file,
        )
        with self._lock:
            self._all.append(kept)
        return kept

    def __iter__(self) -> Iterator[Recorded]:
        return iter(list(self._all))

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, index: Any) -> Any:
        return self._all[index]

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            for one in self._all:
                if one.file:
                    one.file.unlink(missing_ok=True)
            self._all.clear()

    def find(self, method: str | None = None, path: str = "") -> list[Recorded]:
        """The requests with a method whose route or path holds a text."""
        return [one for one in self if method in (None, one.method) and (path in one.path or path in one.route)]

    def seen(self, text: str) -> list[Recorded]:
        """The requests that hold a text: plain, URL-encoded, escaped as JSON, in base64 or hexadecimal."""
        needles = list(forms(text))
        return [one for one in self if any(needle in one.haystack() for needle in needles)]


def forms(text: str) -> Iterator[bytes]:
    """The byte strings that a text could travel as."""
    raw = text.encode()
    yield from {raw, quote(text).encode(), quote(text, safe="").encode(), quote_plus(text).encode()}
    yield json.dumps(text)[1:-1].encode()
    yield from (raw.hex().encode(), raw.hex().upper().encode(), text.encode("utf-16-le"))
    for offset in range(3):
        # What stands before the text shifts its bits: cut off the characters that its neighbours share.
        coded = base64.b64encode(b"\0" * offset + raw)
        core = coded[(0, 2, 3)[offset] : (len(raw) + offset) * 8 // 6]
        if len(core) >= 6:
            yield from {core, core.translate(bytes.maketrans(b"+/", b"-_"))}
