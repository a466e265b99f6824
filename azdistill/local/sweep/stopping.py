"""Early termination as Azure ML defines it: which trial ends, by the values of the primary metric that trials report.

A policy looks at a trial each time that it reports a value, at every multiple of ``evaluation_interval`` from
``delay_evaluation`` on, and holds it against what all trials had reported at the same interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import median

from azdistill.local.plan.steps import Policy

#: Number of a trial -> the values that it has reported, in order.
Reports = Mapping[int, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Standing:
    """Of the values that a trial had reported at an interval the best, their average, and the last; more is better."""

    best: float
    average: float
    last: float


class Stopping:
    """A sweep's policy, and how each trial stood at each interval: a long history is gone through once."""

    def __init__(self, policy: Policy, maximize: bool) -> None:
        self._policy, self._maximize = policy, maximize
        self._courses: dict[int, _Course] = {}

    def stops(self, reports: Reports, trial: int, interval: int) -> bool:
        """Whether ``trial`` ends at the ``interval``-th value that it reported."""
        policy = self._policy
        if interval < policy.not_before or interval % policy.every:
            return False
        long_enough = {number: values for number, values in reports.items() if len(values) >= interval}
        standings = {number: self._at(number, values, interval) for number, values in long_enough.items()}
        return _POLICIES[policy.kind](policy, self._maximize, standings, trial)

    def _at(self, number: int, values: Sequence[float], interval: int) -> Standing:
        course = self._courses.get(number)
        if course is None or course.values is not values:
            # Another attempt of the trial reports anew.
            course = self._courses[number] = _Course(values, self._maximize)
        return course.at(interval)


class _Course:
    """How a trial stood after each of its ``values``, which may become more."""

    def __init__(self, values: Sequence[float], maximize: bool) -> None:
        self.values, self._maximize = values, maximize
        self._standings: list[Standing] = []
        self._sum, self._infinite = Fraction(), 0.0

    def at(self, interval: int) -> Standing:
        for value in self.values[len(self._standings) : interval]:
            self._follow(_upward(value, self._maximize))
        return self._standings[interval - 1]

    def _follow(self, value: float) -> None:
        best = max(self._standings[-1].best, value) if self._standings else value
        if math.isinf(value):
            # A value that is no number, which counts as the worst, outweighs any other.
            self._infinite = min(self._infinite or value, value)
        else:
            # Exact, as statistics.fmean is: of trials that are equal none is worse.
            self._sum += Fraction(value)
        self._standings.append(Standing(best, self._infinite or self._average(), value))

    def _average(self) -> float:
        count = len(self._standings) + 1
        try:
            return float(self._sum) / count
        except OverflowError:
            return float(self._sum / count)


def best_of(values: Sequence[float], maximize: bool) -> float | None:
    """The best value that a trial reported, which is what Azure ML ranks trials by; None where it has none."""
    numbers = [value for value in values if not math.isnan(value)]
    return (max if maximize else min)(numbers) if numbers else None


def _upward(value: float, maximize: bool) -> float:
    """A value of which more is better; what is no number is the worst."""
    return -math.inf if math.isnan(value) else value if maximize else -value


def _bandit(policy: Policy, maximize: bool, standings: Mapping[int, Standing], trial: int) -> bool:
    """Worse than the best trial at this interval by more than the slack."""
    best = max(standing.best for standing in standings.values())
    factor = policy.slack_factor
    # Azure ML: below best / (1 + factor) where more is better, above best * (1 + factor) where less is.
    share = factor / (1 + factor) if maximize else factor
    slack = policy.slack_amount or (abs(best) * share if math.isfinite(best) else 0.0)
    return standings[trial].best < best - slack


def _median(policy: Policy, maximize: bool, standings: Mapping[int, Standing], trial: int) -> bool:
    """Its best value is worse than the median of the running averages of all trials."""
    return standings[trial].best < median(standing.average for standing in standings.values())


def _truncation(policy: Policy, maximize: bool, standings: Mapping[int, Standing], trial: int) -> bool:
    """Among the worst ``percentage`` of all trials at this interval; of equal ones none is."""
    last = {number: standing.last for number, standing in standings.items()}
    not_better = sum(value <= last[trial] for number, value in last.items() if number != trial)
    return not_better < len(last) * policy.percentage // 100


_POLICIES = {"bandit": _bandit, "median_stopping": _median, "truncation_selection": _truncation}
