"""Bring data into rows: read, check, deduplicate, split. What cannot be used goes to the rejects with its line."""

from __future__ import annotations

import argparse
import filecmp
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cells import Cells
from columns import Columns, choose_columns, to_row
from common import arguments, tracking
from common.rows import BadRow, Row, RowWriter, Tally, parse_line, prompt_digest, read_lines, reject, write_summary
from common.step import BadConfig, BadData, NoInput, run_step, say
from common.tasks import Task, get_task
from readers import Record, dataset_records, records
from splits import SPLITS, HashSplit, Seen, lowest

#: Reasons that are a decision of this step; every other one is a defect of the data.
CLEANED = ("duplicate", "leak", "limit")
#: How many bad rows are printed; all of them are in the rejects.
SHOWN = 20
# Test rows are read first, so that a row in two files stays with the test.
_ORDER = {"test_data": "test", "validation_data": "validation", "training_data": "train"}


def main() -> None:
    """Run the step."""
    args = arguments.of(__file__)
    if args.validation_fraction + args.test_fraction >= 1:
        raise BadConfig("validation_fraction and test_fraction are below 1 together and leave something for training")
    sources = open_sources(args)
    with Preparation(args, sources) as preparation:
        for source, split in _ORDER.items():
            if source in sources:
                preparation.take(source, split, sources[source])
        preparation.limit("train", args.max_training_rows)
        preparation.limit("test", args.max_test_rows)
    preparation.finish()


def open_sources(args: argparse.Namespace) -> dict[str, Iterator[tuple[str, Record]]]:
    """The records of each source: of the dataset folder, then of the single files, which take precedence."""
    files = {name: getattr(args, name) for name in _ORDER if getattr(args, name)}
    if args.dataset and "training_data" in files:
        raise BadConfig("give either 'training_data' or 'dataset', not both")
    if not args.dataset and not files:
        raise BadConfig("there is nothing to read: give 'training_data', 'dataset' or 'test_data'")
    for path in files.values():
        if not path.exists():
            raise NoInput(f"cannot open {path}: no such file")
    if _same(files.get("validation_data"), files.get("training_data")):
        # Every row of it would be a leak, and no training row would be left.
        say("warning: 'validation_data' is the same file as 'training_data'; a share of its rows is taken instead")
        del files["validation_data"]
    sources = dataset_records(args.dataset) if args.dataset else {}
    for name in sources.keys() & files.keys():
        say(f"{args.dataset}: its own {_ORDER[name]} rows are not used: '{name}' is given")
    return {**sources, **{name: _named(path) for name, path in files.items()}}


def _same(first: Path | None, second: Path | None) -> bool:
    return bool(first and second and filecmp.cmp(first, second, shallow=False))


def _named(path: Path) -> Iterator[tuple[str, Record]]:
    for record in records(path):
        yield str(path), record


class Preparation:
    """The state of one run: what was seen, what was counted, and the files that are written."""

    def __init__(self, args: argparse.Namespace, sources: dict[str, Any]) -> None:
        self.args = args
        self.task: Task = get_task(args.task_type)
        self.system = _read_system(args.system_prompt)
        # A split that has a source of its own takes no share of the training rows.
        self.by_hash = HashSplit(
            0.0 if "validation_data" in sources else args.validation_fraction,
            0.0 if "test_data" in sources else args.test_fraction,
            args.seed,
        )
        self.seen = Seen()
        self.tallies = {name: Tally() for name in _ORDER if name in sources}
        self.bad: list[str] = []
        self.bad_count = 0
        self.unused: dict[str, Counter[str]] = {}
        self.out = {name: RowWriter(getattr(args, name)) for name in SPLITS}
        self.rejects = RowWriter(args.rejects)

    def __enter__(self) -> Preparation:
        for writer in (*self.out.values(), self.rejects):
            writer.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        for writer in (*self.out.values(), self.rejects):
            writer.__exit__(*details)

    def take(self, source: str, split: str, records: Iterator[tuple[str, Record]]) -> None:
        """Read one source to its end."""
        tally = self.tallies[source]
        columns: Columns | None = None
        file, files = "", set[str]()
        unused = self.unused[source] = Counter[str]()
        for file, (line, value) in records:
            tally.read += 1
            files.add(file)
            if isinstance(value, BadRow):
                self._refuse(tally, value, file, line, value.raw)
                continue
            columns = columns or choose_columns(value, self.args.prompt_column, self.args.reference_column, file)
            cells = Cells(value)
            try:
                row = to_row(cells, columns, self.task, self.system)
            except BadRow as bad:
                self._refuse(tally, bad, file, line, value)
                continue
            unused.update(cells.unused())
            self._place(tally, row, split, file, line)
        if not tally.read:
            raise BadData(
                f"{file or getattr(self.args, source) or self.args.dataset}: there are no rows in it ({source})"
            )
        if unused:
            where = min(files) + (f" and {len(files) - 1} more" if len(files) > 1 else "")
            say(f"{where}: columns not used: {_columns(unused)}")

    def _place(self, tally: Tally, row: Row, split: str, file: str, line: int) -> None:
        digest = prompt_digest(row["messages"])
        target = self.by_hash.split(digest) if split == "train" else split
        if earlier := self.seen.add(digest, target, line):
            self._refuse(tally, BadRow(*earlier), file, line, row)
            return
        tally.kept += 1
        self.out[target].write(row)

    def _refuse(self, tally: Tally, bad: BadRow, file: str, line: int, row: Any) -> None:
        tally.reasons[bad.reason] += 1
        self.rejects.write(reject(bad.reason, bad.detail, file=file, line=line, row=row))
        if bad.reason not in CLEANED:
            self.bad_count += 1
            if len(self.bad) < SHOWN:
                self.bad.append(f"{file}:{line}: {bad.reason}: {bad.detail}")

    def limit(self, split: str, count: int | None) -> None:
        """Keep ``count`` rows of a split, chosen by their hash; the others are rejected as ``limit``."""
        if count is None or self.out[split].written <= count:
            return
        path: Path = getattr(self.args, split)
        self.out[split].__exit__(None, None, None)
        chosen = lowest((prompt_digest(row["messages"]) for row in _rows(path)), count, self.args.seed)
        source = "training_data" if split == "train" or "test_data" not in self.tallies else "test_data"
        tally = self.tallies[source]
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(shutil.copy(path, Path(folder) / "rows.jsonl"))
            self.out[split] = RowWriter(path).__enter__()
            for row in _rows(copy):
                if prompt_digest(row["messages"]) in chosen:
                    self.out[split].write(row)
                else:
                    tally.kept -= 1
                    self._refuse(tally, BadRow("limit", f"more than {count} rows"), str(path), 0, row)

    def finish(self) -> None:
        """Write the summary, log the counts, and fail where the data is not fit to go on. Raises BadData."""
        rows = {name: writer.written for name, writer in self.out.items()}
        assert sum(rows.values()) == sum(tally.kept for tally in self.tallies.values()), "rows were lost"
        unused = {source: dict(counts) for source, counts in self.unused.items() if counts}
        summary = write_summary(
            self.args.summary, "prepare_data", self.tallies, task=self.task.name, rows=rows, columns_not_used=unused
        )
        tracking.log_metrics({"rows_in": summary["in"], "rows_rejected": summary["rejected"]})
        tracking.log_metrics({f"rows_{name}": count for name, count in rows.items()})
        say(f"{summary['in']} rows in, {summary['kept']} kept ({_counts(rows)}), {summary['rejected']} rejected")
        if summary["reasons"]:
            say(f"rejected: {_counts(summary['reasons'])}")
        self._judge(rows)

    def _judge(self, rows: dict[str, int]) -> None:
        for line in self.bad:
            say(line)
        if self.bad_count > len(self.bad):
            say(f"... and {self.bad_count - len(self.bad)} more, all in the rejects")
        if self.bad_count and self.args.on_bad_rows == "fail":
            raise BadData(
                f"{self.bad_count} rows cannot be used (all are in {self.args.rejects}). "
                "Fix them, or set on_bad_rows: reject (in a recipe: data.on_bad_rows) to skip them."
            )
        if "training_data" in self.tallies and not rows["train"]:
            leaked = self.tallies["training_data"].reasons["leak"]
            why = f"; {leaked} of them are in the validation or test data as well" if leaked else ""
            raise BadData(f"no training rows are left{why}")
        has_test = "test_data" in self.tallies or self.by_hash.test_fraction > 0
        if has_test and "training_data" in self.tallies and not rows["test"]:
            raise BadData("no test rows are left; give 'test_data', or raise 'test_fraction' (0 goes without a test)")


def _rows(path: Path) -> Iterator[Row]:
    for _, line in read_lines(path):
        yield parse_line(line)


def _read_system(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NoInput(f"cannot read the system prompt {path}: {error}") from None


def _columns(counts: Counter[str]) -> str:
    """Columns with the number of rows that hold something there, in the order they were met."""
    named = []
    for name, count in counts.items():
        printable = name if name.isprintable() and name and ", " not in name else ascii(name)
        named.append(f"{printable} ({_rows_said(count)})")
    unnamed = len(named) - SHOWN
    return ", ".join(named[:SHOWN]) + (f", and {unnamed} more, all in the summary" if unnamed > 0 else "")


def _rows_said(count: int) -> str:
    return "empty" if not count else "1 row" if count == 1 else f"{count} rows"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


if __name__ == "__main__":
    run_step(main)
