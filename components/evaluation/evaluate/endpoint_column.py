"""The teacher's column where it was asked over an endpoint: its rows, as teacher_inference wrote them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from answers import Answer, Measured, latency_facts
from common.rows import Row


def endpoint_answers(rows: Sequence[Row], answered: Mapping[str, Row]) -> Measured:
    """The answers to ``rows``; a row without one is missing. Times are the endpoint's, network included."""
    answers = [_answer(answered.get(row["id"])) for row in rows]
    in_order = [answered[row["id"]] for row in rows if row["id"] in answered]
    times = [1000 * row["latency"] for row in in_order if isinstance(row.get("latency"), int | float)]
    teachers = sorted({str(row["teacher"]) for row in in_order if row.get("teacher")})
    facts = {
        "model": ", ".join(teachers) or None,
        "source": "endpoint",
        **latency_facts(times),
        "throughput": None,
        "tokens_per_second": None,
        "weights_bytes": None,
        "parameters": None,
        "weights_sha256": None,
        "dtype": None,
        "device": None,
        "max_new_tokens": None,
        "batch_size": None,
        "timing_group": None,
    }
    return Measured(answers, facts)


def _answer(row: Row | None) -> Answer:
    if row is None or not isinstance(row.get("response"), str):
        return Answer("", "missing", 0)
    tokens = (row.get("usage") or {}).get("completion_tokens") or 0
    return Answer(row["response"], row.get("finish_reason") or "stop", int(tokens))
