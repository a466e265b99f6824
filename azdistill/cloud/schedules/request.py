"""The schedule that a file asks for: when, what is run then, and whether that sees new data.

azure-ai-ml and Azure ML freeze some inputs when a schedule is made; what stays fresh instead is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from azdistill import recipe as recipes
from azdistill.aml import reader
from azdistill.aml.expressions import NAME, TRIGGER_TIME, references_in
from azdistill.aml.loader import is_schedule
from azdistill.aml.models import Binding, CommandComponent, Input, Pipeline
from azdistill.aml.source import Report
from azdistill.cloud.submit.fingerprint import fingerprint
from azdistill.cloud.submit.prepare import Submission, prepare, prepare_mapping
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

#: Types of inputs that hold models; these and the inputs named here change by a person's decision.
_MODELS = ("custom_model", "mlflow_model", "triton_model")
_SETTLED = ("prompts", "system_prompt")
_DATA = ("training_data", "validation_data", "test_data", "dataset")


@dataclass(frozen=True)
class DesiredSchedule:
    """A schedule as a file asks for it; ``problems`` are warnings about its trigger."""

    name: str
    schedule: Schedule
    prepared: Submission
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


@dataclass(frozen=True)
class Frozen:
    """An input that every firing would find as it is now, and ``why``; ``instead`` is the form that stays fresh."""

    name: str
    why: str
    instead: str


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


def frozen_inputs(prepared: Submission) -> list[Frozen]:
    """The data inputs that no firing would see changed."""
    return [
        frozen
        for name, declared in prepared.pipeline.inputs.items()
        if declared.is_data and declared.path and not _is_settled(name, declared)
        for frozen in _frozen(prepared, name, str(declared.path))
    ]


def check_fresh(prepared: Submission, allowed: tuple[str, ...] = ()) -> list[Problem]:
    """AZD450 for each data input that would be frozen and is not ``allowed`` to be."""
    report, frozen = Report(), frozen_inputs(prepared)
    for each in frozen:
        hint = f"{each.instead}\nor accept it: --allow-frozen {each.name}"
        message = f"a schedule would never see new rows in '{each.name}': {each.why}"
        if each.name not in allowed and prepared.reading is not None:
            origin = prepared.reading.origin
            report.extend([origin.problem("AZD450", message, ("data", each.name), hint=hint)])
        elif each.name not in allowed:
            report.error("AZD450", message, prepared.pipeline.inputs[each.name].where, hint=hint)
    for name in allowed:
        if name not in {each.name for each in frozen}:
            message = f"--allow-frozen {name}: no data input of that name would be frozen"
            report.extend([Problem("AZD450", message, "--allow-frozen", severity="warning")])
    return report.problems


def reuse(prepared: Submission) -> list[str]:
    """What each firing takes from earlier runs, and what is kept as it is now, in sentences."""
    components = {name: step.component for name, step in prepared.pipeline.jobs.items()}
    looked_up = [name for name, component in components.items() if getattr(component, "name", "") == "resolve_data"]
    sentences = []
    if looked_up:
        sentences.append(f"each firing looks its data up anew ({', '.join(looked_up)})")
    if prepared.pipeline.settings.force_rerun:
        sentences.append("each firing runs every step anew (force_rerun)")
    elif looked_up:
        sentences.append("each firing runs every step after it: Azure ML compares paths, and theirs is new each time")
    else:
        sentences.append("each firing reuses every step whose inputs, code and settings are those of an earlier run")
    if any("answers" in step.outputs for step in prepared.pipeline.jobs.values()):
        sentences.append(
            "teacher answers for rows already asked are taken from the store of answers, and not paid again"
        )
    settled = [name for name, each in prepared.pipeline.inputs.items() if each.is_data and _is_settled(name, each)]
    if settled:
        sentences.append(f"as they are now, at every firing: {', '.join(settled)}")
    return sentences


def _is_settled(name: str, declared: Input) -> bool:
    return name not in _DATA and (declared.type in _MODELS or name in _SETTLED)


def _frozen(prepared: Submission, name: str, path: str) -> Iterator[Frozen]:
    if any(".".join(reference.path) in (NAME.path, TRIGGER_TIME.path) for reference in references_in(path)):
        return  # Azure ML makes another path of it at each firing.
    local = _instead(prepared, name, "azureml:NAME", "register the data: az ml data create --name NAME --path ...")
    if path.startswith("azureml://") or "://" in path:
        if not prepared.pipeline.settings.force_rerun and not _always_read(prepared.pipeline, name):
            why = "its path is the same at each firing, so Azure ML reuses the steps that read it before"
            yield Frozen(name, why, _instead(prepared, name, path, ""))
    elif path.startswith("azureml:"):
        asset, _, version = path.removeprefix("azureml:").partition("@" if "@" in path else ":")
        latest = "azure-ai-ml turns @latest into today's version when the schedule is made"
        why = latest if "@" in path else f"version {version} of {asset} never changes"
        yield Frozen(name, why, _instead(prepared, name, f"azureml:{asset}", ""))
    else:
        yield Frozen(name, "the file is uploaded when the schedule is made, and read from there ever after", local)


def _always_read(pipeline: Pipeline, name: str) -> bool:
    """Whether only steps that run every time read this input."""
    path = ("parent", "inputs", name)
    readers = [
        step.component
        for step in pipeline.jobs.values()
        if any(isinstance(value, Binding) and value.path == path for value in step.inputs.values())
    ]
    return bool(readers) and all(isinstance(each, CommandComponent) and not each.is_deterministic for each in readers)


def _instead(prepared: Submission, name: str, reference: str, before: str) -> str:
    lead, name = f"{before}; then write" if before else "write", name.removesuffix("_folder")
    if prepared.reading is not None and name != "dataset":
        return f"{lead}\n  data:\n    {name}: {{latest: {reference}}}"
    if name == "dataset":
        return "give the splits as training_data, validation_data and test_data: {latest: REFERENCE} each"
    short = f"{reference}@latest" if "://" not in reference else reference
    return (
        f"{lead} a step that looks it up (component resolve_data) and bind its output 'data' to where '{name}' went:\n"
        f"  inputs: {{reference: '{short}', as_of: '{TRIGGER_TIME}'}}"
    )
