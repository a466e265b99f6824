"""What the steps of a run came to, and what follows from that for those after them: whether a step is of a branch that
is taken, what its inputs turned out to be, and whether one that failed is worth another attempt.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from azdistill.aml import values
from azdistill.aml.models import PRIMITIVES
from azdistill.errors import AzdistillError, MachineError, UserError
from azdistill.local.outputs import value_outputs
from azdistill.local.outputs.manifest import Manifest
from azdistill.local.plan.steps import Bound, Gate, Local, Plan, PlannedStep, StepOutput, Text
from azdistill.local.runners.base import Ended
from azdistill.local.store.machine_errors import disk_errors
from azdistill.redact import redact

#: Why a step was skipped: its branch was not taken (or that of a step that it needs), or another step failed.
BRANCH, FAILURE = "branch", "failure"
#: Seconds before the first retry and before any later one.
_FIRST, _LONGEST = 1.0, 60.0
#: HTTP statuses: too many requests, a bad gateway, unavailable, a gateway that waited too long.
_OVERLOADED = (429, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class Result:
    """What a step came to. ``outputs`` are the committed ones, and ``manifest`` says what they were then; ``metrics``
    is its metrics file.

    ``reason`` says why it was skipped, in a word (see :func:`skip`); ``detail`` for people.
    """

    status: str
    seconds: float = 0.0
    exit_code: int | None = None
    error: str = ""
    outputs: Mapping[str, Path] = field(default_factory=dict)
    manifest: Manifest = field(default_factory=lambda: Manifest({}))
    metrics: Path | None = None
    key: str | None = None
    failure: BaseException | None = None
    #: Whether another attempt may end otherwise.
    again: bool = False
    reason: str = ""
    detail: str = ""

    @property
    def well(self) -> bool:
        """Whether nothing keeps what comes after it from running, if only on what it needs itself."""
        return self.status in ("completed", "cached") or self.reason == BRANCH


def text_of(bound: Bound, results: Mapping[str, Result]) -> str:
    """An input as the command gets it: its value, or where its data lies."""
    if isinstance(bound, Text):
        return bound.text
    if isinstance(bound, Local):
        return str(bound.path)
    path = results[bound.step].outputs.get(bound.output)
    if path is None:
        raise MachineError(f"step '{bound.step}' has no output '{bound.output}'", code="AZD332")
    return str(path)


def skip(step: PlannedStep, results: Mapping[str, Result]) -> Result | None:
    """What ``step`` comes to without being run, where ``results`` tell that its branch is not taken."""
    try:
        why = skipped(step, results)
    except AzdistillError as error:
        return Result("failed", error=error.message, failure=error)
    return Result("skipped", reason=BRANCH, detail=why) if why else None


def skipped(step: PlannedStep, results: Mapping[str, Result]) -> str:
    """Why ``step`` is not run though nothing failed; empty where it is, or where that is not known yet.

    UserError AZD335 for a condition that turned out neither true nor false.
    """
    for gate in step.under.gates:
        reason = _closed(gate, results)
        # Of several the outermost decides, whichever is known first: what is told does not depend on who was faster.
        if reason or reason is None:
            return reason or ""
    for name, bound in step.inputs.items():
        declared = step.component.inputs[name]
        is_needed = not declared.optional and declared.default is None
        if isinstance(bound, StepOutput) and is_needed and _is_skipped(bound, results):
            return f"it needs '{bound.step}', which was skipped"
    return ""


def _closed(gate: Gate, results: Mapping[str, Result]) -> str | None:
    """Why a gate lets nobody through; empty where it does, None where that is not known yet."""
    if isinstance(gate.condition, Text):
        value = _boolean(gate, gate.condition.text)
    elif _is_skipped(gate.condition, results):
        return f"the condition of '{gate.name}' is not known: '{gate.condition.step}' was skipped"
    else:
        source = _taken(gate.condition, results)
        if source.step not in results or not results[source.step].well:
            return None
        text = value_outputs.read(results[source.step].outputs[source.output])
        value = _boolean(gate, text, f", written by step '{source.step}',")
    return "" if value == gate.wanted else f"'{gate.name}' is {str(value).lower()}"


def _boolean(gate: Gate, text: str, origin: str = "") -> bool:
    try:
        return bool(values.parse("boolean", text))
    except ValueError:
        message = f"the condition of '{gate.name}'{origin} is {redact(text)[:100]!r}: neither true nor false"
        raise UserError(message, code="AZD335") from None


def _is_skipped(source: StepOutput, results: Mapping[str, Result]) -> bool:
    return all(maker.step in results and results[maker.step].reason == BRANCH for maker in source.makers)


def _taken(source: StepOutput, results: Mapping[str, Result]) -> StepOutput:
    """Of all that may make something, the one that was not skipped."""
    open_ = (each for each in source.makers if each.step not in results or results[each.step].reason != BRANCH)
    return next(open_, source)


def settled(step: PlannedStep, results: Mapping[str, Result], plan: Plan) -> PlannedStep:
    """``step`` with what others gave it: values as text, and without what was skipped.

    UserError AZD334 for a value that does not fit its input.
    """
    inputs = {name: _settled(step, name, bound, results, plan) for name, bound in step.inputs.items()}
    if all(inputs[name] is bound for name, bound in step.inputs.items()):
        return step
    return replace(step, inputs={name: bound for name, bound in inputs.items() if bound is not None})


def _settled(step: PlannedStep, name: str, bound: Bound, results: Mapping[str, Result], plan: Plan) -> Bound | None:
    if not isinstance(bound, StepOutput):
        return bound
    if _is_skipped(bound, results):
        declared = step.component.inputs[name]
        default = None if declared.is_data else values.default_text(declared.type, declared.default)
        return None if default is None else Text(default)
    source = _taken(bound, results)
    if plan.steps[source.step].outputs[source.output].kind in PRIMITIVES:
        return value_outputs.passed(step, name, source, results[source.step].outputs[source.output])
    return source


def withheld(plan: Plan, results: Mapping[str, Result]) -> dict[str, str]:
    """The pipeline's outputs that are not written because their steps were skipped, and why."""
    return {
        name: f"step '{source.step}' was skipped ({results[source.step].detail})"
        for name, source in plan.outputs.items()
        if _is_skipped(source, results)
    }


def given_out(plan: Plan, results: Mapping[str, Result]) -> dict[str, StepOutput]:
    """The pipeline's other outputs, each as what made it."""
    return {name: _taken(source, results) for name, source in plan.outputs.items() if not _is_skipped(source, results)}


def is_worth_another_attempt(exit_code: int | None) -> bool:
    """Whether a step says of itself that it may succeed next time (sysexits: EX_TEMPFAIL)."""
    return exit_code == os.EX_TEMPFAIL


def is_passing(error: MachineError) -> bool:
    """Whether an error of the machine is of the moment: the Docker engine did not answer, or lost the output."""
    if error.code == "AZD395":
        return True
    # The engine's own refusals are final, but for those in which it says that it failed itself.
    cause: Any = error.__cause__
    if error.code != "AZD393" or cause is None:
        return False
    status = getattr(getattr(cause, "response", None), "status_code", None)
    return status in _OVERLOADED or (status is None and isinstance(cause, OSError))


def pause_before(retried: int) -> float:
    """Seconds to wait before a step is tried again that was so ``retried`` times already."""
    return min(_FIRST * float(2**retried), _LONGEST)


def failed(ended: Ended, error: str) -> Result:
    """What an attempt came to whose command, or what it left, was not as it should be."""
    return Result("failed", ended.seconds, ended.returncode, error)


def stopped_by(step: PlannedStep, error: Exception) -> Result:
    """What a step came to that an error ended: what the machine refused in our words, a defect of ours as it is."""
    failure = _in_our_words(f"step '{step.name}'", error)
    message = failure.message if isinstance(failure, AzdistillError) else f"{type(failure).__name__}: {failure}"
    return Result("failed", error=message, failure=failure)


def for_want_of_room(step: PlannedStep, result: Result, *, removed: bool) -> Result:
    """What a step came to whose command failed on a full disk; ``removed``: what it had written is gone."""
    text = os.strerror(errno.ENOSPC) + ("; what it had written was removed" if removed else "")
    failure = _in_our_words(f"step '{step.name}': {result.error}", OSError(errno.ENOSPC, text))
    return replace(result, error=f"{result.error}: {text}", failure=failure)


def _in_our_words(doing: str, error: Exception) -> Exception:
    try:
        with disk_errors(doing):
            raise error
    except Exception as told:  # noqa: BLE001 - told at the end of the run
        return told
