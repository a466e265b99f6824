"""Builds sweeps from YAML data, and joins one to the trial whose inputs it searches."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from azdistill.aml.fields import Fields
from azdistill.aml.models import (
    GOALS,
    KINDS,
    LIMITS,
    SAMPLINGS,
    TERMINATIONS,
    Binding,
    CommandComponent,
    Distribution,
    Input,
    Sampling,
    Step,
    Sweep,
    Termination,
)
from azdistill.aml.source import Report, Where
from azdistill.errors import did_you_mean

#: What a sweep step and a sweep job share.
SWEEP_KEYS = {
    *("trial", "search_space", "sampling_algorithm", "objective", "early_termination", "limits"),
    *("queue_settings", "resources", "inputs", "outputs", "compute", "identity"),
}
#: The first word of a reference to a hyperparameter.
SEARCHED = "search_space"
_REFERENCE = re.compile(r"\$\{\{\s*search_space\.([^{}\s]+)\s*\}\}")


def sweep(fields: Fields) -> Sweep:
    """The sweep written at ``fields``, as far as it can be built."""
    fields.require("a sweep", "trial", "objective", "limits", SEARCHED)
    objective = Fields(fields.where / "objective", fields.report)
    objective.known(("goal", "primary_metric"), "an objective")
    if objective.data:
        objective.require("an objective", "goal", "primary_metric")
    space = {name: distribution(at, fields.report) for name, at, _ in fields.each(SEARCHED)}
    return Sweep(
        search_space={name: drawn for name, drawn in space.items() if drawn},
        sampling=_sampling(fields),
        goal=objective.choice("goal", GOALS) or "minimize",
        primary_metric=objective.text("primary_metric") or "",
        limits=sweep_limits(fields),
        termination=_termination(fields),
        where=fields.where,
    )


def sweep_limits(fields: Fields) -> dict[str, Any]:
    """How many trials there are, how many at a time, and for how long."""
    limits = Fields(fields.where / "limits", fields.report)
    limits.known(LIMITS, "the limits of a sweep")
    for key in LIMITS:
        limits.whole(key, at_least=1)
    if limits.data:
        limits.require("a sweep's 'limits'", "max_total_trials")
    return dict(limits.data)


def distribution(where: Where, report: Report) -> Distribution | None:
    """The distribution written at ``where``; None (and a problem) where it is of no known kind."""
    fields = Fields(where, report)
    if not isinstance(where.value, dict):
        if where.value is None:
            fields.wrong(where, "a mapping", None)
        return None
    fields.require("a distribution of hyperparameters", "type")
    kind = fields.choice("type", tuple(KINDS))
    if kind not in KINDS:
        return None
    fields.known(("type", *KINDS[kind]), f"a distribution of type {kind}")
    fields.require(f"a distribution of type {kind}", *KINDS[kind])
    if kind == "choice":
        values = tuple(_choice_value(at, item, fields) for at, item in fields.list("values"))
        return Distribution(kind=kind, values=values, where=where)
    numbers = {key: value for key in KINDS[kind] if (value := _number(fields, key)) is not None}
    return Distribution(kind=kind, numbers=numbers, where=where)


def _choice_value(where: Where, value: Any, fields: Fields) -> Any:
    """A value to choose; azure-ai-ml takes text, numbers and mappings, no booleans."""
    if isinstance(value, dict):
        return {str(name): _inner_value(where / name, nested, fields) for name, nested in value.items()}
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        hint = f'write "{value}" between quotes' if isinstance(value, bool) else ""
        fields.report.error("AZD111", f"a value to choose is text or a number, not {value!r}", where, hint=hint)
    return value


def _inner_value(where: Where, value: Any, fields: Fields) -> Any:
    if isinstance(value, dict):
        return distribution(where, fields.report)
    return _choice_value(where, value, fields)


def _number(fields: Fields, key: str) -> Any:
    """A number (text that spells one will do), or what is bound to an input."""
    value = fields.data.get(key)
    if value is None or (isinstance(value, str) and value.startswith("${{")):
        return value
    try:
        if isinstance(value, bool):
            raise ValueError
        return value if isinstance(value, int) else float(value)
    except (TypeError, ValueError):
        fields.wrong(fields.where / key, "a number", value)
        return None


def _sampling(fields: Fields) -> Sampling:
    if not isinstance(fields.data.get("sampling_algorithm"), dict):
        return Sampling(kind=fields.choice("sampling_algorithm", SAMPLINGS) or "random")
    section = Fields(fields.where / "sampling_algorithm", fields.report)
    section.require("a sampling algorithm", "type")
    kind = section.choice("type", SAMPLINGS) or "random"
    section.known(("type", *(("rule", "seed", "logbase") if kind == "random" else ())), f"{kind} sampling")
    section.whole("seed")
    rule = section.choice("rule", ("random", "sobol")) or "random"
    return Sampling(kind=kind, rule=rule, seed=section.data.get("seed"), logbase=section.data.get("logbase"))


def _termination(fields: Fields) -> Termination | None:
    section = Fields(fields.where / "early_termination", fields.report)
    if not section.data:
        return None
    section.require("early termination", "type")
    kind = (section.text("type") or "").replace("_", "").lower()
    kinds = {name.replace("_", ""): name for name in TERMINATIONS}
    if kind not in kinds:
        if kind:
            hint = did_you_mean(str(section.data["type"]), list(TERMINATIONS))
            message = f"unknown kind of early termination '{section.data['type']}'"
            fields.report.error("AZD113", message, section.where / "type", hint=hint)
        return None
    keys = TERMINATIONS[kinds[kind]]
    section.known(("type", "evaluation_interval", "delay_evaluation", *keys), f"early termination by {kinds[kind]}")
    for key in ("evaluation_interval", "delay_evaluation"):
        section.whole(key, at_least=0)
    if kinds[kind] == "truncation_selection":
        section.require("early termination by truncation_selection", "truncation_percentage")
    return Termination(
        kind=kinds[kind],
        evaluation_interval=section.data.get("evaluation_interval"),
        delay_evaluation=section.data.get("delay_evaluation"),
        **{key: _number(section, key) for key in keys},
    )


def searched(step: Step, search: Sweep) -> Step:
    """``step`` as it sweeps: its trial's inputs that the search space names are bound to it.

    In the trial's command ``${{search_space.x}}`` is the input ``x``, which is declared where it is not yet.
    """
    component = step.component
    step = replace(step, sweep=search, limits=search.limits)
    if not isinstance(component, CommandComponent):
        return step
    component = _reading(component, search)
    # By their names as written: one that cannot be drawn is a problem of its own.
    space = step.where / SEARCHED
    bound = {
        name: Binding(path=(SEARCHED, name), where=space / name) for name in space.mapping if name in component.inputs
    }
    return replace(step, component=component, inputs={**step.inputs, **bound})


def _reading(component: CommandComponent, search: Sweep) -> CommandComponent:
    used = {match[1] for match in _REFERENCE.finditer(component.command)} & search.search_space.keys()
    if not used:
        return component

    def as_input(match: re.Match[str]) -> str:
        return f"${{{{inputs.{match[1]}}}}}" if match[1] in used else match[0]

    missing = {name: declared(one) for name, one in search.search_space.items() if name in used}
    command = _REFERENCE.sub(as_input, component.command)
    return replace(component, command=command, inputs={**missing, **component.inputs})


def declared(hyperparameter: Distribution) -> Input:
    """The input that a hyperparameter is where its trial declares none."""
    types = {"choice": "string", "randint": "integer"}
    return Input(type=types.get(hyperparameter.kind, "number"), where=hyperparameter.where)


def space_mapping(space: Mapping[str, Distribution]) -> dict[str, Any]:
    """The search space as plain data, for keys and seeds."""
    return {name: _plain(one) for name, one in space.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Distribution):
        return {"type": value.kind, "values": [_plain(item) for item in value.values], **value.numbers}
    if isinstance(value, Mapping):
        return {name: _plain(nested) for name, nested in value.items()}
    return value
