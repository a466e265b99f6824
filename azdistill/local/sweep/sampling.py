"""Which hyperparameters the trials of a sweep get, and in which order.

Random and Sobol points and the grid depend on the search space and the seed alone: not on results, nor on how many
trials run at a time. Bayesian sampling is Optuna's TPE, which learns from each trial that has ended; its other Bayesian
sampler, of Gaussian processes, needs PyTorch, which azdistill does without.
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal, Protocol

from azdistill.aml.models import Distribution
from azdistill.aml.sweeps import space_mapping
from azdistill.local.plan.steps import PlannedSweep
from azdistill.local.store.durable_files import digest

#: Trials that TPE draws at random before it learns. Not of the number of trials: more of these repeat the first ones.
STARTUP_TRIALS = 5
#: How near to 0 and 1 a normal distribution is asked for its quantiles.
_EDGE = 1e-12

#: Name of a dimension -> where in it: from 0 to below 1, or the number of a choice.
Draw = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Point:
    """What one trial is given. ``draw`` is what the sampler drew, from which ``values`` follow."""

    values: Mapping[str, Any]
    draw: Draw


class Sampler(Protocol):
    """Gives points until there are no more, or too many were asked for."""

    size: int

    def ask(self, number: int, draw: Draw | None = None) -> Point:
        """The point of trial ``number`` (from 1 on, asked in order); ``draw`` is what it was in an earlier run."""

    def tell(self, number: int, value: float | None) -> None:
        """The metric of a trial that has ended; None for one that has none."""


def make_sampler(sweep: PlannedSweep) -> Sampler:
    """The sampler of a sweep; imports Optuna for all but a grid."""
    if sweep.sampling == "grid":
        return _Listed([Point(values, {}) for values in itertools.islice(_grid(sweep.space), sweep.total)])
    if sweep.sampling == "random":
        return _Listed([point(sweep, draw) for draw in _drawn(sweep)])
    return _Bayesian(sweep)


def seed_of(sweep: PlannedSweep) -> int:
    """The seed that is written, or one that the search space has for itself."""
    if sweep.seed is not None:
        return sweep.seed
    return int(digest(space_mapping(sweep.space))[:8], 16)


def point(sweep: PlannedSweep, draw: Draw) -> Point:
    """The point at ``draw``."""
    return Point({name: _value(name, one, draw, sweep.logbase) for name, one in sweep.space.items()}, draw)


def _value(name: str, one: Distribution, draw: Draw, base: float) -> Any:
    if one.kind != "choice":
        return quantile(one, draw[name], base)
    number = int(draw[name])
    chosen = one.values[number]
    if not isinstance(chosen, Mapping):
        return chosen
    return {
        key: _value(f"{name}.{number}.{key}", part, draw, base) if isinstance(part, Distribution) else part
        for key, part in chosen.items()
    }


def quantile(one: Distribution, share: float, base: float = math.e) -> int | float:
    """The value below which ``share`` (0 to 1) of a distribution lies, in the type that Azure ML's formula gives."""
    if one.kind == "randint":
        upper = int(one.numbers["upper"])
        return min(int(share * upper), upper - 1)
    if "uniform" in one.kind:
        low, high = one.numbers["min_value"], one.numbers["max_value"]
        value = low + share * (high - low)
    else:
        value = NormalDist(one.numbers["mu"], one.numbers["sigma"]).inv_cdf(min(max(share, _EDGE), 1 - _EDGE))
    if "log" in one.kind:
        value = _power(base, value)
    if one.kind.startswith("q") and math.isfinite(value / one.numbers["q"]):
        return _rounded(value, one.numbers["q"])
    return float(value)


def _power(base: float, exponent: float) -> float:
    """As numpy has it, with which Azure ML draws: what is too large is infinite."""
    try:
        return math.pow(base, exponent)
    except OverflowError:
        return math.inf


def _rounded(value: float, q: float) -> int | float:
    # Of a step of 0.1 the product alone would give 0.30000000000000004.
    number = round(value / q) * q
    return number if isinstance(number, int) else float(f"{number:.12g}")


def dimensions(space: Mapping[str, Distribution]) -> dict[str, Distribution]:
    """Everything that is drawn, by name; what stands inside a choice too, whether it is chosen or not."""
    flat: dict[str, Distribution] = {}
    for name, one in space.items():
        flat[name] = one
        for number, choice in enumerate(one.values):
            parts = choice.items() if isinstance(choice, Mapping) else ()
            flat |= dimensions(
                {f"{name}.{number}.{key}": part for key, part in parts if isinstance(part, Distribution)}
            )
    return flat


def _grid(space: Mapping[str, Distribution]) -> Iterator[dict[str, Any]]:
    """Every combination, the last hyperparameter changing first."""
    choices = [[point for choice in one.values for point in _alternatives(choice)] for one in space.values()]
    for values in itertools.product(*choices):
        yield dict(zip(space, values, strict=True))


def _alternatives(choice: Any) -> Iterator[Any]:
    if not isinstance(choice, Mapping):
        yield choice
        return
    for values in _grid({key: part for key, part in choice.items() if isinstance(part, Distribution)}):
        yield {**choice, **values}


def _drawn(sweep: PlannedSweep) -> list[Draw]:
    """All points of random sampling, drawn as numbers from 0 to 1 and told no result."""
    import optuna

    flat = dimensions(sweep.space)
    shares: dict[str, Any] = {name: optuna.distributions.FloatDistribution(0, 1) for name in flat}
    seed = seed_of(sweep)
    with _quiet():
        sobol = optuna.samplers.QMCSampler(qmc_type="sobol", scramble=True, seed=seed) if sweep.sobol else None
        study = optuna.create_study(sampler=sobol or optuna.samplers.RandomSampler(seed=seed))
        if sweep.sobol:
            # The sequence covers what the first trial has drawn: this one stands for it.
            middle = optuna.trial.create_trial(params=dict.fromkeys(shares, 0.5), distributions=shares, value=0.0)
            study.add_trial(middle)
        draws: list[Draw] = []
        for _ in range(sweep.total):
            trial = study.ask(shares)
            study.tell(trial, 0.0)
            draws.append({name: _index(one, trial.params[name]) for name, one in flat.items()})
    return draws


def _index(one: Distribution, share: float) -> float:
    return min(int(share * len(one.values)), len(one.values) - 1) if one.kind == "choice" else share


class _quiet(warnings.catch_warnings):
    """Optuna's notes about itself, on its log and as warnings, are none of a user's business."""

    def __enter__(self) -> None:
        import optuna

        super().__enter__()
        warnings.simplefilter("ignore")
        optuna.logging.set_verbosity(optuna.logging.ERROR)


class _Listed:
    """Points that are all known at the beginning."""

    def __init__(self, points: list[Point]) -> None:
        self._points, self.size = points, len(points)

    def ask(self, number: int, draw: Draw | None = None) -> Point:
        return self._points[number - 1]

    def tell(self, number: int, value: float | None) -> None:
        return None


class _Bayesian:
    """Optuna's TPE, seeded. Of trials that run at the same time it takes the worst for granted."""

    def __init__(self, sweep: PlannedSweep) -> None:
        import optuna

        self._sweep, self.size = sweep, sweep.total
        #: The number of a trial -> Optuna's own, from 0 on.
        self._asked: dict[int, int] = {}
        direction: Literal["maximize", "minimize"] = "maximize" if sweep.maximize else "minimize"
        with _quiet():
            sampler = optuna.samplers.TPESampler(
                seed=seed_of(sweep), n_startup_trials=STARTUP_TRIALS, constant_liar=sweep.concurrent > 1
            )
            self._study = optuna.create_study(direction=direction, sampler=sampler)
        self._space = {name: _of_optuna(one) for name, one in dimensions(sweep.space).items()}

    def ask(self, number: int, draw: Draw | None = None) -> Point:
        with _quiet():
            # Also where it is known: what is drawn after it is then what an unbroken run would draw.
            trial = self._study.ask(self._space)
            optunas_number, params = trial.number, trial.params
            if draw is not None and draw.keys() == self._space.keys() and draw != params:
                optunas_number, params = self._put_in_place_of(trial, draw), dict(draw)
        self._asked[number] = optunas_number
        return point(self._sweep, params)

    def _put_in_place_of(self, trial: Any, draw: Draw) -> int:
        """Optuna's number of a trial at ``draw``, which stands in the study for one that was drawn in vain."""
        from optuna.trial import TrialState, create_trial

        self._study.tell(trial, state=TrialState.FAIL)
        self._study.add_trial(create_trial(state=TrialState.RUNNING, params=dict(draw), distributions=self._space))
        return int(trial.number) + 1

    def tell(self, number: int, value: float | None) -> None:
        import optuna

        trial = self._asked.pop(number)
        with _quiet():
            if value is None or math.isnan(value):
                self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                self._study.tell(trial, value)


def _of_optuna(one: Distribution) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    return CategoricalDistribution(tuple(range(len(one.values)))) if one.kind == "choice" else FloatDistribution(0, 1)
