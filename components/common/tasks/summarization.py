"""Summarization: a text shorter than its source, in the response's own words."""

from __future__ import annotations

from common.tasks.base import Row, Task
from common.tasks.text import squash

#: A response that stands in the source word for word and is at least this share of it is no summary.
COPY_SHARE = 0.5


class Summarization(Task):
    name = "summarization"
    aliases = ("summarisation", "summary")
    metrics = ("rouge1", "rouge2", "rougeL", "bleu", "chrf")
    headline = "rougeL"

    def closed(self, row: Row) -> bool:
        return False

    def _rule(self, row: Row, text: str) -> str | None:
        source, summary = squash(row["messages"][-1]["content"]), squash(text)
        return "copy" if summary in source and len(summary) >= COPY_SHARE * len(source) else None


TASK = Summarization()
