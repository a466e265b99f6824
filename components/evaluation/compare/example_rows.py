"""Which test rows a report shows: those that tell most about where the distilled student stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from comparison import COLUMNS, Column

MOST = 8
#: Characters of a text that a report shows.
LENGTH = 1500


@dataclass(frozen=True, slots=True)
class Cell:
    """What one column answered."""

    name: str
    response: str
    answer: str
    correct: bool | None
    score: float | None


@dataclass(frozen=True, slots=True)
class Shown:
    """One test row with all answers to it."""

    row_id: str
    prompt: str
    reference: str | None
    cells: tuple[Cell, ...]


def lost(columns: dict[str, Column], metric: str) -> list[Shown]:
    """Rows where the distilled student falls furthest behind the teacher (or, without one, behind the gold answer)."""
    return _ranked(columns, metric, "distilled", "teacher")


def gained(columns: dict[str, Column], metric: str) -> list[Shown]:
    """Rows where the distilled student is furthest ahead of the baseline."""
    return _ranked(columns, metric, "baseline", "distilled", needs_better=True)[: MOST // 2]


def _ranked(
    columns: dict[str, Column], metric: str, worse: str, better: str, *, needs_better: bool = False
) -> list[Shown]:
    if worse not in columns or (needs_better and better not in columns):
        return []
    low = columns[worse].per_row(metric)
    high = columns[better].per_row(metric) if better in columns else dict.fromkeys(low, 1.0)
    gaps = {key: high[key] - low[key] for key in low if key in high and high[key] > low[key]}
    # By the size of the gap, then by id: ids are hashes, so that the choice among equals is arbitrary but the same.
    chosen = sorted(gaps, key=lambda key: (-gaps[key], key))[:MOST]
    return [_shown(columns, key, metric) for key in chosen]


def _shown(columns: dict[str, Column], key: str, metric: str) -> Shown:
    row = next(iter(columns.values())).predictions[key]
    reference = row.get("reference")
    cells = [_cell(columns[name], key, metric) for name in COLUMNS if name in columns]
    prompt, gold = cut(str(row.get("prompt") or "")), None if reference is None else cut(str(reference))
    return Shown(key, prompt, gold, tuple(cells))


def _cell(column: Column, key: str, metric: str) -> Cell:
    row: dict[str, Any] = column.predictions[key]
    score = row.get(metric) if metric != "accuracy" else None
    return Cell(
        column.name, cut(str(row.get("response") or "")), cut(str(row.get("answer") or "")), row.get("correct"), score
    )


def cut(text: str) -> str:
    """A text at the length a report shows."""
    return text if len(text) <= LENGTH else text[:LENGTH] + " \u2026"
