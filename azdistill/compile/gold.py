"""Whether training rows come with gold answers, so that a student trained on those can be compared too."""

from __future__ import annotations

import csv
import json
from itertools import islice
from pathlib import Path
from typing import Any

from azdistill.recipe.read import Reading, is_local

#: Rows looked at.
PEEK = 20


def has_gold(reading: Reading) -> bool:
    """What ``evaluation.gold_sft`` says; for ``auto``, what the first training rows on this machine show."""
    recipe = reading.recipe
    assert recipe is not None
    if recipe.evaluation.gold_sft != "auto":
        return recipe.evaluation.gold_sft == "true"
    if recipe.data.reference_column:
        return True
    name = recipe.data.training_data
    if not isinstance(name, str) or not is_local(name):
        return False
    return any(_carries_answer(row) for row in _first_rows(reading.folder / Path(name).expanduser()))


def _carries_answer(row: Any) -> bool:
    if not isinstance(row, dict):
        return False
    messages = row.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    return bool(row.get("reference")) or (isinstance(last, dict) and last.get("role") == "assistant")


def _first_rows(path: Path) -> list[Any]:
    """Some rows, or none: whether the file is sound is for prepare_data to say, with the line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix == ".csv":
                return list(islice(csv.DictReader(file), PEEK))
            if path.suffix == ".json":
                rows = json.load(file)
                return rows[:PEEK] if isinstance(rows, list) else []
            if path.suffix == ".jsonl":
                return [json.loads(line) for line in islice(file, PEEK) if line.strip()]
    except (OSError, ValueError, csv.Error):
        return []
    return []
