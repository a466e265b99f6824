"""Reading files of any supported form as records: JSONL, JSON lists, CSV, TSV, Parquet, Hugging Face dataset folders.

A record is a line number (in a Parquet file: the row's number, from 1) and either an object or the BadRow that stands
in its place. A file that cannot be read at all raises NoInput or BadData.
"""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from cells import WrittenNumber
from columns import TABLE
from common.rows import BadRow, check_text, json_limit, open_input, parse_line, read_lines, unique_keys
from common.step import BadConfig, BadData, NoInput, say

Record = tuple[int, dict[str, Any] | BadRow]
_SPLITS: dict[str, list[str]] = TABLE["splits"]
_SUFFIXES: tuple[str, ...] = tuple(TABLE["suffixes"])
#: How many files that are not used are named.
_NAMED = 20


def records(path: Path) -> Iterator[Record]:
    """The records of a file, in its order. The form is told by the file's name, or else by its first bytes."""
    if path.is_dir():
        raise NoInput(f"{path} is a folder; give one file here, or the folder as 'dataset'")
    form = path.suffix.lower() if path.suffix.lower() in _SUFFIXES else _form_of(path)
    return _FORMS[form](path)


def dataset_records(folder: Path) -> dict[str, Iterator[tuple[str, Record]]]:
    """The records of each split of a dataset folder, each with the name of its file.

    The folder was written by ``datasets`` (``save_to_disk``), or holds files whose names, or whose folders' names,
    say the split: ``train.jsonl``, ``data/test-00000-of-00001.parquet``, ``validation/part-1.csv``.
    """
    if not folder.is_dir():
        raise NoInput(f"{folder} is not a folder")
    if (folder / "dataset_dict.json").exists() or (folder / "state.json").exists():
        return _saved_dataset(folder)
    visible = sorted(path for path in folder.rglob("*") if _is_shown(path, folder))
    files = [path for path in visible if path.suffix.lower() in _SUFFIXES and path.name not in TABLE["descriptions"]]
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(_split_of(path.relative_to(folder)) or "training_data", []).append(path)
    if not groups:
        raise NoInput(f"{folder} holds no dataset: neither one saved by `datasets` nor any {', '.join(_SUFFIXES)} file")
    if ignored := [str(path.relative_to(folder)) for path in sorted({*visible} - {*files})]:
        unnamed = f", and {len(ignored) - _NAMED} more" if len(ignored) > _NAMED else ""
        say(f"{folder}: files not used: {', '.join(ignored[:_NAMED])}{unnamed}")
    return {split: _chained(paths) for split, paths in groups.items()}


def _chained(paths: list[Path]) -> Iterator[tuple[str, Record]]:
    for path in paths:
        for record in records(path):
            yield str(path), record


def _is_shown(path: Path, folder: Path) -> bool:
    relative = path.relative_to(folder)
    return path.is_file() and not any(part.startswith((".", "_")) for part in relative.parts)


def _split_of(path: Path) -> str | None:
    for part in (path.name, *reversed(path.parts[:-1])):
        words = re.split(r"[-_.]", part.lower())
        for split, names in _SPLITS.items():
            if any(name in words for name in names):
                return split
    return None


def _saved_dataset(folder: Path) -> dict[str, Iterator[tuple[str, Record]]]:
    from datasets import DatasetDict, load_from_disk

    try:
        loaded = load_from_disk(str(folder))
    except (OSError, ValueError) as error:
        raise BadData(f"{folder} is not a dataset that `datasets` can load: {error}") from None
    splits = loaded if isinstance(loaded, DatasetDict) else {"train": loaded}
    tables: dict[str, list[Iterator[tuple[str, Record]]]] = {}
    unknown = []
    for name, data in splits.items():
        if split := _split_of(Path(str(name))):
            tables.setdefault(split, []).append(_saved_split(folder / str(name), data))
        else:
            unknown.append(str(name))
    if not tables:
        raise BadConfig(f"{folder} has the splits {', '.join(map(str, splits))}; none is train, validation or test")
    if unknown:
        say(f"{folder}: splits not used: {', '.join(unknown)} (none of them is named train, validation or test)")
    return {split: chain.from_iterable(parts) for split, parts in tables.items()}


def _saved_split(path: Path, data: Any) -> Iterator[tuple[str, Record]]:
    for number, row in enumerate(data, 1):
        yield str(path), (number, _as_text(dict(row)))


def _form_of(path: Path) -> str:
    with open_input(path) as file:
        head = file.read(4096).lstrip()
    if head.startswith(b"PAR1"):
        return ".parquet"
    if head.startswith(b"["):
        return ".json"
    if head.startswith(b"{") or not head:
        return ".jsonl"
    raise BadData(
        f"{path}: cannot tell what this file holds; name it {', '.join('*' + suffix for suffix in _SUFFIXES)}"
    )


def _jsonl(path: Path) -> Iterator[Record]:
    for number, line in read_lines(path):
        try:
            yield number, parse_line(line, WrittenNumber)
        except BadRow as bad:
            yield number, bad


def _json_list(path: Path) -> Iterator[Record]:
    """The objects of a JSON list, each with the line it begins on. A file named .json may also hold JSONL."""
    with open_input(path) as file:
        raw: bytes = file.read()
    if not raw.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        yield from _jsonl(path)
        return
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadData(f"{path}:{line}: byte {error.start + 1} of the file is not UTF-8") from None
    yield from _elements(text)


_GAP = re.compile(r"[\s,]*")


def _elements(text: str) -> Iterator[Record]:
    decoder, plain = json.JSONDecoder(object_pairs_hook=unique_keys, parse_float=WrittenNumber), json.JSONDecoder()
    position, line, counted = text.index("[") + 1, 1, 0
    while True:
        gap = _GAP.match(text, position)
        position = gap.end() if gap else position
        line, counted = line + text.count("\n", counted, position), position
        if text[position : position + 1] == "]":
            return
        try:
            value, end = decoder.raw_decode(text, position)
        except BadRow as bad:
            yield line, bad
            position = plain.raw_decode(text, position)[1]
            continue
        except (ValueError, RecursionError) as error:
            message = error.msg if isinstance(error, json.JSONDecodeError) else json_limit(error)
            at_end = getattr(error, "pos", 0) >= len(text.rstrip()) or "Unterminated" in message
            reason = "truncated_json" if at_end else "json"
            # What follows cannot be told apart any more.
            yield line, BadRow(reason, f"{message}; the rest of the list cannot be read")
            return
        yield line, _checked(text[position:end], value)
        position = end


def _checked(text: str, value: Any) -> dict[str, Any] | BadRow:
    try:
        check_text(text, value)
    except BadRow as bad:
        return bad
    return value if isinstance(value, dict) else BadRow("schema", "the list holds something that is not an object")


def _csv(path: Path) -> Iterator[Record]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with open_input(path) as raw:
        text = io.TextIOWrapper(raw, encoding="utf-8-sig", errors="surrogateescape", newline="")
        reader = csv.DictReader(text, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
        checked = False
        while True:
            try:
                values = next(reader, None)
            except csv.Error as error:
                yield reader.line_num, BadRow("csv", f"{error}; the rest of the file cannot be read")
                return
            if values is None:
                return
            if not checked:
                _refuse_twins(list(reader.fieldnames or ()), path)
            checked = True
            # The line on which the row ends: fields may hold line breaks.
            yield reader.line_num, _csv_row(values)


def _csv_row(values: dict[Any, Any]) -> dict[str, Any] | BadRow:
    if None in values:
        return BadRow("schema", f"the line has {len(values[None])} fields more than the header")
    if missing := [name for name, value in values.items() if value is None]:
        return BadRow("schema", f"the line ends before the column '{missing[0]}'")
    joined = "".join(values.values())
    if re.search("[\udc80-\udcff]", joined):
        return BadRow("invalid_utf8", "the line is not UTF-8")
    return BadRow("characters", "the row holds a NUL character") if "\x00" in joined else values


def _refuse_twins(names: list[str], path: Path) -> None:
    """Raises BadData where two columns have one name."""
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BadData(f"{path}: the header names the column '{twice}' twice; one of them would be lost")


def _as_text(record: dict[str, Any]) -> dict[str, Any]:
    """``record`` with its bytes as the text that they are: many writers of Parquet do not mark texts as such.

    Bytes that are no text stay bytes: a picture in a column that nobody reads is no fault of its row.
    """
    return {name: _decoded(value) for name, value in record.items()}


def _decoded(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return {name: _decoded(item) for name, item in value.items()} if isinstance(value, dict) else value


def _parquet(path: Path) -> Iterator[Record]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        _refuse_twins(file.schema_arrow.names, path)
        number = 0
        for batch in file.iter_batches(batch_size=1024):
            for value in batch.to_pylist():
                number += 1
                yield number, _as_text(value)
    except FileNotFoundError:
        raise NoInput(f"cannot open {path}: no such file") from None
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise BadData(f"{path} is not a Parquet file that can be read: {str(error).splitlines()[0]}") from None


_FORMS = {".jsonl": _jsonl, ".json": _json_list, ".csv": _csv, ".tsv": _csv, ".parquet": _parquet}
