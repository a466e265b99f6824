"""From answers to metrics with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from answers import Answer
from common.rows import Row
from common.tasks import Task
from common.text import words
from text_metrics import TEXT_METRICS, RowMetrics, bleu_tokenizer, corpus_bleu, corpus_chrf, macro_f1

RESAMPLES = 1000
#: BLEU counts runs of up to four words: references shorter than that are labels or numbers, not texts.
_TEXT_WORDS = 4
#: Which field of a prediction a metric is made of, where it has another name.
FIELD = {"accuracy": "correct", "macro_f1": "correct"}


class Scorer:
    """Scores columns on the same rows. ``teacher``: the teacher's answers, to measure agreement with."""

    def __init__(self, task: Task, rows: Sequence[Row], teacher: Sequence[Answer] | None, seed: int) -> None:
        self._task, self._rows, self._teacher, self._seed = task, rows, teacher, seed
        # By the references, which all models share: their own answers must not choose how they are scored.
        tokenizer = bleu_tokenizer(str(row["reference"]) for row in rows if row.get("reference") is not None)
        self._metrics = RowMetrics(task, self._names(), tokenizer)

    def _names(self) -> tuple[str, ...]:
        texts = any(len(words(str(row.get("reference") or ""))) >= _TEXT_WORDS for row in self._rows)
        # Where no answer is right or wrong, the share that equals the reference is what comes nearest.
        equal = () if "accuracy" in self._task.metrics else ("exact_match",)
        return tuple(dict.fromkeys([*self._task.metrics, *(TEXT_METRICS if texts else ()), *equal]))

    def score(self, answers: Sequence[Answer]) -> tuple[list[Row], dict[str, Any]]:
        """The predictions (one per test row) and the metrics of a column."""
        peers = self._teacher if self._teacher is not None and answers is not self._teacher else [None] * len(answers)
        predictions = [
            self._prediction(row, answer, peer) for row, answer, peer in zip(self._rows, answers, peers, strict=True)
        ]
        scored = [prediction for prediction in predictions if prediction["finish_reason"] != "missing"]
        return predictions, {
            "rows": len(scored),
            "missing": len(predictions) - len(scored),
            "cut": sum(prediction["finish_reason"] == "length" for prediction in scored),
            "unverified": sum(bool(prediction.get("unverified")) for prediction in scored),
            "accuracy": None,
            "bleu_tokenizer": self._metrics.bleu_tokenizer if "bleu" in self._metrics.names else None,
            **self._aggregate(scored),
        }

    def _prediction(self, row: Row, answer: Answer, peer: Answer | None) -> Row:
        reference = row.get("reference")
        prediction: Row = {"id": row["id"], "prompt": row["messages"][-1]["content"], "reference": reference}
        prediction |= {"response": answer.response, "answer": self._task.parse(answer.response, row), "correct": None}
        prediction |= {"finish_reason": answer.finish_reason, "tokens": answer.tokens}
        if answer.finish_reason == "missing":
            return prediction
        if reference is not None:
            prediction |= self._metrics.of(row, answer.response, prediction["answer"])
        if peer is not None and peer.finish_reason != "missing":
            prediction["agreement_with_teacher"] = self._metrics.agreement(
                row, prediction["answer"], answer.response, peer.response
            )
        return prediction

    def _aggregate(self, scored: list[Row]) -> dict[str, Any]:
        values: dict[str, Any] = {"ci": {}}
        for name in (*self._metrics.names, "agreement_with_teacher"):
            field = FIELD.get(name, name)
            rows = [row for row in scored if row.get(field) is not None]
            per_row = [float(row[field]) for row in rows]
            if not per_row:
                if name != "agreement_with_teacher":
                    values[name] = None
                continue
            values[name], values["ci"][name] = self._value(name, rows, np.asarray(per_row))
        return values

    def _value(self, name: str, rows: list[Row], per_row: Any) -> tuple[float, list[float]]:
        if name in ("bleu", "chrf"):
            texts, gold = [row["response"] for row in rows], [str(row["reference"]) for row in rows]
            if name == "chrf":
                return corpus_chrf(texts, gold, RESAMPLES)
            return corpus_bleu(texts, gold, RESAMPLES, self._metrics.bleu_tokenizer)
        if name == "macro_f1":
            gold = [self._task.reference(row["reference"]) for row in rows]
            pairs = np.asarray([[str(g), str(row["answer"])] for g, row in zip(gold, rows, strict=True)])
            return bootstrap(lambda draw: macro_f1(pairs[draw]), len(rows), self._seed)
        if set(per_row) <= {0.0, 1.0}:
            return float(per_row.mean()), wilson(int(per_row.sum()), len(rows))
        return bootstrap(lambda draw: float(per_row[draw].mean()), len(rows), self._seed)


def wilson(right: int, rows: int) -> list[float]:
    """95% interval of a share, ``right`` of ``rows``: E. B. Wilson, 1927, "Probable inference".

    Resampling rows that are all right, or all wrong, would leave no interval at all.
    """
    z, share = 1.959964, right / rows
    middle = share + z * z / (2 * rows)
    half = z * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    scale = 1 + z * z / rows
    return [max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)]


def bootstrap(statistic: Callable[[Any], float], rows: int, seed: int) -> tuple[float, list[float]]:
    """A statistic of all rows, and its 95% interval: percentiles over resamples of the rows (Efron, 1979)."""
    draws = np.random.default_rng(seed).integers(0, rows, (RESAMPLES, rows))
    low, high = np.percentile([statistic(draw) for draw in draws], [2.5, 97.5])
    return statistic(np.arange(rows)), [float(low), float(high)]
