"""Whether training rows come with gold answers, so that a student trained on those can be compared too.

The first rows on this machine are looked at; what is wrong with them is for prepare_data to say. Which columns hold
gold answers is read from the table that prepare_data reads rows by (``row_shapes.toml``).
"""

from __future__ import annotations

import csv
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from azdistill import assets
from azdistill.recipe.models import Data
from azdistill.recipe.read import Reading, is_local

#: Rows looked at before their having no gold answers is believed.
PEEK = 10_000


Records = Iterator[dict[str, Any]]
_GAP = re.compile(r"[\s,]*")


class Unreadable(Exception):
    """Nobody here can tell what the data holds; ``str()`` says why."""


@dataclass(frozen=True)
class Gold:
    """Whether gold answers were seen (None: nobody can tell). ``why``: what was looked at, or why nobody can tell."""

    present: bool | None
    why: str = ""


def has_gold(reading: Reading) -> bool:
    """What ``evaluation.gold_sft`` says; for ``auto``, whether the training rows on this machine show gold answers."""
    recipe = reading.sound
    if recipe.evaluation.gold_sft != "auto":
        return recipe.evaluation.gold_sft == "true"
    return look_for_gold(reading).present is True


def look_for_gold(reading: Reading) -> Gold:
    """Whether the training rows carry gold answers, as far as this machine can tell."""
    recipe = reading.sound
    if recipe.data.reference_column:
        return Gold(True)
    name = recipe.data.training_data or recipe.data.dataset
    if not isinstance(name, str) or not is_local(name):
        return Gold(None, "the training data is not on this machine")
    try:
        return _gold_in(records(reading.folder / Path(name).expanduser(), table()), recipe.data)
    except Unreadable as error:
        return Gold(None, str(error))


@cache
def table() -> dict[str, Any]:
    """The table of shapes that prepare_data reads rows by."""
    path = assets.component("prepare_data").parent / "row_shapes.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _gold_in(rows: Iterator[dict[str, Any]], data: Data) -> Gold:
    """Looks until a gold answer is seen. The first row says which columns count, as in prepare_data."""
    shape, count, doubt = None, 0, None
    for row in islice(rows, PEEK):
        count += 1
        shape = shape or _shape_of(row, data.prompt_column)
        if shape is None:
            return Gold(None, f"its columns are not known ones ({', '.join(map(str, row)) or 'none'})")
        if _carries_answer(row, shape):
            return Gold(True)
        doubt = doubt or _doubt(row, shape)
    if not count:
        return Gold(None, "no row of it could be read")
    if doubt:
        return Gold(None, doubt)
    return Gold(False, f"the first {PEEK:,} training rows" if count == PEEK else "the training rows")


def _shape_of(row: dict[str, Any], prompt_column: str | None) -> dict[str, Any] | None:
    if prompt_column:
        return {"gold": [], "turns": prompt_column} if prompt_column in row else None
    fitting = (shape for shape in table()["shapes"] if all(name in row for name in shape["columns"]))
    return next(fitting, None)


def _doubt(row: dict[str, Any], shape: dict[str, Any]) -> str | None:
    """What may hold a gold answer in a row without one: a turn of a role that is not known, a column not read."""
    who = _last_role(row, shape)
    if who is not None and not (isinstance(who, str) and who in table()["roles"]):
        return f"the role {who!r} in its turns is not a known one"
    names = {name for layout in table()["shapes"] for name in layout["gold"]} | set(table()["answers"])
    read = {*shape["gold"], *shape.get("columns", ()), *shape.get("context", ()), shape.get("turns")}
    column = next((name for name in row if name in names - read and _holds_something(row[name])), None)
    return f"its column '{column}' is not read as one (data.reference_column names the one that is)" if column else None


def _carries_answer(row: dict[str, Any], shape: dict[str, Any]) -> bool:
    if any(_holds_something(row.get(name)) for name in shape["gold"]):
        return True
    who = _last_role(row, shape)
    return isinstance(who, str) and table()["roles"].get(who) == "assistant"


def _last_role(row: dict[str, Any], shape: dict[str, Any]) -> Any:
    """Who says the last turn of a row's conversation; None where it has none."""
    turns = row.get(shape.get("turns", ""))
    if isinstance(turns, str) and turns.lstrip().startswith("["):
        # A CSV holds the list as text.
        try:
            turns = json.loads(turns)
        except (ValueError, RecursionError):
            return None
    last = turns[-1] if isinstance(turns, list) and turns else None
    return last.get("from", last.get("role")) if isinstance(last, dict) else None


def _holds_something(value: Any) -> bool:
    # What tables write where there is nothing: null, NaN, blanks, an empty list.
    return value is not None and value == value and value not in ([], {}) and bool(str(value).strip())


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
    visible = [path for path in files if not any(part[0] in "._" for part in path.relative_to(folder).parts)]
    return [path for path in visible if _split_of(path.relative_to(folder), splits) in (None, "training_data")]


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
