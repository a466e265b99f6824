"""The first rows of training data on this machine, for a look. What is wrong with them is for prepare_data to say."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Records = Iterator[dict[str, Any]]
_GAP = re.compile(r"[\s,]*")


class Unreadable(Exception):
    """Nobody here can tell what the data holds; ``str()`` says why."""


def records(path: Path, table: dict[str, Any]) -> Records:
    """The objects in the training data at ``path``, a file or a dataset folder; others are passed over.

    ``table``: which names of files say the split, and which endings a file may have. Raises Unreadable.
    """
    try:
        for file in _training_files(path, table) if path.is_dir() else [path]:
            yield from _READERS[_form_of(file)](file)
    except (OSError, ValueError, csv.Error) as error:
        raise Unreadable(f"it cannot be read ({error})") from None


def _training_files(folder: Path, table: dict[str, Any]) -> list[Path]:
    """The files of a dataset folder that hold training rows, as prepare_data groups them."""
    splits: dict[str, list[str]] = table["splits"]
    saved = folder / "dataset_dict.json"
    if saved.exists():
        names = [str(name) for name in json.loads(saved.read_text(encoding="utf-8")).get("splits", [])]
        folders = [folder / name for name in names if _split_of(Path(name), splits) == "training_data"]
    else:
        folders = [folder] if (folder / "state.json").exists() else []
    if folders:
        return [path for one in folders for path in sorted(one.glob("*.arrow"))]
    files = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in table["suffixes"] and path.is_file()]
    files = [path for path in files if path.name not in table["descriptions"]]
    shown = [path for path in files if not any(part[0] in "._" for part in path.relative_to(folder).parts)]
    return [path for path in shown if _split_of(path.relative_to(folder), splits) in (None, "training_data")]


def _split_of(path: Path, splits: dict[str, list[str]]) -> str | None:
    for part in (path.name, *reversed(path.parts[:-1])):
        words = re.split(r"[-_.]", part.lower())
        for split, names in splits.items():
            if any(name in words for name in names):
                return split
    return None


def _form_of(path: Path) -> str:
    if path.suffix.lower() in _READERS:
        return path.suffix.lower()
    with path.open("rb") as file:
        head = file.read(4096).lstrip()
    return ".parquet" if head.startswith(b"PAR1") else ".json"


def _lines(path: Path) -> Records:
    with path.open("rb") as file:
        for line in file:
            try:
                value = json.loads(line.decode("utf-8-sig"))
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                yield value


def _list(path: Path) -> Records:
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    if not text.lstrip().startswith("["):
        yield from _lines(path)
        return
    decoder, position = json.JSONDecoder(), text.index("[") + 1
    while True:
        gap = _GAP.match(text, position)
        try:
            value, position = decoder.raw_decode(text, gap.end() if gap else position)
        except (ValueError, RecursionError):
            return
        if isinstance(value, dict):
            yield value


def _table(path: Path) -> Records:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        yield from csv.DictReader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")


def _parquet(path: Path) -> Records:
    try:
        import pyarrow.parquet
    except ImportError:
        raise Unreadable("pyarrow, which reads Parquet, is not installed here") from None
    for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=256):
        yield from batch.to_pylist()


def _arrow(path: Path) -> Records:
    try:
        import pyarrow.ipc
    except ImportError:
        raise Unreadable("pyarrow, which reads saved datasets, is not installed here") from None
    with path.open("rb") as file, pyarrow.ipc.open_stream(file) as stream:
        for batch in stream:
            for start in range(0, batch.num_rows, 256):
                yield from batch.slice(start, 256).to_pylist()


_READERS: dict[str, Callable[[Path], Records]] = {
    ".jsonl": _lines,
    ".json": _list,
    ".csv": _table,
    ".tsv": _table,
    ".parquet": _parquet,
    ".arrow": _arrow,
}
