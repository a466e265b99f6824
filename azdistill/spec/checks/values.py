"""Values against what inputs declare: type, enum, range, and the quoting they will stand in."""

from __future__ import annotations

from typing import Any

from azdistill.errors import did_you_mean
from azdistill.spec import shell
from azdistill.spec import values as typed
from azdistill.spec.checks.survey import Survey
from azdistill.spec.expressions import parse
from azdistill.spec.fields import kind_of
from azdistill.spec.models import CommandComponent, Input
from azdistill.spec.source import Report, Where


def defaults_that_do_not_fit(survey: Survey, report: Report) -> None:
    """AZD132, AZD133, AZD134 for defaults, and for the limits themselves."""
    jobs = [scope for scope in survey.scopes if scope.is_job]
    for spec in (*survey.interfaces(), *jobs):
        for name, declared in spec.inputs.items():
            for limit in ("min", "max"):
                value = getattr(declared, limit)
                if value is not None and not _parses(declared.type, value):
                    _wrong_type(report, f"'{limit}' of input '{name}'", declared, value, declared.where / limit)
            if declared.default is not None:
                fits(report, f"the default of input '{name}'", declared, declared.default, declared.where_default)


def values_that_do_not_fit(survey: Survey, report: Report) -> None:
    """AZD132, AZD133, AZD134 for what steps are given, through bindings too."""
    for scope, step in survey.steps():
        if step.inline or step.component is None or isinstance(step.component, str):
            continue
        for name, value in step.inputs.items():
            declared, given = step.component.inputs.get(name), scope.trace(value)
            if declared and given and given.literal is not None:
                fits(report, f"input '{name}' of step '{step.name}'", declared, given.literal, given.where)


def fits(report: Report, what: str, declared: Input, value: Any, where: Where) -> None:
    """Note a ``value`` that is not what ``declared`` takes; ``what`` begins the message."""
    if declared.is_data:
        hint = f"write {{type: {declared.type}, path: ...}}"
        report.error("AZD132", f"{what} is {declared.type} data, not {kind_of(value)}", where, hint=hint)
    elif not _parses(declared.type, value):
        _wrong_type(report, what, declared, value, where)
    elif declared.enum is not None and not _allowed(declared, value):
        words = [str(item) for item in declared.enum]
        hint = did_you_mean(str(value), words)
        report.error("AZD133", f"{what} is '{value}', which is not allowed", where, hint=hint)
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


def _allowed(declared: Input, value: Any) -> bool:
    parsed = typed.parse(declared.type, value)
    return any(
        _parses(declared.type, item) and typed.parse(declared.type, item) == parsed for item in declared.enum or ()
    )


def _in_range(report: Report, what: str, declared: Input, value: Any, where: Where) -> None:
    if declared.type not in ("integer", "number"):
        return
    number = typed.parse(declared.type, value)
    for limit, bound in (("min", declared.min), ("max", declared.max)):
        if bound is None or not _parses("number", bound):
            continue
        if (number < float(bound)) if limit == "min" else (number > float(bound)):
            side = "below the smallest" if limit == "min" else "above the largest"
            report.error("AZD134", f"{what} is {value}, {side} allowed: {bound}", where)


def values_that_break_out(survey: Survey, report: Report) -> None:
    """AZD156: defaults, and values given to steps, where they stand in the command."""
    for component in survey.components:
        for name, declared in component.inputs.items():
            text = typed.default_text(declared.type, declared.default)
            if text is not None and not declared.is_data:
                breaks_out(report, component, name, text, declared.where_default)
    for scope, step in survey.steps():
        if isinstance(step.component, CommandComponent):
            for name, value in step.inputs.items():
                given = scope.trace(value)
                if given and given.literal is not None and not isinstance(given.literal, list | dict):
                    breaks_out(report, step.component, name, typed.text(given.literal), given.where)


def breaks_out(report: Report, component: CommandComponent, name: str, text: str, where: Where) -> None:
    """Note a ``text`` of input ``name`` that would not stay in its place in the command."""
    parts = parse(component.command)
    for reference, _ in shell.contexts(parts):
        if reference.path[0] == "inputs" and reference.name == name:
            found = shell.would_break_out(parts, reference, text)
            if found:
                message = (
                    f"the value of '{name}' holds {found.reason}: {found.context} in the command, it would break out"
                )
                report.error("AZD156", message, where, hint=shell.hint(found))
            return
