"""What a sweep says, as frozen data: the search space, how it is sampled, what is optimised, when a trial is ended.

Numbers are as written: each may also be text that is bound to an input of the pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from azdistill.aml.source import Where

#: Kinds of distributions -> their keys, all of which must be there (azure-ai-ml, ``_schema/_sweep/search_space``).
KINDS: dict[str, tuple[str, ...]] = {
    "choice": ("values",),
    "uniform": ("min_value", "max_value"),
    "loguniform": ("min_value", "max_value"),
    "quniform": ("min_value", "max_value", "q"),
    "qloguniform": ("min_value", "max_value", "q"),
    "normal": ("mu", "sigma"),
    "lognormal": ("mu", "sigma"),
    "qnormal": ("mu", "sigma", "q"),
    "qlognormal": ("mu", "sigma", "q"),
    "randint": ("upper",),
}
SAMPLINGS = ("random", "grid", "bayesian")
GOALS = ("minimize", "maximize")
#: Kinds of early termination -> their own keys (``_schema/_sweep/sweep_termination.py``).
TERMINATIONS: dict[str, tuple[str, ...]] = {
    "bandit": ("slack_factor", "slack_amount"),
    "median_stopping": (),
    "truncation_selection": ("truncation_percentage",),
}
LIMITS = ("max_total_trials", "max_concurrent_trials", "timeout", "trial_timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How one hyperparameter is drawn. A choice has ``values`` (a mapping among them may hold distributions of its
    own), every other kind ``numbers`` (``min_value`` ...).
    """

    kind: str
    values: tuple[Any, ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)
    where: Where = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """``rule`` and ``logbase`` matter to random sampling only; without a ``seed`` it has a fixed one of its own."""

    kind: str = "random"
    rule: str = "random"
    seed: Any = None
    logbase: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Termination:
    """When a trial that is doing badly is ended. Intervals count the values that a trial reports."""

    kind: str
    evaluation_interval: Any = None
    delay_evaluation: Any = None
    slack_factor: Any = None
    slack_amount: Any = None
    truncation_percentage: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A sweep over the inputs of its trial. ``where`` is the step, or the job, that it is written in."""

    search_space: Mapping[str, Distribution]
    sampling: Sampling = field(default_factory=Sampling)
    goal: str = "minimize"
    primary_metric: str = ""
    limits: Mapping[str, Any] = field(default_factory=dict)
    termination: Termination | None = None
    where: Where = field(compare=False, repr=False)
