"""Split rows into shards, each a run of neighbouring rows of one file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from common import arguments, strict_json
from common.rows import read_rows, write_rows
from common.step import BadData, run_step, say


def main() -> None:
    """Run the step."""
    args = arguments.of(__file__)
    files = {"train": args.rows} | ({"validation": args.validation_rows} if args.validation_rows else {})
    rows = {split: list(read_rows(path)) for split, path in files.items()}
    total = sum(map(len, rows.values()))
    if not total:
        raise BadData(f"{args.rows} holds no rows")
    size = math.ceil(total / args.count)
    shards = [shard for split, path in files.items() for shard in split_up(args.shards, split, path, rows[split], size)]
    args.index.write_text(
        strict_json.dumps({"splits": list(files), "shards": shards}, indent=1) + "\n", encoding="utf-8"
    )
    say(f"{total} rows in {len(shards)} shards of at most {size}")


def split_up(folder: Path, split: str, path: Path, rows: list[Any], size: int) -> list[dict[str, Any]]:
    """Write the shards of one file; what the index says of each."""
    paths = []
    for start in range(0, len(rows), size):
        name = f"{split}-{start:09d}.jsonl"
        count = write_rows(folder / name, rows[start : start + size])
        paths.append({"name": name, "split": split, "file": str(path), "start": start, "rows": count})
    return paths


if __name__ == "__main__":
    run_step(main)
