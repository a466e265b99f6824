"""Rows: the JSONL that travels between steps (UTF-8, one object a line).

A row has ``id``, ``messages`` (an optional ``system``, then ``user`` and ``assistant`` in turn, ending in ``user``),
and may have ``reference`` (the gold answer) and ``metadata``. A teacher row adds ``teacher``, ``response``,
``reasoning``, ``usage``, ``finish_reason``, ``latency`` (seconds), ``status``. A reject has ``reason`` (a fixed word),
``detail``, ``file``, ``line`` and ``row``.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from common import strict_json
from common.step import BadData, NoInput

Row = dict[str, Any]
Message = dict[str, str]
#: NUL characters and lone surrogates: no UTF-8, or refused by half of the tools that read rows.
UNWRITABLE = re.compile("[\x00\ud800-\udfff]")


class BadRow(Exception):
    """A row that breaks the contract. ``reason`` is a fixed word, ``detail`` says it in a sentence.

    ``raw``: the text that stands in the row's place, where it could not be read as a row.
    """

    def __init__(self, reason: str, detail: str, raw: str | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.raw = raw


# -- one row ----------------------------------------------------------------------------------------------------------


def make_row(messages: Any, reference: str | None = None, metadata: dict[str, Any] | None = None) -> Row:
    """A row from chat messages, checked. A final assistant turn becomes the reference. Raises BadRow."""
    turns = check_messages(messages)
    if turns[-1]["role"] == "assistant":
        last = turns.pop()["content"]
        reference = last if reference is None else reference
    if not turns or turns[-1]["role"] != "user":
        raise BadRow("roles", "there is no user turn to answer")
    if reference is not None and not isinstance(reference, str):
        raise BadRow("schema", "the reference is not text")
    if any(UNWRITABLE.search(text) for text in _texts([turns, reference, metadata])):
        raise BadRow("characters", "the row holds a NUL character, or half of a surrogate pair")
    row: Row = {"id": row_id(turns, reference), "messages": turns}
    if reference is not None:
        row["reference"] = reference
    if metadata:
        row["metadata"] = metadata
    return row


def check_messages(messages: Any) -> list[Message]:
    """A copy of ``messages`` holding role and content only. Raises BadRow when their form or order is wrong."""
    if not isinstance(messages, list) or not messages:
        raise BadRow("schema", "'messages' is not a list of messages" if messages else "'messages' is empty")
    turns = [_check_message(number, message) for number, message in enumerate(messages, 1)]
    expected = "user"
    for number, turn in enumerate(turns, 1):
        role = turn["role"]
        if role == "system" and number == 1:
            continue
        if role != expected:
            raise BadRow("roles", f"message {number} is from '{role}' where '{expected}' is expected")
        expected = "assistant" if role == "user" else "user"
    return turns


def _check_message(number: int, message: Any) -> Message:
    if not isinstance(message, dict):
        raise BadRow("schema", f"message {number} is not an object")
    missing = [key for key in ("role", "content") if key not in message]
    if missing:
        raise BadRow("schema", f"message {number} has no '{missing[0]}'")
    role, content = message["role"], message["content"]
    if role not in ("system", "user", "assistant"):
        raise BadRow("roles", f"message {number} has the role '{role}' (known: system, user, assistant)")
    if not isinstance(content, str):
        raise BadRow("schema", f"the content of message {number} is not text")
    if role != "system" and not content.strip():
        raise BadRow("empty", f"message {number} ({role}) is empty")
    return {"role": role, "content": content}


def row_id(messages: list[Message], reference: str | None = None) -> str:
    """The id of a row: 16 hex digits of the sha256 of its messages and reference."""
    text = strict_json.dumps([messages, reference], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode("utf-8")).hexdigest()[:16]


def prompt_digest(messages: list[Message]) -> bytes:
    """16 bytes that are equal for prompts that differ in case, spacing or Unicode composition only."""
    text = "\x1f".join(f"{turn['role']}\x1e{_plain(turn['content'])}" for turn in messages)
    return sha256(text.encode("utf-8")).digest()[:16]


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).strip().casefold()


def last_user(row: Row) -> str:
    """The turn that is to be answered."""
    content: str = row["messages"][-1]["content"]
    return content


# -- files of rows ----------------------------------------------------------------------------------------------------


def parse_line(line: bytes, parse_float: Callable[[str], float] | None = None) -> Row:
    """The object on one line of JSONL. Raises BadRow (``invalid_utf8``, ``truncated_json``, ``json``, ``schema``)."""
    try:
        return _parsed(line, parse_float)
    except BadRow as bad:
        bad.raw = line.decode("utf-8", "replace")
        raise


def _parsed(line: bytes, parse_float: Callable[[str], float] | None) -> Row:
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRow("invalid_utf8", f"byte {error.start + 1} of the line is not UTF-8") from None
    try:
        value = json.loads(text, object_pairs_hook=unique_keys, parse_float=parse_float)
    except json.JSONDecodeError as error:
        at_end = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
        raise BadRow("truncated_json" if at_end else "json", f"{error.msg} at column {error.colno}") from None
    except (RecursionError, ValueError) as error:
        raise BadRow("json", json_limit(error)) from None
    check_text(text, value)
    if not isinstance(value, dict):
        raise BadRow("schema", f"the line holds {_kind(value)} where an object is expected")
    return value


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these keys and values, for a JSON reader. Raises BadRow where one of two would be lost."""
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadRow("json", f"an object names the key '{twice}' twice")
    return value


def json_limit(error: Exception) -> str:
    """Which limit of Python's reader a JSON text of the right form met."""
    return "nested too deeply" if isinstance(error, RecursionError) else "a number has too many digits"


def check_text(text: str, value: Any) -> None:
    """Refuse what cannot be written again: NUL characters and lone surrogates. Raises BadRow."""
    if ("\\u0000" in text or "\x00" in text) and any("\x00" in part for part in _texts(value)):
        raise BadRow("characters", "the row holds a NUL character")
    if re.search(r"\\u[dD][89a-fA-F]", text):
        try:
            strict_json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise BadRow("characters", "the row holds half of a surrogate pair") from None


def _texts(value: Any) -> Iterator[str]:
    """All texts in a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        yield from value
        for item in value.values():
            yield from _texts(item)


def _kind(value: Any) -> str:
    return {list: "a list", str: "a string", type(None): "null", bool: "a boolean"}.get(type(value), "a number")


def read_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not blank, counted from 1. Raises NoInput."""
    with open_input(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line.rstrip(b"\r\n")


def open_input(path: str | os.PathLike[str]) -> Any:
    """The file opened for reading bytes. Raises NoInput with the system's reason."""
    try:
        return open(path, "rb")
    except OSError as error:
        raise NoInput(f"cannot open {path}: {error.strerror or error}") from None


def read_rows(path: str | os.PathLike[str]) -> Iterator[Row]:
    """The rows of a file, fields beyond the contract kept. Raises BadData with ``file:line`` at the first bad one.

    A row without an id gets one; a final assistant turn becomes the reference.
    """
    for number, line in read_lines(path):
        try:
            raw = parse_line(line)
            row = make_row(raw.get("messages"), raw.get("reference"), raw.get("metadata"))
        except BadRow as bad:
            raise BadData(f"{path}:{number}: {bad.detail} ({bad.reason})") from None
        yield {**raw, **row, "id": raw.get("id") or row["id"]}


class RowWriter:
    """Writes rows as they come: ``with RowWriter(path) as out: out.write(row)``. ``written`` counts them."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.written = 0
        self._path = Path(path)
        self._file: TextIO | None = None

    def __enter__(self) -> RowWriter:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("w", encoding="utf-8", newline="\n")
        return self

    def write(self, row: Row) -> None:
        """Append one row. What JSON has no form for (dates, bytes) is written as text."""
        assert self._file is not None, "a RowWriter is used inside `with`"
        self._file.write(strict_json.dumps(row, ensure_ascii=False, default=str) + "\n")
        self.written += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()


def write_rows(path: str | os.PathLike[str], rows: Iterable[Row]) -> int:
    """Write ``rows`` and return how many there were."""
    with RowWriter(path) as out:
        for row in rows:
            out.write(row)
    return out.written


def reject(reason: str, detail: str, *, file: str = "", line: int = 0, row: Any = None) -> Row:
    """What the rejects file holds for one row."""
    return {"reason": reason, "detail": detail, "file": file, "line": line, "row": row}


# -- counts -----------------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """Counts of one split. ``read`` counts what came in; each row is then kept or rejected, never neither."""

    read: int = 0
    kept: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def rejected(self) -> int:
        """How many rows were rejected, for all reasons together."""
        return self.reasons.total()

    def as_json(self) -> dict[str, Any]:
        """The counts as a summary holds them. Raises AssertionError when a row was lost."""
        lost = self.read - self.kept - self.rejected
        if lost:
            raise AssertionError(f"{self.read} rows in, {self.kept} kept, {self.rejected} rejected: {lost} lost")
        reasons = dict(sorted(self.reasons.items()))
        return {"in": self.read, "kept": self.kept, "rejected": self.rejected, "reasons": reasons}


def write_summary(path: str | os.PathLike[str], step: str, splits: dict[str, Tally], **extra: Any) -> Row:
    """Write a step's summary: totals, the counts of each split, and ``extra``. Returns what was written."""
    total = Tally()
    for tally in splits.values():
        total.read += tally.read
        total.kept += tally.kept
        total.reasons.update(tally.reasons)
    by_split = {name: tally.as_json() for name, tally in splits.items()}
    summary = {"step": step, **total.as_json(), "splits": by_split, **extra}
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(strict_json.dumps(summary, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return summary
