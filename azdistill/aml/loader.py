"""Reads YAML files into models. What is wrong is collected; the public functions raise it all at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from azdistill.aml import reader
from azdistill.aml.components import command_component
from azdistill.aml.environments import environment, neighbours, read_source
from azdistill.aml.fields import absolute
from azdistill.aml.models import (
    AZURE_ONLY,
    LOOPS,
    AzureOnly,
    CommandComponent,
    Component,
    Environment,
    Pipeline,
    PipelineComponent,
    Spec,
)
from azdistill.aml.parallel_components import parallel_component
from azdistill.aml.pipelines import pipeline_component, pipeline_job
from azdistill.aml.source import Report, Source, Where
from azdistill.aml.standalone_jobs import command_job, sweep_job
from azdistill.errors import SpecError, did_you_mean, raise_errors

_T = TypeVar("_T")
_KINDS = ("component", "pipeline job", "environment")
#: Nested pipelines deeper than this are taken for a pipeline that holds itself.
MAX_NESTING = 20


class OpenFiles:
    """The files of one load: each is read once, and a component that holds itself is found."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.files: dict[Path, Component | AzureOnly | None] = {}
        self.opening: list[Path] = []

    def __call__(self, where: Where, path: str) -> Component | AzureOnly | None:
        """The component in the file that ``where`` names; None (and a problem) where there is none."""
        file = absolute(where, path)
        if isinstance(file, str):
            return None
        if file in self.opening or len(self.opening) > MAX_NESTING:
            self.report.error("AZD142", f"{file.name} contains itself", where)
            return None
        if not file.is_file():
            what = f"{path} is a folder, not a component file" if file.is_dir() else f"no component file {path}"
            self.report.error("AZD121", what, where, hint=neighbours(file, path, where.source.file))
            return None
        if file not in self.files:
            self.opening.append(file)
            self.files[file] = self._read(file, where)
            self.opening.pop()
        return self.files[file]

    def _read(self, file: Path, where: Where) -> Component | AzureOnly | None:
        source = read_source(file, self.report)
        if source is None:
            return None
        spec = build(source, self.report, self, nested=True)
        if isinstance(spec, CommandComponent | PipelineComponent | AzureOnly):
            return spec
        if spec is not None:
            self.report.error("AZD107", f"{file.name} is an {_WORDS[type(spec)]}, not a component", where)
        return None


def is_schedule(data: Any) -> bool:
    """Whether YAML data is an Azure ML schedule."""
    if not isinstance(data, Mapping):
        return False
    return "schedule.schema" in str(data.get("$schema", "")) or ("trigger" in data and "create_job" in data)


def kind_of(data: Any) -> str | None:
    """What a YAML file's data is: None where it is nothing of ours, else one of

    ``command``, ``parallel`` and ``pipeline`` (components), ``job`` (a pipeline job), ``command job``, ``sweep job``,
    ``environment``, or a kind of job or component that only Azure runs (``spark``, ...).
    """
    if not isinstance(data, Mapping):
        return None
    kind = str(data.get("type", "")).lower()
    schema = str(data.get("$schema", ""))
    if kind == "pipeline" or (not kind and "jobs" in data):
        component = "pipelineComponent" in schema or ("Job" not in schema and _declares(data))
        return "pipeline" if component else "job"
    if kind == "parallel" or (kind in AZURE_ONLY and kind not in LOOPS):
        return kind
    if kind == "sweep" or (not kind and "trial" in data):
        return "sweep job"
    if kind == "command" or (not kind and "command" in data):
        return "command job" if _is_job(data, schema) else "command"
    if not kind and ("image" in data or "build" in data or "environment.schema" in schema):
        return "environment"
    return None


def _is_job(data: Mapping[str, Any], schema: str) -> bool:
    if "Component" in schema or "Job" in schema:
        return "Job" in schema
    return "name" not in data and bool({"compute", "experiment_name", "limits", "identity", "services"} & set(data))


def _declares(data: Mapping[str, Any]) -> bool:
    """Whether a pipeline's inputs and keys are a component's: a version, or inputs with types of their own."""
    inputs = data.get("inputs")
    values = list(inputs.values()) if isinstance(inputs, dict) else []
    if {"settings", "compute", "experiment_name"} & set(data):
        return False
    declared = [v for v in values if isinstance(v, dict) and "path" not in v and "value" not in v]
    return "version" in data or bool(values and len(declared) == len(values))


_BUILDERS: dict[str, Callable[[Where, Report], Spec]] = {
    "command": command_component,
    "parallel": parallel_component,
    "environment": environment,
    "command job": command_job,
    "sweep job": sweep_job,
}


def build(source: Source, report: Report, opener: OpenFiles, *, nested: bool = False) -> Spec | None:
    """The model of ``source``, whatever kind it is; None (and a problem) where it is none of ours."""
    where, kind = Where(source), kind_of(source.data)
    if nested and kind in ("command job", "sweep job"):
        report.error("AZD114", f"a {kind} is no component", where, hint="write its keys into the step")
        return None
    if kind in ("job", "pipeline"):
        make = pipeline_component if nested or kind == "pipeline" else pipeline_job
        return make(where, report, opener)
    if kind in _BUILDERS:
        return _BUILDERS[kind](where, report)
    if kind is not None:
        return _azure_only(kind, where, report, nested)
    _unknown(where, report)
    return None


def _azure_only(kind: str, where: Where, report: Report, nested: bool) -> AzureOnly:
    if not nested:
        hint = "'az ml' takes it; 'azdistill run' refuses it"
        report.warning("AZD194", f"this is of type '{kind}', which runs on Azure only", where / "type", hint=hint)
    name = where.value.get("name")
    return AzureOnly(kind=kind, name=name if isinstance(name, str) else None, where=where)


def _unknown(where: Where, report: Report) -> None:
    data = where.value
    if not isinstance(data, dict):
        why = "the file is empty" if data is None else "the file holds no mapping"
        report.error("AZD107", f"not a {' or '.join(_KINDS)}: {why}", where)
    elif "type" in data:
        hint = did_you_mean(str(data["type"]), ["command", "pipeline"])
        report.error("AZD107", f"azdistill does not know files of type '{data['type']}'", where / "type", hint=hint)
    else:
        report.error("AZD107", f"not a {' or '.join(_KINDS)}", where, hint="say what it is with 'type:'")


def gather(path: str | Path) -> tuple[Spec | None, Report]:
    """The model in ``path`` as far as it can be built, and what is wrong with its shape."""
    report = Report()
    source = read_source(Path(path), report)
    if source is None:
        return None, report
    opener = OpenFiles(report)
    opener.opening.append(Path(path).resolve())
    return build(source, report, opener), report


def load(path: str | Path) -> Spec:
    """The component, pipeline or environment in ``path``. Raises :class:`SpecError` with everything wrong in shape."""
    spec, report = gather(path)
    raise_errors(report.problems)
    assert spec is not None
    return spec


def load_component(path: str | Path) -> CommandComponent | PipelineComponent:
    """The component in ``path``; see :func:`load`."""
    spec = load(path)
    return spec if isinstance(spec, PipelineComponent) else _one(spec, CommandComponent, "component")


def load_pipeline(path: str | Path) -> Pipeline:
    """The pipeline job in ``path``; see :func:`load`."""
    return _one(load(path), Pipeline, "pipeline job")


def load_environment(path: str | Path) -> Environment:
    """The environment in ``path``; see :func:`load`."""
    return _one(load(path), Environment, "environment")


def pipeline_from(mapping: Mapping[str, Any], base_dir: str | Path, source_name: str) -> Pipeline:
    """A pipeline job from data in memory, its relative paths starting at ``base_dir``; see :func:`load`."""
    report = Report()
    source = reader.plain(mapping, Path(base_dir), source_name)
    pipeline = pipeline_job(Where(source), report, OpenFiles(report))
    raise_errors(report.problems)
    return pipeline


_WORDS: dict[type, str] = {
    CommandComponent: "command component",
    PipelineComponent: "pipeline component",
    Pipeline: "pipeline job",
    Environment: "environment",
}


def _one(spec: Spec, kind: type[_T], name: str) -> _T:
    if isinstance(spec, kind):
        return spec
    report = Report()
    if isinstance(spec, AzureOnly):
        hint = "send it with az ml; in a pipeline, 'azdistill submit' takes it as a step"
        report.error("AZD114", f"{spec.kind} runs on Azure only", spec.where / "type", hint=hint)
    else:
        is_component = isinstance(spec, CommandComponent | PipelineComponent)
        hint = "a job gives each of its inputs a value; a component is run as a step of a job" if is_component else ""
        report.error("AZD107", f"this is a {_WORDS[type(spec)]}, not a {name}", spec.where, hint=hint)
    raise SpecError(report.problems)
