"""Rows of the world's tasks, and how they are divided into splits that share no combination."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from random import Random
from typing import Any, NamedTuple

SPLITS = ("train", "validation", "test")


class Example(NamedTuple):
    """One drawn example: what is said, the gold answer, and the combination that decides its split.

    `combination` names what would have to be memorised to answer without understanding (the numbers and operations of
    a word problem, the facts of a premise). Wording, names and order are not part of it.
    """

    turns: tuple[str, ...]
    gold: str
    combination: tuple[object, ...]
    system: str | None = None


Draw = Callable[[Random], Example]


def split_of(combination: tuple[object, ...]) -> str:
    """Eight combinations in ten are for training, one for validation, one for test, by hash: always the same ones."""
    bucket = hashlib.sha256(repr(combination).encode()).digest()[0] * 10 // 256
    return {0: "test", 1: "validation"}.get(bucket, "train")


def rows(draw: Draw, task: str, split: str, count: int, seed: int) -> list[dict[str, Any]]:
    """`count` different rows of a split in the chat format, the gold answer as last turn.

    Raises ValueError when the task has not that many different rows.
    """
    random, found, tries = Random(f"{task}/{split}/{seed}"), {}, 0
    while len(found) < count:
        tries += 1
        if tries > 100 * count + 1000:
            raise ValueError(f"{task}: found only {len(found)} different {split} rows, {count} were asked for")
        example = draw(random)
        if split_of((task, *example.combination)) == split:
            found.setdefault(example.turns, example)
    return [chat_row(example) for example in found.values()]


def chat_row(example: Example) -> dict[str, Any]:
    """The example as a line of a training file: `messages` that end in the gold answer."""
    messages = [{"role": "system", "content": example.system}] if example.system else []
    for position, text in enumerate((*example.turns, example.gold)):
        messages.append({"role": ("user", "assistant")[position % 2], "content": text})
    return {"messages": messages}
