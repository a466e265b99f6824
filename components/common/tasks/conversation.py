"""Conversation: the next turn of an assistant."""

from __future__ import annotations

from common.tasks.base import Row, Task
from common.tasks.text import squash


class Conversation(Task):
    name = "conversation"
    aliases = ("chat",)
    metrics = ("bleu", "chrf", "rouge1", "rouge2", "rougeL")
    headline = "rougeL"

    def closed(self, row: Row) -> bool:
        return False

    def _rule(self, row: Row, text: str) -> str | None:
        # A teacher that only repeats what it was asked has not answered.
        return "copy" if squash(text) == squash(row["messages"][-1]["content"]) else None


TASK = Conversation()
