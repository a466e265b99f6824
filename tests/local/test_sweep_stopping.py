"""Early termination by the examples of Azure ML's documentation, and at its edges."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import fmean, median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azdistill.local.plan.steps import Policy
from azdistill.local.sweep.stopping import Reports, Stopping, best_of


def policy(kind: str, **more: Any) -> Policy:
    return Policy(**{"kind": kind, "every": 1, "not_before": 1, **more})


def stops(policy: Policy, maximize: bool, reports: Reports, trial: int, interval: int) -> bool:
    return Stopping(policy, maximize).stops(reports, trial, interval)


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


def plainly(policy: Policy, maximize: bool, reports: Reports, trial: int, interval: int) -> bool:
    """The policies by their definition, from all values at each report."""
    whole = {n: values[:interval] for n, values in reports.items() if len(values) >= interval}
    known = {n: [-math.inf if math.isnan(v) else v if maximize else -v for v in vs] for n, vs in whole.items()}
    if policy.kind == "median_stopping":
        return max(known[trial]) < median(map(fmean, known.values()))
    if policy.kind == "truncation_selection":
        below = sum(values[-1] <= known[trial][-1] for n, values in known.items() if n != trial)
        return below < len(known) * policy.percentage // 100
    best = max(map(max, known.values()))
    share = policy.slack_factor / (1 + policy.slack_factor) if maximize else policy.slack_factor
    slack = policy.slack_amount or (abs(best) * share if math.isfinite(best) else 0.0)
    return max(known[trial]) < best - slack


POLICIES = [
    policy("bandit", slack_factor=0.2),
    policy("bandit", slack_amount=0.5),
    policy("median_stopping"),
    policy("truncation_selection", percentage=40),
]
#: Few, so that there are equals, also such as are equal but for the rounding of their sums.
VALUES = st.sampled_from([0.1, 0.2, 0.3, 1.0, -0.1, 1e16, math.nan]) | st.floats(-1e6, 1e6)


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: f"{policy.kind} {policy.slack_amount}")
@settings(max_examples=40)
@given(told=st.lists(st.tuples(st.integers(1, 4), VALUES, st.integers(0, 9)), max_size=40))
def test_decisions_are_those_of_the_definition(
    policy: Policy, maximize: bool, told: list[tuple[int, float, int]]
) -> None:
    reports: dict[int, list[float]] = {}
    stopping = Stopping(policy, maximize)
    for trial, value, chance in told:
        if chance == 0:
            # Its next attempt begins anew.
            reports[trial] = []
        reports.setdefault(trial, []).append(value)
        interval = len(reports[trial])
        assert stopping.stops(reports, trial, interval) == plainly(policy, maximize, reports, trial, interval)


def test_a_sum_too_large_for_a_number_has_an_average() -> None:
    values = {1: [1e308] * 4, 2: [1.0] * 4, 3: [math.inf, math.nan, 1.0, 1.0], 4: [2e307] * 4}
    assert at_the_end("median_stopping", True, values) == [2]


class Counted(Sequence[float]):
    """Values that count how many of them are read."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.read = 0

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Any:
        found = self.values[index]
        self.read += len(found) if isinstance(index, slice) else 1
        return found

    def __iter__(self) -> Iterator[float]:
        for value in self.values:
            self.read += 1
            yield value


def test_a_history_is_gone_through_once() -> None:
    reports = {number: Counted() for number in range(3)}
    stopping = Stopping(policy("median_stopping"), True)
    for interval in range(1, 101):
        for number, values in reports.items():
            values.values.append(float(number))
            stopping.stops(reports, number, interval)
    assert sum(values.read for values in reports.values()) <= 3 * 100
