"""Azure ML's own schedule YAML: a name, a trigger, and the pipeline that it creates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from azdistill.aml import check, examine, reader
from azdistill.aml.checks.names import JOB_NAME
from azdistill.aml.checks.secrets import literal_secrets
from azdistill.aml.checks.survey import Survey
from azdistill.aml.fields import Fields
from azdistill.aml.loader import kind_of
from azdistill.aml.models import Pipeline
from azdistill.aml.pipelines import job_settings
from azdistill.aml.ports import job_input
from azdistill.aml.source import Report, Where
from azdistill.errors import Problem, SpecError, did_you_mean, did_you_mean_path
from azdistill.recipe.firings import findings
from azdistill.recipe.schedule import Pattern, Schedule

_KEYS = ("$schema", "name", "display_name", "description", "tags", "properties", "trigger", "create_job")
_JOB_KEYS = ("type", "job", "inputs", "outputs", "settings", "experiment_name", "display_name", "description", "tags")


@dataclass(frozen=True)
class ScheduleFile:
    """A schedule: ``mapping`` is the pipeline it creates, with what ``create_job`` changes in it, from ``job_file``."""

    name: str
    schedule: Schedule
    mapping: dict[str, Any]
    job_file: Path
    description: str = ""
    tags: dict[str, str] = field(default_factory=dict)
    warnings: list[Problem] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """What relative paths of the pipeline start from."""
        return self.job_file.parent


def check_schedule(path: str | Path) -> list[Problem]:
    """Everything wrong with the schedule at ``path`` and with the pipeline that it creates."""
    return _gather(path)[1]


def read_schedule(path: str | Path) -> ScheduleFile:
    """The schedule at ``path``. SpecError with everything that is wrong."""
    schedule, problems = _gather(path)
    if schedule is None or any(problem.severity == "error" for problem in problems):
        raise SpecError(problems)
    return schedule


def _gather(path: str | Path) -> tuple[ScheduleFile | None, list[Problem]]:
    source = reader.read(path)
    where, report, data = Where(source), Report(), source.data
    fields = Fields(where, report)
    fields.known(_KEYS, "a schedule")
    literal_secrets(Survey(sources=[source]), report)
    for key in ("name", "trigger", "create_job"):
        if not data.get(key):
            report.error("AZD112", f"'{key}' is missing", where)
    schedule = _trigger(where / "trigger", report) if data.get("trigger") else None
    job = _job(where / "create_job", report) if data.get("create_job") else None
    name = fields.text("name")
    if name and not JOB_NAME.fullmatch(name):
        hint = "letters, digits, '-' and '_', at most 255"
        report.error("AZD115", f"'{name}' is no name for a schedule", where / "name", hint=hint)
    order = sorted(report.problems, key=lambda problem: (problem.file, problem.line, problem.column))
    if schedule is None or job is None or not name:
        return None, order
    file, mapping = job
    tags = {str(key): str(value) for key, value in (data.get("tags") or {}).items()}
    about = str(data.get("description") or "")
    return ScheduleFile(name, schedule, mapping, file, about, tags, [p for p in order if p.severity != "error"]), order


def _trigger(where: Where, report: Report) -> Schedule | None:
    if not isinstance(where.value, dict):
        report.error("AZD111", "'trigger' should be a mapping with type: cron or type: recurrence", where)
        return None
    try:
        schedule = Schedule.model_validate(where.value)
    except ValidationError as error:
        details = [detail for detail in error.errors(include_url=False) if not _other_kind(detail)]
        for detail in details:
            _note(where, detail, report)
        _find(_without(where.value, {detail["loc"][0] for detail in details if detail["loc"]}), where, report)
        return None
    _find(schedule, where, report)
    return schedule


def _find(schedule: Schedule | None, where: Where, report: Report) -> None:
    for finding in findings(schedule) if schedule else ():
        place = _at(where, finding.path)
        report.note(finding.code, finding.message, place, severity=finding.severity, hint=finding.hint)


def _without(trigger: Mapping[str, Any], wrong: set[int | str]) -> Schedule | None:
    """The schedule less the keys that are wrong, so that all else can be looked at too; None where none is left."""
    try:
        return Schedule.model_validate({key: value for key, value in trigger.items() if key not in wrong})
    except ValidationError:
        return None


def _other_kind(detail: Any) -> bool:
    """Whether pydantic tells of the half of ``list | int`` that was not meant."""
    meant_list = isinstance(detail["input"], list)
    return detail["type"] == "list_type" or (meant_list and detail["type"] in ("int_type", "literal_error"))


def _note(where: Where, detail: Any, report: Report) -> None:
    # Beside keys and positions pydantic names the half of ``list | int`` that it tried.
    path = [part for part in detail["loc"] if isinstance(part, int) or part.isidentifier()]
    path = [part for part in path if part not in ("int", "list", "literal")]
    dotted, place = ".".join(map(str, path)), _at(where, path)
    if detail["type"] == "extra_forbidden":
        names = list((Pattern if len(path) > 1 else Schedule).model_fields)
        hint = did_you_mean(str(path[-1]), names)
        report.error("AZD110", f"unknown key '{path[-1]}'", place, hint=hint, key=True)
        return
    reason, _, hint = detail["msg"].removeprefix("Value error, ").removeprefix("Input ").partition("; ")
    report.error("AZD205", f"{dotted}: {reason}" if dotted else reason, place, hint=hint)


def _at(where: Where, path: Iterable[str | int]) -> Where:
    return Where(where.source, (*where.steps, *path))


def _job(where: Where, report: Report) -> tuple[Path, dict[str, Any]] | None:
    """The file of the pipeline, and the pipeline with the changes that the schedule makes to it."""
    changes = where.value if isinstance(where.value, dict) else {"job": where.value}
    at = where / "job" if isinstance(where.value, dict) else where
    if isinstance(where.value, dict):
        Fields(where, report).known(_JOB_KEYS, "create_job")
    path = changes.get("job")
    if not isinstance(path, str):
        report.error("AZD112", "create_job names no file: write job: ./pipeline.yml", at)
        return None
    if path.startswith("azureml:"):
        hint = "give the file that the job was made from, so that what is run can be checked"
        report.error("AZD264", f"{path} is a job of a workspace, which cannot be read here", at, hint=hint)
        return None
    file = where.resolve(path)
    if not file.is_file():
        report.error("AZD121", f"no pipeline file {path}", at, hint=did_you_mean_path(file))
        return None
    pipeline, problems = examine(str(file))
    report.extend(problems)
    if not isinstance(pipeline, Pipeline) or kind_of(reader.read(file).data) == "command job":
        report.error("AZD107", f"{path} is no pipeline job, and schedules run nothing else", at)
        return None
    for name in Fields(where / "inputs", Report()).data:
        if name not in pipeline.inputs:
            hint = did_you_mean(name, list(pipeline.inputs))
            report.error("AZD130", f"the pipeline has no input '{name}'", where / "inputs" / name, hint=hint, key=True)
    if isinstance(changes.get("settings"), dict):
        job_settings(where / "settings", report)
    if changed := _changed(where / "inputs", pipeline, report):
        report.extend(problem for problem in check(changed) if problem not in problems)
    return file, _merged(reader.read(file).data, changes)


def _changed(where: Where, pipeline: Pipeline, report: Report) -> Pipeline | None:
    """The pipeline with the literals that the schedule gives it; None where it gives none.

    Data is looked for where the pipeline lies.
    """
    inputs = where.mapping
    changes = {
        name: job_input(where / name, report)
        for name, value in inputs.items()
        if name in pipeline.inputs and not isinstance(value, list | dict)
    }
    literals = {name: value for name, value in changes.items() if not pipeline.inputs[name].is_data}
    return replace(pipeline, inputs={**pipeline.inputs, **literals}) if literals else None


def _merged(mapping: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """As azure-ai-ml merges them: mappings into mappings, anything else in the place of what was there."""
    merged = dict(mapping)
    for key, value in changes.items():
        if key in ("job", "type"):
            continue
        old = mapping.get(key)
        merged[key] = _merged(old, value) if isinstance(old, dict) and isinstance(value, Mapping) else value
    return merged
