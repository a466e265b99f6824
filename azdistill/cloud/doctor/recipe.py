"""A recipe or pipeline against the workspace: what it says, its computes and quota, its teacher and connections."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from azdistill.cloud.doctor.finding import FAIL, OK, WARN, Finding
from azdistill.cloud.submit.prepare import Prepared, prepare
from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.cloud.workspace.rest import part
from azdistill.errors import Problem, SpecError

_CONNECTION = re.compile(r"\$?\{?connection:([\w.-]+)\}?")


def read(file: Path, profile: str | None) -> tuple[Prepared | None, list[Finding]]:
    """The prepared pipeline and what is wrong with it; None where it cannot be submitted at all. Asks nobody."""
    try:
        prepared = prepare(file, profile=profile)
    except SpecError as error:
        return None, [_said(problem, FAIL) for problem in error.problems if problem.severity == "error"]
    warned = [_said(problem, WARN) for problem in prepared.warnings]
    return prepared, warned or [Finding("recipe", OK, f"{file.name} can be submitted", exit_code=2)]


def _said(problem: Problem, level: str) -> Finding:
    place = ":".join(str(part) for part in (problem.file, problem.line, problem.column) if part)
    said = f"{problem.code}: {problem.message}" + (f" ({place})" if place else "")
    return Finding("recipe", level, said, problem.hint, 2)


def against(connection: Connection, prepared: Prepared) -> Iterator[Finding]:
    """The plan's problems: computes that are not there, sizes that do not fit, quota that is too small."""
    from azdistill.cloud.submit.plan import make_plan

    plan = make_plan(connection, prepared)
    for problem in plan.problems:
        yield Finding("plan", FAIL, f"{problem.code}: {problem.message}", problem.hint)
    for warning in plan.warnings:
        yield Finding("plan", WARN, warning)
    if not plan.problems:
        sizes = sorted({step.size or step.compute for step in plan.steps})
        yield Finding("plan", OK, f"{len(plan.steps)} steps on {', '.join(sizes)}: there, and within the quota")


def references(connection: Connection, prepared: Prepared) -> Iterator[Finding]:
    """The connections that the pipeline names: whether they are there."""
    from azure.core.exceptions import ResourceNotFoundError

    for name in sorted(set(_CONNECTION.findall(str(prepared.mapping)))):
        with explain(f"looking up the connection {name}"):
            try:
                found = connection.rest.call("GET", f"{connection.workspace_id}/connections/{part(name)}")
            except ResourceNotFoundError:
                todo = "az ml connection create, or azdistill endpoint up, makes one"
                yield Finding("connection", FAIL, f"the workspace has no connection '{name}'", todo)
                continue
        kind = (found.get("properties") or {}).get("authType")
        yield Finding("connection", OK, f"{name} is there ({kind})")


def teacher(prepared: Prepared | None) -> dict[str, Any]:
    """The teacher's address and key reference, as the probe's inputs; nothing where there is no endpoint."""
    inputs = (prepared.mapping.get("inputs") or {}) if prepared else {}
    found = {name: inputs.get(name) for name in ("teacher_endpoint", "teacher_key")}
    return {name: value for name, value in found.items() if isinstance(value, str) and value}
