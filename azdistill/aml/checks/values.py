"""Values against what inputs declare: type, enum, range, and the quoting they will stand in."""

from __future__ import annotations

import math
from datetime import date
from typing import Any

from azdistill import families
from azdistill.aml import quoting
from azdistill.aml import values as typed
from azdistill.aml.checks.survey import Survey
from azdistill.aml.expressions import parse
from azdistill.aml.fields import kind_of
from azdistill.aml.models import CommandComponent, Input, Literal
from azdistill.aml.service import harmless
from azdistill.aml.source import Report, Where
from azdistill.errors import did_you_mean


def defaults_that_do_not_fit(survey: Survey, report: Report) -> None:
    """AZD132, AZD133, AZD134 for defaults, and for the limits themselves."""
    jobs = [scope for scope in survey.scopes if scope.is_job]
    for spec in (*survey.interfaces(), *jobs):
        for name, declared in spec.inputs.items():
            for limit in ("min", "max"):
                value = getattr(declared, limit)
                if value is not None and not _parses(declared.type, value):
                    _wrong_type(report, f"'{limit}' of input '{name}'", declared, value, declared.where / limit)
            _no_range(report, name, declared)
            if declared.default is not None:
                fit(report, f"the default of input '{name}'", declared, declared.default, declared.where_default)


def _no_range(report: Report, name: str, declared: Input) -> None:
    limits = (declared.min, declared.max)
    if all(limit is not None and _parses("number", limit) for limit in limits) and float(limits[0]) > float(limits[1]):
        message = f"input '{name}' allows nothing: 'min' {declared.min} is above 'max' {declared.max}"
        report.error("AZD134", message, declared.where / "min")


def values_that_do_not_fit(survey: Survey, report: Report) -> None:
    """AZD132, AZD133, AZD134 for what steps are given, through bindings too."""
    reported: set[tuple[int, tuple[int | str, ...], str]] = set()
    for scope, step in survey.steps():
        component = None if step.inline else step.local_component
        for name, value in step.inputs.items() if component else ():
            declared, traced = component.inputs.get(name) if component else None, scope.trace(value)
            if not declared or not traced or traced.literal is None:
                continue
            # A value of the wrong type goes wrong in every pipeline that it is passed through.
            mark = (id(traced.where.source), traced.where.steps, declared.type)
            if mark not in reported or _parses(declared.type, traced.literal):
                fit(report, f"input '{name}' of step '{step.name}'", declared, traced.literal, traced.where)
            reported.add(mark)


def fit(report: Report, what: str, declared: Input, value: Any, where: Where) -> None:
    """Note what keeps ``value`` from being what an input declares; ``what`` begins the message."""
    if declared.is_data:
        hint = f"write {{type: {declared.type}, path: ...}}"
        report.error("AZD132", f"{what} is {declared.type} data, not {kind_of(value)}", where, hint=hint)
    elif not _parses(declared.type, value):
        _wrong_type(report, what, declared, value, where)
    elif not _allowed(declared, value):
        hint = did_you_mean(str(value), _words(declared))
        # Azure ML lets a number through where only words are allowed: one of its public examples does so.
        tell = report.warning if declared.type == "string" and type(value) in (int, float) else report.error
        tell("AZD133", f"{what} is '{value}', which is not allowed", where, hint=hint)
    else:
        _in_range(report, what, declared, value, where)


def _parses(kind: str, value: Any) -> bool:
    try:
        typed.parse(kind, value)
    except ValueError:
        return False
    return True


def _wrong_type(report: Report, what: str, declared: Input, value: Any, where: Where) -> None:
    report.error("AZD132", f"{what} is declared {declared.type}; {value!r} is none", where)


def _words(declared: Input) -> list[str]:
    """The words that an input allows, and no others; none where it takes any."""
    if declared.enum is not None:
        return [str(item) for item in declared.enum]
    return families.names(declared.family) if declared.family else []


def _allowed(declared: Input, value: Any) -> bool:
    if declared.enum is None:
        named = declared.family and families.member(declared.family, typed.text(value))
        return bool(named) or not _words(declared)
    parsed = typed.parse(declared.type, value)
    return any(
        _parses(declared.type, item) and typed.parse(declared.type, item) == parsed for item in declared.enum or ()
    )


def _in_range(report: Report, what: str, declared: Input, value: Any, where: Where) -> None:
    if declared.type not in ("integer", "number"):
        return
    number = typed.parse(declared.type, value)
    for limit, bound in (("min", declared.min), ("max", declared.max)):
        if bound is None or not _parses("number", bound) or math.isnan(float(bound)):
            continue
        if math.isnan(number):
            report.error("AZD134", f"{what} is no number, and the {limit} allowed is {bound}", where)
        elif (number < float(bound)) if limit == "min" else (number > float(bound)):
            side = "below the smallest" if limit == "min" else "above the largest"
            report.error("AZD134", f"{what} is {value}, {side} allowed: {bound}", where)


def values_that_read_otherwise(survey: Survey, report: Report) -> None:
    """AZD175, a warning: text without quotes that is a number, a boolean or a time to YAML (``yes``, ``1.10``)."""
    for spec in survey.interfaces():
        for declared in spec.inputs.values():
            if declared.type == "string":
                _reads_otherwise(report, declared.default, declared.where_default)
    for scope, step in survey.steps():
        if not step.inline and isinstance(step.component, CommandComponent):
            for name, value in step.inputs.items():
                declared_as, traced = step.component.inputs.get(name), scope.trace(value)
                if not declared_as or not traced or traced.literal is None:
                    continue
                if declared_as.type == "string" or _is_endless(traced.literal):
                    _reads_otherwise(report, traced.literal, traced.where)
                elif declared_as.type == "number" and _overflows(traced.literal):
                    message = f"{traced.literal} is beyond every number: a program reads infinity"
                    report.warning("AZD175", message, traced.where, hint="write inf where that is meant")
        for name in step.environment_variables:
            where = step.where / "environment_variables" / name
            _reads_otherwise(report, where.value, where)


def dates(survey: Survey, report: Report) -> None:
    """AZD132: azure-ai-ml takes no date or time, which YAML makes of text without quotes."""
    literals = [(d.default, d.where_default) for spec in survey.interfaces() for d in spec.inputs.values()]
    literals += [(d.default, d.where_default) for s in survey.scopes if s.is_job for d in s.inputs.values()]
    literals += [(v.value, v.where) for _, s in survey.steps() for v in s.inputs.values() if isinstance(v, Literal)]
    for value, where in literals:
        if isinstance(value, date):
            message = f"{value} is a date to YAML, and Azure ML takes none"
            report.error("AZD132", message, where, hint=f"write '{value}' in quotes")


def _is_endless(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _overflows(value: Any) -> bool:
    """Whether a text spells a number that is too large to be one."""
    return (
        isinstance(value, str) and "inf" not in value.lower() and _parses("number", value) and math.isinf(float(value))
    )


def _reads_otherwise(report: Report, value: Any, where: Where) -> None:
    place = where.source.place(where.steps)
    if value is None or isinstance(value, str | list | dict | date) or not place or not place.end:
        return
    source_text, read = where.source.text[place.start : place.end], typed.text(value)
    if source_text and source_text[0] not in "*&{[" and source_text != read and source_text.lower() != read.lower():
        message = f"'{source_text}' is {kind_of(value)} to YAML: the command gets '{read}'"
        report.warning("AZD175", message, where, hint=f"write '{source_text}' in quotes")


def values_that_break_out(survey: Survey, report: Report) -> None:
    """AZD156: defaults, and values given to steps, where they stand in the command."""
    for component in survey.components:
        for name, declared in component.inputs.items():
            text = typed.default_text(declared.type, declared.default)
            if text is not None and not declared.is_data:
                break_out(report, component, name, text, declared.where_default)
    for scope, step in survey.steps():
        if isinstance(step.component, CommandComponent):
            for name, value in step.inputs.items():
                traced = scope.trace(value)
                if traced and traced.literal is not None and not isinstance(traced.literal, list | dict):
                    break_out(report, step.component, name, harmless(typed.text(traced.literal)), traced.where)


def break_out(report: Report, component: CommandComponent, name: str, text: str, where: Where) -> None:
    """Note where an input's ``text`` would not stay data in the command."""
    parts = parse(component.command)
    for reference, _ in quoting.contexts(parts):
        if reference.path[0] == "inputs" and reference.name == name:
            if breakout := quoting.would_break_out(parts, reference, text):
                report.error("AZD156", f"the value of '{name}' {breakout}", where, hint=breakout.hint)
            return
