"""Metrics of one answer against its reference, and of a corpus.

BLEU is sacrebleu's, ROUGE is rouge-score's (F1, with stemming). All are fractions between 0 and 1, except the
compression ratio and the density of a summary.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from common.rows import Row
from common.tasks import Task
from common.tasks.text import visible

_ARTICLES = re.compile(r"\b(a|an|the)\b")


class RowMetrics:
    """The per-row metrics of a task. ``names`` are those an aggregate is made of."""

    def __init__(self, task: Task, names: Sequence[str]) -> None:
        self._task = task
        extra = ("compression_ratio", "density") if task.name == "summarization" else ()
        self.names = (*names, *extra)

    def of(self, row: Row, response: str, answer: str | None) -> dict[str, Any]:
        """Every metric of one answer; ``correct`` is None for tasks that define no accuracy."""
        reference, text = str(row["reference"]), visible(response)
        correct = self._task.correct(answer, reference)
        values: dict[str, Any] = {"correct": correct}
        if "exact_match" in self.names:
            gold = self._task.reference(reference, row) or reference
            values["exact_match"] = float(normal(answer or "") == normal(gold))
            values["token_f1"] = token_f1(answer or "", gold)
        if "bleu" in self.names:
            values["bleu"] = sentence_bleu(text, reference)
        if "rougeL" in self.names:
            values |= self._rouge(text, reference)
        if "density" in self.names:
            source = row["messages"][-1]["content"]
            values["compression_ratio"] = len(words(source)) / max(1, len(words(text)))
            values["density"] = density(source, text)
        return values

    def agreement(self, row: Row, answer: str | None, response: str, teacher: str) -> float | None:
        """1 or 0: the answer is the teacher's. Tasks that define no accuracy: ROUGE-L with the teacher's response."""
        peer = self._task.parse(teacher, row)
        if peer is None:
            return None
        same = self._task.correct(answer, peer)
        return float(same) if same is not None else self._rouge(visible(response), visible(teacher))["rougeL"]

    def _rouge(self, text: str, reference: str) -> dict[str, float]:
        found = self._scorer.score(reference, text)
        return {name: float(score.fmeasure) for name, score in found.items()}

    @cached_property
    def _scorer(self) -> Any:
        from rouge_score.rouge_scorer import RougeScorer

        return RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)


def words(text: str) -> list[str]:
    """The words of a text."""
    return re.findall(r"\w+", text)


def normal(text: str) -> str:
    """A short answer for comparison, by SQuAD's rules (Rajpurkar et al., 2016): no case, punctuation, articles."""
    text = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(_ARTICLES.sub(" ", text).split())


def token_f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall over words, as SQuAD counts them."""
    ours, gold = normal(answer).split(), normal(reference).split()
    if not ours or not gold:
        return float(ours == gold)
    shared = sum((Counter(ours) & Counter(gold)).values())
    return 2 * shared / (len(ours) + len(gold))


def macro_f1(pairs: Any) -> float:
    """Mean F1 over the labels that occur as gold ones. ``pairs``: rows of (gold, predicted)."""
    gold, given = pairs[:, 0], pairs[:, 1]
    scores = []
    for label in np.unique(gold):
        right = np.sum((gold == label) & (given == label))
        scores.append(2 * right / (np.sum(gold == label) + np.sum(given == label)))
    return float(np.mean(scores))


def sentence_bleu(text: str, reference: str) -> float:
    """BLEU of one text, smoothed, over the orders it has (sacrebleu's effective order)."""
    import sacrebleu

    return float(sacrebleu.sentence_bleu(text, [reference]).score) / 100


def corpus_bleu(texts: Sequence[str], references: Sequence[str], resamples: int) -> tuple[float, list[float]]:
    """BLEU of all texts together, and its 95% interval by sacrebleu's bootstrap."""
    from sacrebleu.metrics import BLEU

    shown = [visible(text) for text in texts]
    found = BLEU().corpus_score(shown, [list(references)], n_bootstrap=resamples)
    value, mean, half = found.score / 100, found._mean / 100, found._ci / 100
    return float(value), [max(0.0, float(mean - half)), min(1.0, float(mean + half))]


def density(source: str, summary: str) -> float:
    """Extractive fragment density: the mean length of the copied run each word of a summary stands in.

    Grusky, Naaman, Artzi, "Newsroom", 2018, equation 3: the sum of squared lengths of the greedily matched fragments
    over the words of the summary. 0 is all own words; high values are long copies.
    """
    text, given = words(source.lower()), words(summary.lower())
    starts: dict[str, list[int]] = {}
    for place, word in enumerate(text):
        starts.setdefault(word, []).append(place)
    total = at = 0
    while at < len(given):
        longest = max((_run(text, start, given, at) for start in starts.get(given[at], ())), default=0)
        total += longest**2
        at += max(1, longest)
    return total / max(1, len(given))


def _run(text: list[str], start: int, given: list[str], at: int) -> int:
    length = 0
    while start + length < len(text) and at + length < len(given) and text[start + length] == given[at + length]:
        length += 1
    return length
