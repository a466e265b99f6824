"""Outputs that are values: a step writes one as a file, and what it wrote is handed on as text.

The file holds the value as UTF-8; one line end after it does not count. What Azure's own mldesigner writes down is
taken where a step leaves no file: the property ``azureml.pipeline.control`` of its run, a JSON object of name and
value, or ``azureml.pipeline.control.NAME``; here a tag, logged to MLflow or to the metrics file.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azdistill.aml import values
from azdistill.aml.checks.values import break_out, fit
from azdistill.aml.models import PRIMITIVES
from azdistill.aml.source import Report
from azdistill.errors import UserError
from azdistill.local.plan.steps import PlannedStep, StepOutput, StepValue
from azdistill.local.run.listener import Tail
from azdistill.redact import redact

#: Bytes of the longest value: what is longer is data.
LONGEST = 64 * 1024
PROPERTY = "azureml.pipeline.control"
_SHOWN = 300


def names(step: PlannedStep) -> list[str]:
    """The outputs of a step that are values."""
    return [name for name, output in step.outputs.items() if output.kind in PRIMITIVES]


def read(path: Path) -> str:
    """The value in a file. Raises ValueError, which says what is wrong with it, or OSError."""
    if not stat.S_ISREG(path.lstat().st_mode):
        # A link may lead to what the step itself could not read.
        raise ValueError("is a link, not a file of its own")
    with open(path, "rb") as file:
        content = file.read(LONGEST + 3)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        if len(content) <= LONGEST:
            raise ValueError("is not UTF-8") from None
        text = ""
    text = text.removesuffix("\n").removesuffix("\r")
    if len(content) > LONGEST + 2 or len(text.encode()) > LONGEST:
        raise ValueError(f"is larger than {LONGEST // 1024} KiB: give data as a uri_file")
    return text


def wrong(step: PlannedStep, paths: Mapping[str, Path]) -> str:
    """What is wrong with the values that a step has written; empty where nothing is."""
    problems = []
    for name in names(step):
        kind = step.outputs[name].kind
        try:
            text = read(paths[name])
        except ValueError as error:
            problems.append(f"output '{name}' ({kind}) {error}")
            continue
        try:
            values.parse(kind, text)
        except ValueError as error:
            problems.append(f"output '{name}' is declared {kind}; what was written, {_short(repr(text))}, is {error}")
    return "; ".join(problems)


def take_logged(step: PlannedStep, paths: Mapping[str, Path], metrics: Path) -> None:
    """Write the files of values that a step has only logged."""
    absent = [name for name in names(step) if not os.path.lexists(paths[name])]
    logged: dict[str, Any] = {}
    for record in Tail(metrics).read() if absent else ():
        name, value = str(record.get("name", "")), record.get("value")
        if record["kind"] in ("tag", "property") and name == PROPERTY:
            logged |= _object(value)
        elif record["kind"] in ("tag", "property") and name.startswith(f"{PROPERTY}."):
            logged[name.removeprefix(f"{PROPERTY}.")] = value
    for name in logged.keys() & absent:
        # What is no text is told as such when it is read.
        paths[name].write_bytes(str(logged[name]).encode("utf-8", "surrogatepass"))


def _object(value: Any) -> dict[str, Any]:
    try:
        properties = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return {}
    return properties if isinstance(properties, dict) else {}


def passed(step: PlannedStep, name: str, source: StepOutput, path: Path) -> StepValue:
    """The value in ``path`` for the input ``name`` of ``step``: held to what a literal there would be held to.

    UserError AZD334, which names both steps, where it does not fit.
    """
    declared, report = step.component.inputs[name], Report()
    giver = f"step '{step.name}': input '{name}' is given what step '{source.step}' wrote as '{source.output}'"
    try:
        text = read(path)
    except ValueError as error:
        raise UserError(f"{giver}, which {error}", code="AZD334") from None
    fit(report, "it", declared, text, declared.where)
    if not report.problems:
        break_out(report, step.component, name, text, declared.where)
    for problem in report.problems:
        raise UserError(f"{giver}: {_short(problem.message)}", code="AZD334", hint=_short(problem.hint))
    return StepValue(text, source.step, source.output)


def _short(text: str) -> str:
    # Hidden before it is cut: of half a secret nobody would know that it is one.
    text = redact(text)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 4]} ..."
