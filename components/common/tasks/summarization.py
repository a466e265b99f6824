"""Summarization: a text shorter than its source, in the response's own words."""

from __future__ import annotations

from common.tasks import Row, Task
from common.text import squash

ALIASES = ("summarisation", "summary")
SAMPLE = {"strategy": "chain_of_density", "max_tokens": 1024, "max_new_tokens": 128}

#: A response that stands in the source word for word and is at least this share of it is no summary.
COPY_SHARE = 0.5


class Summarization(Task):
    metrics = ("rouge1", "rouge2", "rougeL", "bleu", "chrf")
    headline = "rougeL"
    descriptive_metrics = ("compression_ratio", "density")

    def closed(self, row: Row) -> bool:
        return False

    def _rule(self, row: Row, text: str) -> str | None:
        source, summary = squash(row["messages"][-1]["content"]), squash(text)
        return "copy" if summary in source and len(summary) >= COPY_SHARE * len(source) else None


TASK = Summarization()
