"""Sweeps: what is searched, how it is sampled, and whether the trial can take it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from azdistill import strict_json
from azdistill.aml import values as typed
from azdistill.aml.checks.survey import Survey
from azdistill.aml.checks.values import break_out, fit
from azdistill.aml.models import CommandComponent, Distribution, Input, Step, Sweep, Termination
from azdistill.aml.source import Report, Where
from azdistill.errors import did_you_mean

#: What Azure ML's Bayesian sampling takes.
_BAYESIAN = ("choice", "uniform", "quniform")
_CONTINUOUS = ("uniform", "loguniform", "normal", "lognormal")
_LARGEST_EXPONENT = math.log(1.7e308)


def _sweeps(survey: Survey) -> Iterator[tuple[Step, Sweep]]:
    return ((step, step.sweep) for _, step in survey.steps() if step.sweep)


def unknown_hyperparameters(survey: Survey, report: Report) -> None:
    """AZD180 and AZD184: what is searched is an input of the trial, and is not given as well."""
    for step, sweep in _sweeps(survey):
        component = step.component
        inputs = (sweep.where / "inputs").mapping
        for name in sweep.search_space:
            where = sweep.where / "search_space" / name
            is_used = any(_refers_to(value, name) for value in inputs.values())
            if isinstance(component, CommandComponent) and name not in component.inputs and not is_used:
                free = [key for key in component.inputs if key not in step.inputs]
                message = f"step '{step.name}': its trial has no input '{name}' to search"
                hint = did_you_mean(name, free) or "the trial has no inputs that are free"
                report.error("AZD180", message, where, key=True, hint=hint)
            if inputs.get(name) is not None and not _refers_to(inputs[name], name):
                message = f"'{name}' is searched, and is given as an input as well"
                where = sweep.where / "inputs" / name
                report.error("AZD184", message, where, key=True, hint="take one of them out")


def _refers_to(value: Any, name: str) -> bool:
    return isinstance(value, str) and f"search_space.{name}" in value


def distributions(survey: Survey, report: Report) -> None:
    """AZD181, and AZD183 (a warning)."""
    for _, sweep in _sweeps(survey):
        for drawn in _all_of(sweep):
            check_distribution(drawn, report)


def _all_of(sweep: Sweep) -> Iterator[Distribution]:
    return (nested for drawn in sweep.search_space.values() for nested in _nested(drawn))


def _nested(one: Distribution) -> Iterator[Distribution]:
    yield one
    for value in one.values:
        for nested in value.values() if isinstance(value, Mapping) else ():
            if isinstance(nested, Distribution):
                yield from _nested(nested)


def check_distribution(one: Distribution, report: Report) -> None:
    """Note a distribution that nothing can be drawn from. Numbers that are not known yet are passed over."""
    if one.kind == "choice":
        if not one.values and isinstance((one.where / "values").value, list):
            report.error("AZD181", "a choice of nothing", one.where / "values")
        return
    numbers = {key: value for key, value in one.numbers.items() if isinstance(value, int | float)}
    for key, value in numbers.items():
        if not math.isfinite(value):
            report.error("AZD181", f"'{key}' is {value}", one.where / key)
    low, high = numbers.get("min_value"), numbers.get("max_value")
    if low is not None and high is not None and low >= high:
        report.error("AZD181", f"min_value {low} is not below max_value {high}", one.where / "min_value")
    for key in ("q", "sigma"):
        if key in numbers and numbers[key] <= 0:
            report.error("AZD181", f"'{key}' is {numbers[key]}; it is above 0", one.where / key)
    if "upper" in numbers and (numbers["upper"] < 1 or numbers["upper"] != int(numbers["upper"])):
        message = f"'upper' is {numbers['upper']}; a whole number from 1 on is drawn below"
        report.error("AZD181", message, one.where / "upper")
    if "lognormal" in one.kind and numbers.get("mu", 0) > _LARGEST_EXPONENT:
        report.error("AZD181", f"exp({numbers['mu']}) is no number: mu is an exponent", one.where / "mu")
    if one.kind in ("loguniform", "qloguniform") and low is not None and high is not None:
        _exponents(one, low, high, report)


def _exponents(one: Distribution, low: float, high: float, report: Report) -> None:
    if high > _LARGEST_EXPONENT:
        report.error("AZD181", f"exp({high}) is no number: the bounds are exponents", one.where / "max_value")
    elif 0 < low < high <= 1:
        message = f"the bounds of {one.kind} are exponents: values lie between {math.exp(low):g} and {math.exp(high):g}"
        hint = f"for {low:g} to {high:g} write min_value: {math.log(low):.4g}, max_value: {math.log(high):.4g}"
        report.warning("AZD183", message, one.where / "min_value", hint=hint)


def sampling(survey: Survey, report: Report) -> None:
    """AZD182: what an algorithm cannot sample, and AZD185: what it cannot be joined with."""
    for _, sweep in _sweeps(survey):
        kind, kinds = sweep.sampling.kind, {"grid": ("choice",), "bayesian": _BAYESIAN}.get(sweep.sampling.kind)
        for one in _all_of(sweep) if kinds else ():
            if one.kind not in (kinds or ()):
                message = f"{kind} sampling does not take {one.kind}"
                hint = f"it takes {', '.join(kinds or ())}; random takes every kind"
                report.error("AZD182", message, one.where / "type", hint=hint)
        if kind == "bayesian" and sweep.termination:
            hint = "take early_termination out, or sample at random"
            where = sweep.where / "early_termination"
            report.error("AZD185", "bayesian sampling takes no early termination", where, key=True, hint=hint)
        _logbase(sweep, report)


def _logbase(sweep: Sweep, report: Report) -> None:
    base = sweep.sampling.logbase
    if base is None or base == "e":
        return
    number = float(base) if isinstance(base, int | float) else 0.0
    if isinstance(base, bool) or number <= 0 or number == 1:
        where = sweep.where / "sampling_algorithm" / "logbase"
        report.error("AZD181", f"logbase is {base!r}; it is 'e' or a number above 0 other than 1", where)


def terminations(survey: Survey, report: Report) -> None:
    """AZD185: a policy that says too little or two things."""
    for _, sweep in _sweeps(survey):
        if sweep.termination:
            check_termination(sweep.termination, sweep.where / "early_termination", report)


def check_termination(policy: Termination, where: Where, report: Report) -> None:
    """Note what is wrong with a policy of early termination."""
    if policy.kind == "bandit":
        slacks = {key: value for key in ("slack_factor", "slack_amount") if (value := getattr(policy, key)) is not None}
        if len(slacks) != 1:
            message = f"bandit takes one of slack_factor and slack_amount, not {'both' if slacks else 'neither'}"
            report.error("AZD185", message, where)
        for key, value in slacks.items():
            if isinstance(value, int | float) and value < 0:
                report.error("AZD185", f"'{key}' is {value}, below 0", where / key)
    share = policy.truncation_percentage
    if isinstance(share, int | float) and not (1 <= share <= 99 and share == int(share)):
        message = f"truncation_percentage is {share}; it is a whole number from 1 to 99"
        report.error("AZD185", message, where / "truncation_percentage")


def limits(survey: Survey, report: Report) -> None:
    """AZD186."""
    for _, sweep in _sweeps(survey):
        check_limits(sweep.limits, sweep.where / "limits", report)


def check_limits(settings: Mapping[str, Any], where: Where, report: Report) -> None:
    """Note limits that contradict each other. Those that are not known yet are passed over."""
    limit = {key: int(value) for key, value in settings.items() if str(value).strip().isdigit()}
    total, side_by_side = limit.get("max_total_trials"), limit.get("max_concurrent_trials")
    if total is not None and side_by_side is not None and side_by_side > total:
        message = f"max_concurrent_trials {side_by_side} is above max_total_trials {total}"
        report.error("AZD186", message, where / "max_concurrent_trials")
    if "timeout" in limit and limit.get("trial_timeout", 0) > limit["timeout"]:
        message = f"trial_timeout {limit['trial_timeout']} is above the timeout of the whole sweep, {limit['timeout']}"
        report.error("AZD186", message, where / "trial_timeout")


def searched_values(survey: Survey, report: Report) -> None:
    """AZD132, AZD133, AZD134 and AZD156 for what the trial's inputs will be given."""
    for step, sweep in _sweeps(survey):
        component = step.component
        if not isinstance(component, CommandComponent):
            continue
        for name, one in sweep.search_space.items():
            declared = component.inputs.get(name)
            if declared is not None and declared.where is not one.where:
                _suits(name, one, declared, report)
            for text, where in _texts(one):
                break_out(report, component, name, text, where)


def _suits(name: str, one: Distribution, declared: Input, report: Report) -> None:
    what = f"a value of hyperparameter '{name}'"
    q = one.numbers.get("q", 1)
    if declared.type == "integer" and (one.kind in _CONTINUOUS or (isinstance(q, float) and not q.is_integer())):
        message = f"'{name}' is declared integer; {one.kind} draws numbers between"
        hint = "quniform with q: 1, randint or choice draw whole ones"
        report.error("AZD132", message, one.where / "type", hint=hint)
        return
    for value, where in _ends(one):
        fit(report, what, declared, value, where)


def _ends(one: Distribution) -> Iterator[tuple[Any, Where]]:
    """The values of a choice, and the least and greatest of a range, each with its place."""
    if one.kind == "choice":
        for number, value in enumerate(one.values):
            if not isinstance(value, Mapping) and not _is_bound(value):
                yield value, one.where / "values" / number
    elif one.kind == "randint" and isinstance(one.numbers.get("upper"), int):
        yield one.numbers["upper"] - 1, one.where / "upper"
    elif one.kind in ("uniform", "quniform", "loguniform", "qloguniform"):
        for key in ("min_value", "max_value"):
            bound = one.numbers.get(key)
            if isinstance(bound, int | float) and abs(bound) < _LARGEST_EXPONENT:
                yield _value_at(one, bound), one.where / key


def _value_at(one: Distribution, bound: float) -> float:
    value = math.exp(bound) if "log" in one.kind else bound
    q = one.numbers.get("q")
    return round(value / q) * q if isinstance(q, int | float) and q > 0 else value


def _is_bound(value: Any) -> bool:
    return isinstance(value, str) and "${{" in value


def _texts(one: Distribution) -> Iterator[tuple[str, Where]]:
    for number, value in enumerate(one.values):
        if not _is_bound(value) and not isinstance(value, Mapping):
            yield typed.text(value), one.where / "values" / number
        elif isinstance(value, Mapping) and not any(isinstance(nested, Distribution) for nested in value.values()):
            yield strict_json.dumps(value, default=str), one.where / "values" / number
