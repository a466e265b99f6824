"""From a file to the schedule that it asks for: when, and what is run then."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from azdistill import recipe as recipes
from azdistill.aml import reader
from azdistill.aml.expressions import TRIGGER_TIME
from azdistill.aml.loader import is_schedule
from azdistill.cloud.submit.fingerprint import fingerprint
from azdistill.cloud.submit.prepare import Prepared, prepare, prepare_mapping
from azdistill.errors import Problem, UserError
from azdistill.recipe.schedule import Schedule
from azdistill.recipe.schedule_file import ScheduleFile, read_schedule
from azdistill.trees import digest

OWNER = "azdistill.owner"
FINGERPRINT = "azdistill.fingerprint"
#: What a schedule's runs carry.
SCHEDULE = "azdistill.schedule"
#: The property that keeps what the schedule said, so that a change can be told in words.
SUMMARY = "azdistill.said"


@dataclass(frozen=True)
class DesiredSchedule:
    """A schedule as a file asks for it; ``problems`` are warnings about its trigger."""

    name: str
    schedule: Schedule
    prepared: Prepared
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def summary(self) -> dict[str, Any]:
        """What is told of a change: inputs as text, and one hash for each step."""
        pipeline, mapping = self.prepared.pipeline, self.prepared.mapping
        steps = {
            name: fingerprint(replace(pipeline, jobs={name: step}), {"jobs": {name: mapping["jobs"][name]}}, {})[:12]
            for name, step in pipeline.jobs.items()
        }
        inputs = mapping.get("inputs") or {}
        texts = {name: str(each.get("path") if isinstance(each, dict) else each) for name, each in inputs.items()}
        return {"inputs": texts, "steps": steps}

    @property
    def fingerprint(self) -> str:
        """sha256 over the trigger and what is run."""
        trigger = self.schedule.model_dump(mode="json", exclude_none=True)
        return digest({"trigger": trigger, "job": self.prepared.fingerprint, "description": self.description})


def read_desired(
    file: Path, *, name: str | None = None, sets: Mapping[str, str] | None = None, profile: str | None = None
) -> DesiredSchedule:
    """The schedule in ``file``: a recipe with ``schedule:``, or an Azure ML schedule. SpecError, UserError AZD451."""
    data = reader.read(file).data
    if is_schedule(data):
        return _of_schedule_file(file, read_schedule(file), name, sets or {}, profile)
    if not recipes.is_recipe(data):
        message = f"{file} says no schedule: it is neither a recipe nor an Azure ML schedule"
        hint = "write a schedule: $schema .../schedule.schema.json, name, trigger, create_job: FILE"
        raise UserError(message, code="AZD451", hint=hint)
    return _of_recipe(file, name, sets or {}, profile)


def _of_recipe(file: Path, name: str | None, sets: Mapping[str, str], profile: str | None) -> DesiredSchedule:
    first = prepare(file, sets, profile=profile)
    recipe = first.reading.recipe if first.reading else None
    assert recipe is not None
    if recipe.schedule is None:
        raise UserError(f"{file} has no schedule:", code="AZD451", hint="write type: cron or type: recurrence under it")
    looked_up = "as_of" in first.pipeline.inputs and "as_of" not in sets
    prepared = prepare(file, {**sets, "as_of": str(TRIGGER_TIME)}, profile=profile) if looked_up else first
    chosen = name or (recipe.name and valid_name(recipe.name)) or valid_name(file.stem)
    return DesiredSchedule(check_name(chosen), recipe.schedule, prepared, recipe.description or "", dict(recipe.tags))


def _of_schedule_file(
    file: Path, written: ScheduleFile, name: str | None, sets: Mapping[str, str], profile: str | None
) -> DesiredSchedule:
    mapping = {**written.mapping, "inputs": {**(written.mapping.get("inputs") or {})}}
    for key, value in sets.items():
        if key not in mapping["inputs"]:
            raise UserError(f"--set {key}: the pipeline has no input '{key}'", code="AZD361")
        old = mapping["inputs"][key]
        mapping["inputs"][key] = {**old, "path": value} if isinstance(old, dict) else value
    prepared = prepare_mapping(mapping, written.folder, source=str(written.job_file), profile=profile)
    chosen = check_name(name or written.name)
    return DesiredSchedule(chosen, written.schedule, prepared, written.description, written.tags, written.warnings)


def valid_name(text: str) -> str:
    """``text`` in characters that a schedule's name may have."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-_")[:254] or "schedule"


def check_name(name: str) -> str:
    """``name``, or UserError AZD451 where Azure ML would refuse it."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}", name):
        hint = "letters, digits, - and _, beginning with a letter or digit"
        raise UserError(f"'{name}' is no name for a schedule", code="AZD451", hint=hint)
    return name
