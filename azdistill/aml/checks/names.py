"""Names that Azure ML accepts: azure-ai-ml's ``ComponentNameStr``, ``is_valid_node_name``, ``VALID_KEY_PATTERN``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from azdistill.aml.checks.survey import Survey
from azdistill.aml.environments import IMAGE_HINT, is_image
from azdistill.aml.models import CommandComponent
from azdistill.aml.scope import Scope
from azdistill.aml.source import Report, Where
from azdistill.errors import Severity

_COMPONENT = re.compile(r"[a-z][a-z\d_]{0,254}")
#: ARM's own pattern for jobs and schedules.
JOB_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,254}")
_STEP = re.compile(r"[a-z_][a-z\d_]*")
_KEY = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*(\.[a-zA-Z_][a-zA-Z0-9_]*)*")
#: Inputs become variables of the command's environment; these would hide the ones that every command needs.
RESERVED = ("path", "ld_library_path", "user", "logname", "home", "pwd", "shell")


def names_that_azure_refuses(survey: Survey, report: Report) -> None:
    """AZD115: names of components, jobs, steps, inputs and outputs."""
    for component in survey.interfaces():
        if component.name is not None and not _COMPONENT.fullmatch(component.name):
            # The component of a step is sent without its name, so that the pipeline runs all the same.
            is_root = survey.is_root(component)
            message = f"'{component.name}' is no name for a component"
            message += "" if is_root else ": a pipeline runs it, but it cannot be registered"
            hint = "lower-case letters, digits and '_', starting with a letter, at most 255"
            severity: Severity = "error" if is_root else "warning"
            report.note("AZD115", message, component.where / "name", severity=severity, hint=hint)
    for scope in survey.scopes:
        name = (scope.where / "name").value
        if scope.is_job and isinstance(name, str) and not JOB_NAME.fullmatch(name):
            hint = "letters, digits, '-' and '_', at most 255; display_name takes any text"
            report.error("AZD115", f"'{name}' is no name for a job", scope.where / "name", hint=hint)
    for _, step in survey.steps():
        if not _STEP.fullmatch(step.name):
            message = f"'{step.name}' is no name for a step"
            report.error("AZD115", message, step.where, key=True, hint="lower-case letters, digits and '_'")
    specs: list[CommandComponent | Scope] = [*survey.components, *survey.scopes]
    for spec in specs:
        _keys(spec.where / "inputs", spec.inputs, report)
        _keys(spec.where / "outputs", spec.outputs, report)


def _keys(where: Where, table: Mapping[str, Any], report: Report) -> None:
    spellings: dict[str, str] = {}
    for name in table:
        if not _KEY.fullmatch(name):
            message = f"'{name}' is no name for one of the {where.steps[-1]}"
            report.error("AZD115", message, where / name, key=True, hint="letters, digits and '_'")
        elif name.lower() in spellings:
            message = f"'{name}' and '{spellings[name.lower()]}' differ only in case"
            report.error("AZD115", message, where / name, key=True, hint="Azure ML takes them for one name")
        spellings.setdefault(name.lower(), name)


def variables_that_cannot_be(survey: Survey, report: Report) -> None:
    """AZD115: names of environment variables."""
    for _, step in survey.steps():
        for name in step.environment_variables:
            if not name or "=" in name:
                where, message = step.where / "environment_variables" / name, f"'{name}' is no name for a variable"
                hint = "NAME: value, each on a line of its own" if name else "give it a name"
                report.error("AZD115", message, where, key=True, hint=hint)


def images_that_cannot_be(survey: Survey, report: Report) -> None:
    """AZD115: names of Docker images."""
    for environment in survey.environments:
        if environment.image and not is_image(environment.image):
            message = f"'{environment.image}' is no name for an image"
            report.error("AZD115", message, environment.where / "image", hint=IMAGE_HINT)


def reserved_names(survey: Survey, report: Report) -> None:
    """AZD116: inputs and outputs of components."""
    for component in survey.interfaces():
        for table, kind in ((component.inputs, "inputs"), (component.outputs, "outputs")):
            for name in table:
                if name.lower() in RESERVED:
                    message = f"'{name}' is reserved and cannot name one of the {kind}"
                    report.error("AZD116", message, component.where / kind / name, key=True, hint=f"try '{name}_name'")
