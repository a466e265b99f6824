"""A sweep with every value known: what is bound to the pipeline's inputs is filled in, and checked again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from azdistill.aml import expressions
from azdistill.aml.checks.sweep import check_distribution, check_limits, check_termination
from azdistill.aml.models import Distribution, Literal, Step, Sweep, Termination
from azdistill.aml.source import Where
from azdistill.aml.sweeps import SEARCHED
from azdistill.local.plan.scope import Scope
from azdistill.local.plan.steps import PlannedSweep, Policy, Template


def plan_sweep(step: Step, sweep: Sweep, scope: Scope) -> PlannedSweep:
    """The sweep of ``step`` with its bindings filled in; what they make wrong is noted."""
    reader = _Reader(scope)
    limits = {key: reader.whole(value, sweep.where / "limits" / key) for key, value in sweep.limits.items()}
    check_limits(limits, sweep.where / "limits", scope.report)
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
    templates: dict[str, Template] = {}
    for name, value in step.inputs.items():
        text = value.value if isinstance(value, Literal) else str(value) if hasattr(value, "mode") else None
        parts = expressions.parse(text) if isinstance(text, str) and SEARCHED in text else ()
        if name in sweep.search_space or not any(r.path[0] == SEARCHED for r, _ in expressions.references(parts)):
            continue
        # Once filled in it is text: a value is never read for expressions.
        templates[name] = tuple(
            expressions.Text(scope.render(part.raw), part.position)
            if isinstance(part, expressions.Reference) and part.path[0] != SEARCHED
            else part
            for part in parts
        )
    return templates


@dataclass(frozen=True, slots=True)
class _Reader:
    scope: Scope

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
            self.scope.report.error("AZD111", f"'{where.steps[-1]}' should be a number, not {text!r}", where)
            return 0

    def distribution(self, one: Distribution) -> Distribution:
        """``one`` with its bindings filled in."""
        numbers = {key: self.number(value, one.where / key) for key, value in one.numbers.items()}
        if float(numbers.get("q", 0)).is_integer() and "q" in numbers:
            # Whole numbers stay whole, as inputs that are integers want them.
            numbers["q"] = int(numbers["q"])
        filled = replace(one, values=tuple(self._value(item) for item in one.values), numbers=numbers)
        if numbers != one.numbers:
            check_distribution(filled, self.scope.report)
        return filled

    def _value(self, item: Any) -> Any:
        if isinstance(item, Mapping):
            return {name: self._value(element) for name, element in item.items()}
        if isinstance(item, Distribution):
            return self.distribution(item)
        return self.scope.render(item) if isinstance(item, str) and "${{" in item else item

    def policy(self, termination: Termination, where: Where) -> Policy:
        numbers: dict[str, Any] = {
            key: self.number(value, where / key)
            for key in ("slack_factor", "slack_amount", "truncation_percentage")
            if (value := getattr(termination, key)) is not None
        }
        filled = replace(termination, **numbers)
        if filled != termination:
            check_termination(filled, where, self.scope.report)
        every = self.whole(termination.evaluation_interval or 0, where / "evaluation_interval", 0)
        return Policy(
            kind=termination.kind,
            every=max(every, 1),
            not_before=max(self.whole(termination.delay_evaluation or 0, where / "delay_evaluation", 0), 1),
            slack_factor=float(numbers.get("slack_factor", 0)),
            slack_amount=float(numbers.get("slack_amount", 0)),
            percentage=int(numbers.get("truncation_percentage", 0)),
        )
