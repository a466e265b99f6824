"""Several files of one form as one file: JSON lines, a JSON list or Parquet. Tables of text become JSON lines."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from common import strict_json
from common.rows import BadRow, unique_keys
from common.step import BadData

Named = tuple[str, bytes]


def join(files: Sequence[Named], out: Path) -> None:
    """Write ``files`` as one. BadData where they are of several forms, or their columns differ."""
    forms = sorted({PurePosixPath(name).suffix.lower() for name, _ in files})
    if len(forms) > 1:
        raise BadData(f"files of several forms cannot be joined: {', '.join(forms)}")
    out.parent.mkdir(parents=True, exist_ok=True)
    if len(files) == 1 and forms[0] not in (".csv", ".tsv"):
        out.write_bytes(files[0][1])
    elif forms == [".parquet"]:
        _join_parquet(files, out)
    else:
        out.write_bytes({".jsonl": _lines, ".json": _lists, ".csv": _tables, ".tsv": _tables}[forms[0]](files))


def _lines(files: Sequence[Named]) -> bytes:
    bare = (content.removeprefix(b"\xef\xbb\xbf") for _, content in files)
    return b"".join(content if content.endswith(b"\n") or not content else content + b"\n" for content in bare)


def _lists(files: Sequence[Named]) -> bytes:
    lists: list[str] = []
    for name, content in files:
        try:
            text = content.decode("utf-8-sig").strip()
            parsed = json.loads(text, object_pairs_hook=unique_keys)
        except (ValueError, RecursionError, BadRow) as error:
            detail = error.detail if isinstance(error, BadRow) else error
            raise BadData(f"{name} cannot be read as JSON: {detail}") from None
        if not isinstance(parsed, list):
            raise BadData(f"{name} holds no list, so it cannot be joined with others")
        # The text as it stands: numbers keep their digits.
        lists += [text[1:-1]] if parsed else []
    return f"[{','.join(lists)}]".encode()


def _tables(files: Sequence[Named]) -> bytes:
    """Each row as a JSON object: a file without a name's ending is not known to be a table."""
    lines: list[str] = []
    columns: list[str] | None = None
    for name, content in files:
        rows = _rows(name, content)
        first = next(rows, None)
        if first is not None and len(set(first)) < len(first):
            twice = next(column for column in first if first.count(column) > 1)
            raise BadData(f"{name}: the header names the column '{twice}' twice; one of them would be lost")
        if columns is not None and first is not None and first != columns:
            raise BadData(f"{name} has other columns than the files before it: {', '.join(first)}")
        columns = first or columns
        lines += [strict_json.dumps(_object(name, columns, row), ensure_ascii=False) for row in rows if row and columns]
    return "".join(f"{line}\n" for line in lines).encode()


def _rows(name: str, content: bytes) -> Iterator[list[str]]:
    delimiter = "\t" if name.lower().endswith(".tsv") else ","
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadData(f"{name} is not UTF-8: {error}") from None
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        yield from reader
    except csv.Error as error:
        raise BadData(f"{name}:{reader.line_num}: {error}; the rest of the file cannot be read") from None


def _object(name: str, columns: list[str] | None, row: list[str]) -> dict[str, str]:
    if columns is None or len(row) != len(columns):
        raise BadData(f"{name}: a row has {len(row)} cells where the header has {len(columns or [])}: {row[:2]}")
    return dict(zip(columns, row, strict=True))


def _join_parquet(files: Sequence[Named], out: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        tables = [pq.read_table(pa.BufferReader(content)) for _, content in files]
        pq.write_table(pa.concat_tables(tables), out)
    except pa.ArrowException as error:
        raise BadData(f"the Parquet files cannot be joined: {error}") from None
