"""What a column is before it is scored: an answer per row, and facts about how they came about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Answer:
    """One response. ``finish_reason``: stop, length; without a response: missing, chat_template, prompt_too_long."""

    response: str
    finish_reason: str
    tokens: int

    @property
    def generated(self) -> bool:
        """Whether a model was run for it."""
        return self.finish_reason in ("stop", "length")


@dataclass(slots=True)
class Measured:
    """The answers of a column in the order of the test rows, and what was measured on the way."""

    answers: list[Answer]
    facts: dict[str, Any] = field(default_factory=dict)


def latency_facts(milliseconds: Sequence[float], seed: int = 0) -> dict[str, Any]:
    """Median and 95th percentile, with the median's 95% interval (percentile bootstrap, 1000 resamples)."""
    if not len(milliseconds):
        return {"latency_ms_p50": None, "latency_ms_p95": None, "latency_rows": 0, "ci": {}}
    times = np.asarray(milliseconds)
    draws = np.random.default_rng(seed).integers(0, len(times), (1000, len(times)))
    low, high = np.percentile(np.median(times[draws], axis=1), [2.5, 97.5])
    return {
        "latency_ms_p50": float(np.median(times)),
        "latency_ms_p95": float(np.percentile(times, 95)),
        "latency_rows": len(times),
        "ci": {"latency_ms_p50": [float(low), float(high)]},
    }
