"""A recipe or pipeline against the workspace: its computes, quota, teacher and connections; and the job that probes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from azdistill import assets
from azdistill.cloud.doctor.finding import FAIL, OK, WARN, Finding
from azdistill.cloud.submit.plan import plan_submission
from azdistill.cloud.submit.prepare import Submission, prepare, prepare_mapping
from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.cloud.workspace.rest import part
from azdistill.errors import Problem, SpecError
from azdistill.sizing import skus

#: Seconds that the probe may take: an image may have to be built first; the look itself takes two minutes.
_PROBE_SECONDS = 3600
_CONNECTION = re.compile(r"\$?\{?connection:([\w.-]+)\}?")


def read(file: Path, profile: str | None) -> tuple[Submission | None, list[Finding]]:
    """The prepared pipeline and what is wrong with it; None where it cannot be submitted at all. Asks nobody."""
    try:
        prepared = prepare(file, profile=profile)
    except SpecError as error:
        return None, [_finding(problem, FAIL) for problem in error.problems if problem.severity == "error"]
    warnings = [_finding(problem, WARN) for problem in prepared.warnings]
    return prepared, warnings or [Finding("recipe", OK, f"{file.name} can be submitted", exit_code=2)]


def _finding(problem: Problem, level: str) -> Finding:
    place = ":".join(str(part) for part in (problem.file, problem.line, problem.column) if part)
    text = f"{problem.code}: {problem.message}" + (f" ({place})" if place else "")
    return Finding("recipe", level, text, problem.hint, 2)


def against(connection: Connection, prepared: Submission) -> Iterator[Finding]:
    """The plan's problems: computes that are not there, sizes that do not fit, quota that is too small."""
    plan = plan_submission(connection, prepared)
    for problem in plan.problems:
        yield Finding("plan", FAIL, f"{problem.code}: {problem.message}", problem.hint)
    for warning in plan.warnings:
        yield Finding("plan", WARN, warning)
    if not plan.problems:
        sizes = sorted({step.size or step.compute for step in plan.steps})
        yield Finding("plan", OK, f"{len(plan.steps)} steps on {', '.join(sizes)}: there, and within the quota")


def references(connection: Connection, prepared: Submission) -> Iterator[Finding]:
    """The connections that the pipeline names: whether they are there."""
    for name in sorted(set(_CONNECTION.findall(str(prepared.mapping)))):
        with explain(f"looking up the connection {name}"):
            body = connection.rest.find(f"{connection.workspace_id}/connections/{part(name)}")
        if body is None:
            todo = "az ml connection create, or azdistill endpoint up, makes one"
            yield Finding("connection", FAIL, f"the workspace has no connection '{name}'", todo)
        else:
            yield Finding("connection", OK, f"{name} is there ({(body.get('properties') or {}).get('authType')})")


def teacher(prepared: Submission | None) -> dict[str, Any]:
    """The teacher's address and key reference, as the probe's inputs; nothing where there is no endpoint."""
    inputs = (prepared.mapping.get("inputs") or {}) if prepared else {}
    texts = ((name, inputs.get(name)) for name in ("teacher_endpoint", "teacher_key"))
    return {name: text for name, text in texts if isinstance(text, str) and text}


def probe(compute: str, inputs: Mapping[str, Any], folder: Path, profile: str | None) -> Submission:
    """The job that probes ``compute``: a cluster's name, or an instance type for serverless compute."""
    step: dict[str, Any] = {
        "type": "command",
        "component": str(assets.component("probe")),
        "inputs": dict(inputs),
        "limits": {"timeout": _PROBE_SECONDS},
    }
    # A size of our list, or what is written like one.
    if skus.find(compute) is not None or compute.lower().startswith("standard_"):
        step["compute"] = "azureml:serverless"
        step["resources"] = {"instance_type": compute}
    else:
        step["compute"] = f"azureml:{compute.removeprefix('azureml:')}"
    mapping = {
        "type": "pipeline",
        "display_name": f"probe of {compute}",
        "experiment_name": "azdistill-doctor",
        "jobs": {"probe": step},
    }
    return prepare_mapping(mapping, folder, source="azdistill doctor", profile=profile)
