"""What a step of a kind that azdistill does not look into (spark, automl, ...) brings along from this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azdistill.aml import reader
from azdistill.aml.fields import absolute
from azdistill.aml.models import Step
from azdistill.compile.absolute_paths import absolute_paths
from azdistill.errors import SpecError


def written(step: Step, node: Mapping[str, Any]) -> Mapping[str, Any]:
    """All that the step says, its component's file read in place of its name; local paths absolute."""
    said = dict(node or step.where.value or {})
    component = said.get("component")
    file = absolute(step.where, component) if isinstance(component, str) else None
    if isinstance(file, Path) and file.is_file():
        try:
            source = reader.read(file)
        except SpecError:
            return said
        said["component"] = absolute_paths(source.data, source.base) if isinstance(source.data, dict) else source.data
    return said


def code_of(step: Step) -> Path | None:
    """The local folder or file that the step's code is."""
    said = written(step, {})
    component = said.get("component")
    holder = component if isinstance(component, Mapping) else said
    code = holder.get("code")
    found = absolute(step.where, code) if isinstance(code, str) else None
    return found if isinstance(found, Path) and found.exists() else None
