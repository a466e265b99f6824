"""A small world with five tasks, made by rules, with gold answers.

`task_rows(task, split, count, seed)` gives rows in the chat format; `passages(count, seed)` plain text.
"""

from __future__ import annotations

from random import Random
from typing import Any

from . import arithmetic, conversation, nli, prose, qa, summarization
from .rows import SPLITS, Draw, rows, split_of

TASKS: dict[str, Draw] = {
    "nli": nli.draw,
    "conversation": conversation.draw,
    "qa": qa.draw,
    "math": arithmetic.draw,
    "summarization": summarization.draw,
}


def task_rows(task: str, split: str, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """`count` different rows of a split; equal arguments give equal rows."""
    if split not in SPLITS:
        raise ValueError(f"no split {split!r}: one of {', '.join(SPLITS)}")
    return rows(TASKS[task], task, split, count, seed)


def taught_rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """`count` different word problems for the teacher to learn from, none of a validation or test combination."""
    return rows(arithmetic.taught, "math", "train", count, seed)


def passages(count: int, seed: int = 0) -> list[str]:
    """`count` passages of plain text."""
    random = Random(f"prose/{seed}")
    return [prose.passage(random) for _ in range(count)]


__all__ = ["SPLITS", "TASKS", "passages", "split_of", "task_rows", "taught_rows"]
