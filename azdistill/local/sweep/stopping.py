"""Early termination as Azure ML defines it: which trial ends, by the values of the primary metric that trials report.

A policy looks at a trial each time that it reports a value, at every multiple of ``evaluation_interval`` from
``delay_evaluation`` on, and holds it against what all trials had reported at the same interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median

from azdistill.local.sweep.planned import Policy

#: Number of a trial -> the values that it has reported, in order.
Reports = Mapping[int, Sequence[float]]


def stops(policy: Policy, maximize: bool, reports: Reports, trial: int, interval: int) -> bool:
    """Whether ``trial`` ends at the ``interval``-th value that it reported."""
    if interval < policy.not_before or interval % policy.every:
        return False
    known = {number: _upward(values[:interval], maximize) for number, values in reports.items()}
    whole = {number: values for number, values in known.items() if len(values) == interval}
    return _POLICIES[policy.kind](policy, maximize, whole, trial)


def best_of(values: Sequence[float], maximize: bool) -> float | None:
    """The best value that a trial reported, which is what Azure ML ranks trials by; None where it has none."""
    numbers = [value for value in values if not math.isnan(value)]
    return (max if maximize else min)(numbers) if numbers else None


def _upward(values: Sequence[float], maximize: bool) -> list[float]:
    """Values of which more is better; what is no number is the worst."""
    return [-math.inf if math.isnan(value) else value if maximize else -value for value in values]


def _bandit(policy: Policy, maximize: bool, reports: Reports, trial: int) -> bool:
    """Worse than the best trial at this interval by more than the slack."""
    best = max(max(values) for values in reports.values())
    factor = policy.slack_factor
    # Azure ML: below best / (1 + factor) where more is better, above best * (1 + factor) where less is.
    share = factor / (1 + factor) if maximize else factor
    slack = policy.slack_amount or (abs(best) * share if math.isfinite(best) else 0.0)
    return max(reports[trial]) < best - slack


def _median(policy: Policy, maximize: bool, reports: Reports, trial: int) -> bool:
    """Its best value is worse than the median of the running averages of all trials."""
    return max(reports[trial]) < median(fmean(values) for values in reports.values())


def _truncation(policy: Policy, maximize: bool, reports: Reports, trial: int) -> bool:
    """Among the worst ``percentage`` of all trials at this interval; of equal ones none is."""
    last = {number: values[-1] for number, values in reports.items()}
    not_better = sum(value <= last[trial] for number, value in last.items() if number != trial)
    return not_better < len(last) * policy.percentage // 100


_POLICIES = {"bandit": _bandit, "median_stopping": _median, "truncation_selection": _truncation}
