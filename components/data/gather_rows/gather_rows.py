"""Put answered shards together again: every row once, in its order, and none lost."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from common import arguments, tracking
from common.rows import Row, RowWriter, Tally, read_rows, reject, write_summary
from common.step import NoInput, Unavailable, run_step, say

#: What asking took, to be summed up.
COUNTS = ("requests", "retries", "answered", "reused", "shared", "prompt_tokens", "completion_tokens", "seconds")


def main() -> None:
    """Run the step."""
    args = arguments.of(__file__)
    try:
        index = json.loads(args.index.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NoInput(f"the index of the shards cannot be read: {error}") from None
    tallies = {split: Tally() for split in index["splits"]}
    spent: Counter[str] = Counter()
    given_up: list[str] = []
    with RowWriter(args.train) as train, RowWriter(args.validation) as validation, RowWriter(args.rejects) as rejects:
        out = {"train": train, "validation": validation}
        for shard in index["shards"]:
            tally = tallies[shard["split"]]
            tally.read += shard["rows"]
            rows, refused, counts = outcome(args, shard)
            spent.update(counts)
            if not counts:
                given_up.append(shard["name"])
            for row in rows:
                out[shard["split"]].write(row)
                tally.kept += 1
            for row in refused:
                rejects.write(row)
                tally.reasons[row["reason"]] += 1
    finish(args, tallies, {name: spent[name] for name in COUNTS})
    if given_up:
        # As where one machine asks: rows that nobody was asked for are no success, however many were answered.
        raise Unavailable(
            f"{len(given_up)} of {len(index['shards'])} shards were given up ({', '.join(given_up[:5])}): run the "
            "teacher's step again; the answers so far are kept, it asks for the rest only"
        )


def outcome(args: argparse.Namespace, shard: dict[str, Any]) -> tuple[list[Row], list[Row], dict[str, float]]:
    """Teacher rows and rejects of a shard, and what it took; all its rows as rejects where it was given up."""
    folder = args.results / shard["name"]
    try:
        # Written last: without it the shard is not whole.
        summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        say(f"shard {shard['name']} was not answered: its {shard['rows']} rows are rejected")
        return [], list(_not_asked(args.shards / shard["name"], shard)), {}
    rows, refused = _lines(folder / "train.jsonl"), _lines(folder / "rejects.jsonl")
    if len(rows) + len(refused) != shard["rows"]:
        raise AssertionError(f"shard {shard['name']}: {shard['rows']} rows in, {len(rows)} + {len(refused)} out")
    placed = [{**row, "file": shard["file"], "line": shard["start"] + row["line"]} for row in refused]
    return rows, placed, {name: summary[name] for name in COUNTS}


def _not_asked(path: Path, shard: dict[str, Any]) -> Iterator[Row]:
    for number, row in enumerate(read_rows(path), 1):
        yield reject("not_asked", "its shard was given up", file=shard["file"], line=shard["start"] + number, row=row)


def _lines(path: Path) -> list[Row]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def finish(args: argparse.Namespace, tallies: dict[str, Tally], counts: dict[str, float]) -> None:
    """Summary and metrics, as if one step had asked. Raises Unavailable where too few rows were answered."""
    read, rows = sum(tally.read for tally in tallies.values()), sum(tally.kept for tally in tallies.values())
    ratio = rows / read if read else 0.0
    about = {"teacher": args.teacher_model, "strategy": args.strategy, "success_ratio": ratio}
    write_summary(args.summary, "teacher_inference", tallies, **about, **counts)
    tracking.log_metrics({**counts, "success_ratio": ratio, "rows_kept": rows, "rows_in": read})
    say(f"{read} rows in, {rows} kept, {read - rows} rejected; {counts['requests']} requests")
    if ratio < args.min_success_ratio:
        raise Unavailable(
            f"{ratio:.1%} of the rows were answered, min_success_ratio asks for {args.min_success_ratio:.1%}; "
            "the answers so far are kept, the next run asks for the rest only"
        )


if __name__ == "__main__":
    run_step(main)
