"""A sweep with every value known: what is bound to the pipeline's inputs is filled in, and checked again."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from azdistill import strict_json
from azdistill.aml import expressions, values
from azdistill.aml.checks.sweep import check_distribution, check_limits, check_termination
from azdistill.aml.models import Literal, Step
from azdistill.aml.source import Report, Where
from azdistill.aml.sweep_models import Distribution, Sweep, Termination
from azdistill.aml.sweeps import SEARCHED, space_mapping

Template = tuple[expressions.Part, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """When a trial is ended. ``kind`` is Azure ML's word; intervals count the values that the trial has reported."""

    kind: str
    every: int
    not_before: int
    slack_factor: float = 0.0
    slack_amount: float = 0.0
    percentage: int = 0


@dataclass(frozen=True, slots=True)
class PlannedSweep:
    """What a sweep step does. ``templates`` are the inputs that hold hyperparameters, besides those of their names.

    ``logbase`` is the base of the distributions that are drawn as exponents. Times are in seconds.
    """

    space: Mapping[str, Distribution]
    sampling: str
    sobol: bool
    seed: int | None
    logbase: float
    maximize: bool
    primary_metric: str
    total: int
    concurrent: int
    timeout: float | None
    trial_timeout: float | None
    policy: Policy | None
    templates: Mapping[str, Template]

    def as_key(self, ignored: Collection[str] = ()) -> dict[str, Any]:
        """What a cache key holds of it: all that may decide which trial is the best, but for ``ignored`` inputs."""
        plain = {
            key: getattr(self, key)
            for key in ("sampling", "sobol", "seed", "logbase", "maximize", "primary_metric", "total", "concurrent")
        }
        policy = asdict(self.policy) if self.policy else None
        wired = {name: _spelt(template) for name, template in self.templates.items() if name not in ignored}
        more = {"policy": policy, "trial_timeout": self.trial_timeout, **({"inputs": wired} if wired else {})}
        return {**plain, "space": space_mapping(self.space), **more}

    def choices(self) -> list[str]:
        """All that may be chosen, as text."""
        return list(_texts(self.space.values()))

    def inputs(self, chosen: Mapping[str, Any]) -> dict[str, str]:
        """The inputs that a trial is given, for the hyperparameters ``chosen``, as text."""

        def look_up(reference: expressions.Reference) -> str | None:
            return text_of(chosen[reference.name]) if reference.path[0] == SEARCHED else reference.raw

        filled = {name: expressions.render(template, look_up) for name, template in self.templates.items()}
        return {**{name: text_of(value) for name, value in chosen.items()}, **filled}


def _spelt(template: Template) -> list[Any]:
    """A template as a key holds it: text that looks like a reference is another thing than one."""
    return [part.text if isinstance(part, expressions.Text) else {"bound": str(part)} for part in template]


def _texts(given: Iterable[Any]) -> Iterator[str]:
    for value in given:
        if isinstance(value, Distribution):
            yield from _texts(value.values)
        elif isinstance(value, Mapping):
            yield from _texts(value.values())
        else:
            yield values.text(value)


class Scope(Protocol):
    """What the plan knows of the pipeline around a step."""

    def render(self, value: Any) -> str: ...

    def whole(self, value: Any, where: Where, least: int = 1) -> int: ...


def text_of(value: Any) -> str:
    """A hyperparameter as the command line gets it; a mapping as JSON."""

    return strict_json.dumps(value) if isinstance(value, Mapping) else values.text(value)


def plan_sweep(step: Step, sweep: Sweep, scope: Scope, report: Report) -> PlannedSweep:
    """The sweep of ``step`` with its bindings filled in; what they make wrong is noted."""
    reader = _Reader(scope, report)
    limits = {key: reader.whole(value, sweep.where / "limits" / key) for key, value in sweep.limits.items()}
    check_limits(limits, sweep.where / "limits", report)
    total = limits.get("max_total_trials", 1)
    sampling = sweep.sampling
    return PlannedSweep(
        space={name: reader.distribution(one) for name, one in sweep.search_space.items()},
        sampling=sampling.kind,
        sobol=sampling.rule == "sobol",
        seed=None if sampling.seed is None else reader.whole(sampling.seed, sweep.where / "sampling_algorithm", 0),
        logbase=math.e if sampling.logbase in (None, "e") else float(sampling.logbase),
        maximize=sweep.goal == "maximize",
        primary_metric=scope.render(sweep.primary_metric),
        total=total,
        concurrent=min(limits.get("max_concurrent_trials", total), total),
        timeout=limits.get("timeout"),
        trial_timeout=limits.get("trial_timeout"),
        policy=reader.policy(sweep.termination, sweep.where / "early_termination") if sweep.termination else None,
        templates=_templates(step, sweep, scope),
    )


def _templates(step: Step, sweep: Sweep, scope: Scope) -> dict[str, Template]:
    """The inputs that are given hyperparameters of other names, or text around them."""
    found: dict[str, Template] = {}
    for name, value in step.inputs.items():
        text = value.value if isinstance(value, Literal) else str(value) if hasattr(value, "mode") else None
        parts = expressions.parse(text) if isinstance(text, str) and SEARCHED in text else ()
        if name in sweep.search_space or not any(r.path[0] == SEARCHED for r, _ in expressions.references(parts)):
            continue
        found[name] = tuple(
            part if isinstance(part, expressions.Reference) and part.path[0] == SEARCHED else _filled(part, scope)
            for part in parts
        )
    return found


def _filled(part: expressions.Part, scope: Scope) -> expressions.Part:
    if isinstance(part, expressions.Reference):
        # Once filled in it is text: a value is never read for expressions.
        return expressions.Text(scope.render(part.raw), part.position)
    return part


@dataclass(frozen=True, slots=True)
class _Reader:
    scope: Scope
    report: Report

    def whole(self, value: Any, where: Where, least: int = 1) -> int:
        return self.scope.whole(value, where, least)

    def number(self, value: Any, where: Where) -> int | float:
        """A number, be it written or bound to an input; 0 (and a problem) where it is none."""
        if isinstance(value, int | float):
            return value
        text = self.scope.render(value).strip()
        try:
            return int(text) if text.removeprefix("-").isdigit() else float(text)
        except ValueError:
            self.report.error("AZD111", f"'{where.steps[-1]}' should be a number, not {text!r}", where)
            return 0

    def distribution(self, one: Distribution) -> Distribution:
        """``one`` with its bindings filled in."""
        numbers = {key: self.number(value, one.where / key) for key, value in one.numbers.items()}
        if float(numbers.get("q", 0)).is_integer() and "q" in numbers:
            # Whole numbers stay whole, as inputs that are integers want them.
            numbers["q"] = int(numbers["q"])
        filled = replace(one, values=tuple(self._value(item) for item in one.values), numbers=numbers)
        if numbers != one.numbers:
            check_distribution(filled, self.report)
        return filled

    def _value(self, item: Any) -> Any:
        if isinstance(item, Mapping):
            return {name: self._value(inner) for name, inner in item.items()}
        if isinstance(item, Distribution):
            return self.distribution(item)
        return self.scope.render(item) if isinstance(item, str) and "${{" in item else item

    def policy(self, written: Termination, where: Where) -> Policy:
        numbers: dict[str, Any] = {
            key: self.number(value, where / key)
            for key in ("slack_factor", "slack_amount", "truncation_percentage")
            if (value := getattr(written, key)) is not None
        }
        filled = replace(written, **numbers)
        if filled != written:
            check_termination(filled, where, self.report)
        every = self.whole(written.evaluation_interval or 0, where / "evaluation_interval", 0)
        return Policy(
            kind=written.kind,
            every=max(every, 1),
            not_before=max(self.whole(written.delay_evaluation or 0, where / "delay_evaluation", 0), 1),
            slack_factor=float(numbers.get("slack_factor", 0)),
            slack_amount=float(numbers.get("slack_amount", 0)),
            percentage=int(numbers.get("truncation_percentage", 0)),
        )
