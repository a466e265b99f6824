"""Early termination by the examples of Azure ML's documentation, and at its edges."""

from __future__ import annotations

import math
from typing import Any

import pytest

from azdistill.local.sweep.planned import Policy
from azdistill.local.sweep.stopping import best_of, stops


def policy(kind: str, **more: Any) -> Policy:
    return Policy(**{"kind": kind, "every": 1, "not_before": 1, **more})


def at_the_end(kind: str, maximize: bool, values: dict[int, list[float]], **more: Any) -> list[int]:
    """The trials that end at their last value."""
    return [n for n in values if stops(policy(kind, **more), maximize, values, n, len(values[n]))]


def test_bandit_with_a_factor() -> None:
    """Best 0.8 and a factor of 0.2, more is better: what is below 0.8 / 1.2 ends."""
    assert at_the_end("bandit", True, {1: [0.8], 2: [0.67], 3: [0.66]}, slack_factor=0.2) == [3]


def test_bandit_with_an_amount() -> None:
    assert at_the_end("bandit", True, {1: [0.8], 2: [0.61], 3: [0.59]}, slack_amount=0.2) == [3]


def test_bandit_where_less_is_better() -> None:
    assert at_the_end("bandit", False, {1: [1.0], 2: [1.19], 3: [1.21]}, slack_factor=0.2) == [3]


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize("sign", [1, -1, 0])
def test_bandit_never_ends_the_best(maximize: bool, sign: int) -> None:
    values = {1: [sign * 2.0], 2: [sign * 2.0]}
    assert at_the_end("bandit", maximize, values, slack_factor=0.5) == []


def test_bandit_looks_at_the_best_value_so_far() -> None:
    assert at_the_end("bandit", True, {1: [0.1, 0.8], 2: [0.79, 0.1]}, slack_amount=0.1) == []


def test_median_stopping_compares_with_the_running_averages() -> None:
    """Averages 4, 3 and 2.5: below their median, 3, is only what never reached it."""
    values = {1: [4.0, 4.0], 2: [3.0, 3.0], 3: [2.5, 2.5]}
    assert at_the_end("median_stopping", True, values) == [3]
    assert at_the_end("median_stopping", True, {**values, 3: [1.0, 4.0]}) == []
    assert at_the_end("median_stopping", False, values) == [1]


def test_truncation_ends_the_worst_share_at_an_interval() -> None:
    values = {number: [float(number)] for number in range(1, 11)}
    assert at_the_end("truncation_selection", True, values, percentage=20) == [1, 2]
    assert at_the_end("truncation_selection", False, values, percentage=20) == [9, 10]


def test_truncation_ends_nobody_among_equals_or_too_few() -> None:
    assert at_the_end("truncation_selection", True, {n: [1.0] for n in range(10)}, percentage=50) == []
    assert at_the_end("truncation_selection", True, {1: [1.0], 2: [2.0]}, percentage=20) == []


def test_trials_are_compared_at_the_same_interval_only() -> None:
    values = {1: [1.0, 9.0], 2: [2.0], 3: [0.5]}
    assert not stops(policy("bandit", slack_amount=1), True, values, 2, 1)
    assert stops(policy("bandit", slack_amount=1), True, values, 3, 1)


def test_a_policy_looks_at_every_multiple_of_the_interval_from_the_delay_on() -> None:
    values = {1: [9.0] * 12, 2: [0.0] * 12}
    looked = [n for n in range(1, 13) if stops(policy("bandit", every=3, not_before=5), True, values, 2, n)]
    assert looked == [6, 9, 12]


def test_what_is_no_number_is_the_worst() -> None:
    assert at_the_end("bandit", False, {1: [1.0], 2: [math.nan]}, slack_amount=100) == [2]
    assert best_of([math.nan, 2.0, 3.0], maximize=False) == 2.0
    assert best_of([math.nan], maximize=True) is None
    assert best_of([], maximize=True) is None
