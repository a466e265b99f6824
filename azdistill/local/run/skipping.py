"""While a run goes on: whether a step is of a branch that is taken, and what its inputs turned out to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from azdistill.aml import values
from azdistill.aml.models import PRIMITIVES
from azdistill.errors import UserError
from azdistill.local.outputs import value_outputs
from azdistill.local.plan.bindings import Bound, Gate, Made, Text
from azdistill.local.plan.steps import Plan, PlannedStep
from azdistill.local.run.result import BRANCH, Result
from azdistill.redact import redact


def skipped(step: PlannedStep, results: Mapping[str, Result]) -> str:
    """Why ``step`` is not run though nothing failed; empty where it is, or where that is not known yet.

    UserError AZD335 for a condition that turned out neither true nor false.
    """
    for gate in step.under.gates:
        told = _closed(gate, results)
        # Of several the outermost decides, whichever is known first: what is told does not depend on who was faster.
        if told or told is None:
            return told or ""
    for name, bound in step.inputs.items():
        if isinstance(bound, Made) and _needed(step, name) and _is_skipped(bound, results):
            return f"it needs '{bound.step}', which was skipped"
    return ""


def _closed(gate: Gate, results: Mapping[str, Result]) -> str | None:
    """Why a gate lets nobody through; empty where it does, None where that is not known yet."""
    if isinstance(gate.condition, Text):
        value = _boolean(gate, gate.condition.text)
    elif _is_skipped(gate.condition, results):
        return f"the condition of '{gate.name}' is not known: '{gate.condition.step}' was skipped"
    else:
        made = _taken(gate.condition, results)
        if made.step not in results or not results[made.step].well:
            return None
        written = value_outputs.read(results[made.step].outputs[made.output])
        value = _boolean(gate, written, f", written by step '{made.step}',")
    return "" if value == gate.wanted else f"'{gate.name}' is {str(value).lower()}"


def _boolean(gate: Gate, text: str, origin: str = "") -> bool:
    try:
        return bool(values.parse("boolean", text))
    except ValueError:
        message = f"the condition of '{gate.name}'{origin} is {redact(text)[:100]!r}: neither true nor false"
        raise UserError(message, code="AZD335") from None


def _is_skipped(made: Made, results: Mapping[str, Result]) -> bool:
    return all(maker.step in results and results[maker.step].reason == BRANCH for maker in made.makers)


def _taken(made: Made, results: Mapping[str, Result]) -> Made:
    """Of all that may make something, the one that was not skipped."""
    open_ = (each for each in made.makers if each.step not in results or results[each.step].reason != BRANCH)
    return next(open_, made)


def _needed(step: PlannedStep, name: str) -> bool:
    declared = step.component.inputs[name]
    return not declared.optional and declared.default is None


def settled(step: PlannedStep, results: Mapping[str, Result], plan: Plan) -> PlannedStep:
    """``step`` with what others gave it: values as text, and without what was skipped.

    UserError AZD334 for a value that does not fit its input.
    """
    found = {name: _settled(step, name, bound, results, plan) for name, bound in step.inputs.items()}
    if all(found[name] is bound for name, bound in step.inputs.items()):
        return step
    return replace(step, inputs={name: bound for name, bound in found.items() if bound is not None})


def _settled(step: PlannedStep, name: str, bound: Bound, results: Mapping[str, Result], plan: Plan) -> Bound | None:
    if not isinstance(bound, Made):
        return bound
    if _is_skipped(bound, results):
        declared = step.component.inputs[name]
        default = None if declared.is_data else values.default_text(declared.type, declared.default)
        return None if default is None else Text(default)
    made = _taken(bound, results)
    if plan.steps[made.step].outputs[made.output].kind in PRIMITIVES:
        return value_outputs.passed(step, name, made, results[made.step].outputs[made.output])
    return made


def withheld(plan: Plan, results: Mapping[str, Result]) -> dict[str, str]:
    """The pipeline's outputs that are not written because their steps were skipped, and why."""
    return {
        name: f"step '{made.step}' was skipped ({results[made.step].detail})"
        for name, made in plan.outputs.items()
        if _is_skipped(made, results)
    }


def given_out(plan: Plan, results: Mapping[str, Result]) -> dict[str, Made]:
    """The pipeline's other outputs, each as what made it."""
    return {name: _taken(made, results) for name, made in plan.outputs.items() if not _is_skipped(made, results)}
