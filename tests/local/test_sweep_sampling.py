"""What is drawn from a search space, and in which order."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azdistill.aml import reader
from azdistill.aml.models import KINDS, Distribution
from azdistill.aml.source import Report, Where
from azdistill.aml.sweeps import distribution
from azdistill.local.plan.steps import PlannedSweep
from azdistill.local.sweep.sampling import Draw, dimensions, make_sampler, quantile

BOUNDS = {"min_value": -2, "max_value": 3}
NORMAL = {"mu": 1, "sigma": 0.5}


def of(written: Mapping[str, Any]) -> Distribution:
    found = distribution(Where(reader.plain(dict(written), Path(), "test")), Report())
    assert found
    return found


def planned(space: Mapping[str, Mapping[str, Any]], sampling: str = "random", **more: Any) -> PlannedSweep:
    made: dict[str, Any] = {
        "space": {name: of(one) for name, one in space.items()},
        **{"sampling": sampling, "sobol": False, "seed": 1, "logbase": math.e, "maximize": False},
        **{"primary_metric": "loss", "total": 8, "concurrent": 1, "timeout": None, "trial_timeout": None},
        **{"policy": None, "templates": {}},
    }
    return PlannedSweep(**{**made, **more})


def drawn(sweep: PlannedSweep, loss: Any = lambda values: 0.0) -> list[Mapping[str, Any]]:
    """What a sampler gives, each point told its loss before the next is asked for."""
    sampler, found = make_sampler(sweep), []
    for number in range(1, sampler.size + 1):
        point = sampler.ask(number)
        sampler.tell(number, loss(point.values))
        found.append(point.values)
    return found


#: Kind -> a distribution, and what Azure ML's formula makes of the median of what it draws.
MEDIANS: dict[str, tuple[dict[str, Any], float]] = {
    "uniform": (BOUNDS, 0.5),
    "loguniform": (BOUNDS, math.exp(0.5)),
    "quniform": ({**BOUNDS, "q": 0.3}, 0.6),
    "qloguniform": ({**BOUNDS, "q": 0.5}, 1.5),
    "normal": (NORMAL, 1),
    "lognormal": (NORMAL, math.e),
    "qnormal": ({**NORMAL, "q": 2}, 0),
    "qlognormal": ({**NORMAL, "q": 0.1}, 2.7),
    "randint": ({"upper": 10}, 5),
}


@pytest.mark.parametrize("kind", MEDIANS)
def test_each_kind_is_drawn_by_azures_formula(kind: str) -> None:
    numbers, median = MEDIANS[kind]
    assert quantile(of({"type": kind, **numbers}), 0.5) == pytest.approx(median)


def test_every_kind_is_covered() -> None:
    assert MEDIANS.keys() | {"choice"} == KINDS.keys()


def test_a_step_that_is_whole_gives_whole_numbers() -> None:
    found = quantile(of({"type": "quniform", "min_value": 16.0, "max_value": 64.0, "q": 16}), 0.6)
    assert isinstance(found, int)
    assert found == 48


def test_logbase_is_the_base_of_the_exponents() -> None:
    assert quantile(of({"type": "loguniform", "min_value": -4, "max_value": -2}), 0.5, 10) == pytest.approx(1e-3)


@given(share=st.floats(0, 1), low=st.floats(-50, 50), width=st.floats(0.001, 50), upper=st.integers(1, 10**6))
def test_what_is_drawn_lies_within_the_bounds(share: float, low: float, width: float, upper: int) -> None:
    bounds = {"min_value": low, "max_value": low + width}
    assert low <= quantile(of({"type": "uniform", **bounds}), share) <= low + width
    assert (
        math.exp(low) * 0.999 <= quantile(of({"type": "loguniform", **bounds}), share) <= math.exp(low + width) * 1.001
    )
    assert quantile(of({"type": "randint", "upper": upper}), share) in range(upper)


def test_random_sampling_reaches_every_choice_about_equally_often() -> None:
    found = [values["x"] for values in drawn(planned({"x": {"type": "choice", "values": list("abcd")}}, total=400))]
    assert all(70 <= found.count(letter) <= 130 for letter in "abcd")


@pytest.mark.parametrize("seed", range(5))
def test_sobol_covers_the_space_more_evenly_than_chance(seed: int) -> None:
    space = {
        "x": {"type": "uniform", "min_value": 0, "max_value": 1},
        "y": {"type": "choice", "values": list(range(4))},
    }
    found = drawn(planned(space, sobol=True, seed=seed, total=32))
    cells = {(int(values["x"] * 4), values["y"]) for values in found}
    assert len(cells) == 16


@given(sizes=st.lists(st.integers(1, 4), min_size=1, max_size=4))
@settings(max_examples=20)
def test_a_grid_has_every_combination_once(sizes: list[int]) -> None:
    space = {f"x{n}": {"type": "choice", "values": list(range(size))} for n, size in enumerate(sizes)}
    found = drawn(planned(space, "grid", total=10**6))
    assert len(found) == math.prod(sizes)
    assert len({tuple(values.values()) for values in found}) == len(found)


def test_a_grid_goes_into_nested_choices() -> None:
    inner = {"kind": "deep", "depth": {"type": "choice", "values": [1, 2]}}
    found = drawn(planned({"m": {"type": "choice", "values": [inner, "flat"]}}, "grid", total=9))
    assert [values["m"] for values in found] == [{"kind": "deep", "depth": 1}, {"kind": "deep", "depth": 2}, "flat"]


def test_what_stands_inside_a_choice_is_drawn_under_a_name_of_its_own() -> None:
    space = {"m": of({"type": "choice", "values": [{"rate": {"type": "randint", "upper": 3}}, 1]})}
    assert list(dimensions(space)) == ["m", "m.0.rate"]


def test_bayesian_sampling_learns_where_the_loss_is_low() -> None:
    space = {"x": {"type": "uniform", "min_value": 0, "max_value": 100}}

    def loss(values: Mapping[str, Any]) -> float:
        return float(abs(values["x"] - 70))

    def late(sampling: str, seed: int) -> float:
        values = drawn(planned(space, sampling, seed=seed, total=40), loss)[-10:]
        return sum(map(loss, values)) / len(values)

    learnt, blind = (sum(late(sampling, seed) for seed in range(5)) / 5 for sampling in ("bayesian", "random"))
    assert learnt < 0.7 * blind


def test_bayesian_sampling_goes_on_where_an_earlier_run_was() -> None:
    sweep = planned({"x": {"type": "uniform", "min_value": 0, "max_value": 1}}, "bayesian", concurrent=2)
    first = make_sampler(sweep)
    points = [first.ask(number) for number in (1, 2, 3)]
    second = make_sampler(sweep)
    assert [second.ask(number, point.draw) for number, point in enumerate(points, 1)] == points


def side_by_side(sweep: PlannedSweep, known: list[Draw], total: int) -> list[Draw]:
    """What a sampler gives whose trials end two by two, the first of them as they were in an earlier run."""
    sampler, found = make_sampler(sweep), list[Draw]()
    for number in range(1, total + 1):
        found.append(sampler.ask(number, known[number - 1] if number <= len(known) else None).draw)
        if number % 2 == 0:
            sampler.tell(number - 1, found[-2]["x"])
            sampler.tell(number, found[-1]["x"])
    return found


@pytest.mark.parametrize("before", [2, 3, 7])
def test_bayesian_sampling_that_goes_on_draws_what_an_unbroken_run_draws(before: int) -> None:
    sweep = planned({"x": {"type": "uniform", "min_value": 0, "max_value": 1}}, "bayesian", concurrent=2)
    whole = side_by_side(sweep, [], 8)
    assert side_by_side(sweep, whole[:before], 8) == whole


def test_a_trial_without_a_metric_is_no_result_to_bayesian_sampling() -> None:
    sweep = planned({"x": {"type": "uniform", "min_value": 0, "max_value": 1}}, "bayesian")
    sampler = make_sampler(sweep)
    for number, value in enumerate((None, math.nan, 0.5, 1.0), 1):
        sampler.ask(number)
        sampler.tell(number, value)
    assert 0 <= sampler.ask(5).values["x"] <= 1


def test_a_grid_needs_no_optuna(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert len(drawn(planned({"x": {"type": "choice", "values": [1, 2]}}, "grid"))) == 2


@pytest.mark.parametrize(
    ("written", "base"),
    [
        ({"type": "lognormal", "mu": 700, "sigma": 100}, math.e),
        ({"type": "qlognormal", "mu": 700, "sigma": 100, "q": 1}, math.e),
        ({"type": "loguniform", "min_value": 0, "max_value": 500}, 10),
    ],
)
def test_what_is_too_large_for_a_number_is_infinite(written: dict[str, Any], base: float) -> None:
    assert quantile(of(written), 0.999, base) == math.inf
