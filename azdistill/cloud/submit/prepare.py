"""From a file to what would be submitted: checked, placed and complete, without asking any service."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from azdistill import aml, compile
from azdistill import recipe as recipes
from azdistill.aml import Pipeline, reader, service
from azdistill.aml.checks.survey import survey
from azdistill.aml.loader import kind_of
from azdistill.aml.models import Data, Literal
from azdistill.aml.source import Report, Where
from azdistill.cloud.submit.command_steps import place
from azdistill.cloud.submit.fingerprint import fingerprint
from azdistill.cloud.workspace.clouds import METADATA_URL
from azdistill.cloud.workspace.profiles import Profile, Project, find_profile, find_project
from azdistill.compile.absolute_paths import absolute_paths
from azdistill.compile.naming import distilled_name, short_name, student_name
from azdistill.compile.sets import apply_sets
from azdistill.errors import Problem, raise_errors
from azdistill.recipe import Reading


@dataclass(frozen=True)
class Submission:
    """A pipeline that is ready to be submitted.

    ``mapping`` is plain Azure ML with absolute paths, ``pipeline`` the same as a model; ``environments`` are ready ones
    that stand in for those of the components, by name; ``reading`` is the recipe where it was made from one;
    ``unfired`` are the inputs that only a schedule fills in, which is an error where a person starts it.
    """

    mapping: dict[str, Any]
    pipeline: Pipeline
    source: str
    fingerprint: str
    profile: Profile = field(default_factory=Profile)
    project: Project = field(default_factory=Project)
    reading: Reading | None = None
    warnings: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unfired: list[Problem] = field(default_factory=list)

    @property
    def max_gpu_hours(self) -> float | None:
        """The most GPU hours that the run may need: the profile's ceiling or the recipe's, whichever is lower."""
        recipe = self.reading.recipe if self.reading else None
        ceilings = (self.profile.max_gpu_hours, recipe.limits.max_gpu_hours if recipe else None)
        return min((hours for hours in ceilings if hours is not None), default=None)

    @property
    def student(self) -> str | None:
        """The student's short name, as in ``<student>-distilled``."""
        if self.reading is not None and self.reading.recipe is not None:
            return student_name(self.reading.recipe.student.model, self.reading.folder)
        model = self._given("student_weights", "student_id")
        return student_name(model, self.pipeline.where.source.base) if model else None

    @property
    def teacher(self) -> str | None:
        """The teacher's short name."""
        if self.reading is not None and self.reading.recipe is not None:
            return short_name(self.reading.recipe.teacher.model)
        model = self._given("teacher_model", "teacher_weights", "teacher_id")
        return short_name(model) if model else None

    @property
    def model(self) -> str | None:
        """The name that the distilled model is registered under; None for a pipeline that trains none."""
        trains = any(getattr(step.component, "name", "") == _TRAINING for step in self.pipeline.jobs.values())
        return self._given("model_name") or (distilled_name(self.student) if trains and self.student else None)

    def tags(self) -> dict[str, str]:
        """The tags that every job of ours carries (docs/contributing/cloud.md)."""
        tags = {
            "azdistill.version": version("azdistill"),
            "azdistill.fingerprint": self.fingerprint,
            "azdistill.student": self.student,
            "azdistill.teacher": self.teacher,
            "azdistill.model": self.model,
        }
        return {name: text for name, text in tags.items() if text}

    def _given(self, *inputs: str) -> str | None:
        """The text of the first of these inputs that has one."""
        for name in inputs:
            declared = self.pipeline.inputs.get(name)
            value = declared and (declared.path if declared.is_data else declared.default)
            if isinstance(value, str) and value:
                return value
        return None


_ENV = re.compile(r"\s*(?:\$\{)?env:([A-Za-z_]\w*)\}?\s*")
_KEY_HINT = (
    "keep the key in a workspace connection (`az ml connection create`, type: api_key) and write "
    "connection:NAME, or in a Key Vault and write keyvault:VAULT/SECRET, or write entra where the endpoint takes it"
)
#: The warning that a local run refuses a step, which says nothing of a job.
ONLY_ON_AZURE = "AZD194"
#: The component whose output is the distilled model.
_TRAINING = "finetune_student"


def prepare(
    file: str | Path,
    sets: Mapping[str, str] | None = None,
    *,
    project: Project | None = None,
    profile: str | Profile | None = None,
    experiment: str | None = None,
) -> Submission:
    """The recipe or pipeline in ``file`` with ``sets`` applied, and under them those of the profile.

    SpecError with everything that is wrong, or that could not work in a job. Asks no service.
    """
    folder = Path(file).resolve().parent
    project = project or find_project(folder)
    chosen = profile if isinstance(profile, Profile) else find_profile(profile, folder)
    sets = {**chosen.sets, **(sets or {})}
    source = reader.read(file)
    if recipes.is_recipe(source.data):
        built = compile.compile_recipe(file, sets)
        return _prepared(built.mapping, folder, str(file), chosen, project, experiment, built=built)
    if (kind := kind_of(source.data)) in ("command job", "sweep job"):
        report = Report()
        hint = "send it with: az ml job create -f FILE; or make it the step of a pipeline"
        report.error("AZD114", f"a {kind} by itself is not submitted by azdistill", Where(source), hint=hint)
        raise_errors(report.problems)
    # The file itself is read first, so that what is wrong in it is told with its lines.
    opened = apply_sets(aml.load_pipeline(file), sets)
    raise_errors(aml.check(opened) + refused(opened))
    mapping = _with_sets(absolute_paths(source.data, source.base), opened, sets)
    prepared = _prepared(mapping, folder, str(file), chosen, project, experiment)
    return replace(prepared, unfired=service.unfired(opened))


def prepare_mapping(
    mapping: Mapping[str, Any],
    folder: str | Path,
    *,
    source: str = "pipeline",
    project: Project | None = None,
    profile: str | Profile | None = None,
    reading: Reading | None = None,
) -> Submission:
    """As :func:`prepare`, for a pipeline made in memory whose relative paths start at ``folder``."""
    start = Path(folder)
    chosen = profile if isinstance(profile, Profile) else find_profile(profile, start)
    prepared = _prepared(absolute_paths(mapping, start), start, source, chosen, project or find_project(start))
    return replace(prepared, reading=reading)


def _prepared(
    mapping: Mapping[str, Any],
    folder: Path,
    source: str,
    profile: Profile,
    project: Project,
    experiment: str | None = None,
    built: compile.CompiledRecipe | None = None,
) -> Submission:
    mapping = {**mapping, "experiment_name": experiment} if experiment else mapping
    before = aml.pipeline_from(mapping, folder, source)
    kinds = {name: step.type for name, step in before.jobs.items()}
    placed = _with_data(place(mapping, profile, kinds), before)
    pipeline = aml.pipeline_from(placed, folder, source)
    problems = aml.check(pipeline)
    raise_errors(problems + refused(pipeline))
    return Submission(
        mapping=placed,
        pipeline=pipeline,
        source=source,
        fingerprint=fingerprint(pipeline, placed, profile.environments),
        profile=profile,
        project=project,
        reading=built.reading if built else None,
        warnings=[*(built.warnings if built else []), *(each for each in problems if each.code != ONLY_ON_AZURE)],
        notes=list(built.notes) if built else [],
        unfired=service.unfired(pipeline),
    )


def _with_sets(mapping: dict[str, Any], pipeline: Pipeline, sets: Mapping[str, str]) -> dict[str, Any]:
    inputs = dict(mapping.get("inputs") or {})
    for name in sets:
        declared, old = pipeline.inputs[name], inputs.get(name)
        if declared.is_data:
            inputs[name] = {**(old if isinstance(old, dict) else {"type": declared.type}), "path": declared.path}
        else:
            inputs[name] = declared.default
    return {**mapping, **({"inputs": inputs} if inputs else {})}


def _with_data(mapping: dict[str, Any], pipeline: Pipeline) -> dict[str, Any]:
    """Data given to a step as plain text, said as data: the text would be sent as a value otherwise."""
    jobs = dict(mapping.get("jobs") or {})
    for name, step in pipeline.jobs.items():
        node = jobs.get(name)
        inputs: dict[str, Any] = (node.get("inputs") or {}) if isinstance(node, dict) else {}
        data = {
            key: {"type": value.type or "uri_folder", "path": value.path}
            for key, value in step.inputs.items()
            if isinstance(value, Data) and isinstance(inputs.get(key), str)
        }
        if data:
            jobs[name] = {**jobs[name], "inputs": {**inputs, **data}}
    return {**mapping, **({"jobs": jobs} if jobs else {})}


def refused(pipeline: Pipeline) -> list[Problem]:
    """What works on a laptop and not in a job, each at its place: keys in variables, its addresses and paths."""
    report = Report()
    reachable = is_on_loopback(os.environ.get(METADATA_URL, ""))
    for name, value, where in _literals(pipeline):
        if not isinstance(value, str):
            continue
        if variable := _ENV.fullmatch(value):
            message = f"'{name}' is kept in the variable {variable[1]} of this machine, which a job does not have"
            report.error("AZD415", message, where, hint=_KEY_HINT)
        elif not reachable and is_on_loopback(value):
            message = f"'{name}' is {value}: in a job that is the node itself, not this machine"
            report.error("AZD416", message, where, hint="give an address that the workspace's compute can reach")
        elif value.startswith(("/", "~/")) and "\n" not in value and Path(value).expanduser().exists():
            message = f"'{name}' is {value}, a path of this machine; as text it is not uploaded"
            report.error("AZD417", message, where, hint="give it as data: {type: uri_folder, path: ...}")
    return report.problems


def is_on_loopback(text: str) -> bool:
    """Whether ``text`` is an address on this very machine."""
    if not re.match(r"https?://", text, re.IGNORECASE):
        return False
    try:
        host = urlsplit(text).hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            return True
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _literals(pipeline: Pipeline) -> Iterator[tuple[str, Any, Where]]:
    """Every value that reaches a step as text."""
    for name, declared in pipeline.inputs.items():
        if not declared.is_data:
            yield name, declared.default, declared.where
    overview = survey(pipeline)
    for component in overview.interfaces():
        for name, declared in component.inputs.items():
            if not declared.is_data:
                yield name, declared.default, declared.where_default
    for _, step in overview.steps():
        for name, value in step.inputs.items():
            if isinstance(value, Literal):
                yield f"{step.name}.{name}", value.value, value.where
        for name, text in step.environment_variables.items():
            yield f"{step.name}.{name}", text, step.where / "environment_variables" / name
