"""Conversation: the next turn of an assistant."""

from __future__ import annotations

from common.tasks import Row, Task
from common.text import squash

ALIASES = ("chat",)
SAMPLE = {"strategy": "direct", "max_tokens": 256, "max_new_tokens": 256}


class Conversation(Task):
    metrics = ("bleu", "chrf", "rouge1", "rouge2", "rougeL")
    headline = "rougeL"

    def closed(self, row: Row) -> bool:
        return False

    def _rule(self, row: Row, text: str) -> str | None:
        # A teacher that only repeats what it was asked has not answered.
        return "copy" if squash(text) == squash(row["messages"][-1]["content"]) else None


TASK = Conversation()
