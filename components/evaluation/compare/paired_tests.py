"""Whether two models differ on the same rows, by more than the choice of rows explains."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import Any

import numpy as np

RESAMPLES = 10_000


def mcnemar(first: Sequence[float], second: Sequence[float]) -> float:
    """Exact two-sided p-value for paired 0/1 outcomes (McNemar, 1947; binomial form).

    Only rows on which the two differ count: under the null hypothesis each of them favours either side with
    probability 1/2.
    """
    only_first = sum(a > b for a, b in zip(first, second, strict=True))
    only_second = sum(b > a for a, b in zip(first, second, strict=True))
    total, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(comb(total, count) for count in range(fewer + 1))
    return min(1.0, 2 * tail / 2**total)


def bootstrap_p(first: Sequence[float], second: Sequence[float], seed: int = 0) -> float:
    """Two-sided p-value of a paired bootstrap test: how often a resample of the centred differences is as far from 0.

    Efron and Tibshirani, "An introduction to the bootstrap", 1993, section 16.4; one is added to both counts, so that
    the smallest p-value is 1 / (resamples + 1).
    """
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    observed = abs(differences.mean())
    if not differences.any():
        return 1.0
    means = _resampled_means(differences - differences.mean(), seed)
    return float((1 + np.sum(np.abs(means) >= observed - 1e-12)) / (RESAMPLES + 1))


def difference_ci(first: Sequence[float], second: Sequence[float], seed: int = 0) -> list[float]:
    """95% interval of the mean difference ``first - second``: percentiles over paired resamples."""
    differences = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    low, high = np.percentile(_resampled_means(differences, seed), [2.5, 97.5])
    return [float(low), float(high)]


def ratio_ci(first: Sequence[float], second: Sequence[float], seed: int = 0) -> list[float] | None:
    """95% interval of ``mean(first) / mean(second)`` over paired resamples; None where the divisor can be 0."""
    top, bottom = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    pairs = np.stack([top, bottom], axis=1)
    means = _resampled_means(pairs, seed)
    if np.any(means[:, 1] <= 0):
        return None
    low, high = np.percentile(means[:, 0] / means[:, 1], [2.5, 97.5])
    return [float(low), float(high)]


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number, in the given order (Holm, 1979)."""
    adjusted, highest = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def _resampled_means(values: Any, seed: int) -> Any:
    """Means of resamples of the rows, in blocks that fit into memory."""
    generator, rows = np.random.default_rng(seed), len(values)
    block = max(1, min(RESAMPLES, 4_000_000 // rows))
    means = []
    for start in range(0, RESAMPLES, block):
        draws = generator.integers(0, rows, (min(block, RESAMPLES - start), rows))
        means.append(values[draws].mean(axis=1))
    return np.concatenate(means)
