"""What a pipeline says, as one hash: components, code, data and values; not names, places or times."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from azdistill.aml import reader
from azdistill.aml.fields import absolute
from azdistill.aml.models import CommandComponent, Environment, Pipeline, PipelineComponent, Step
from azdistill.compile.absolute_paths import absolute_paths
from azdistill.errors import SpecError
from azdistill.snapshot import Reading, Snapshot, take
from azdistill.trees import digest

#: What people read and Azure does not run.
_WORDS = ("$schema", "display_name", "description", "tags", "experiment_name", "name", "version", "properties")
#: Keys whose content counts, and is hashed by itself.
_CONTENT = ("code", "additional_includes", "environment", "component", "trial", "jobs", "conda_file", "build")
VERSION = 1


def snapshot_of(component: CommandComponent) -> Snapshot | None:
    """The code that travels with a component; None where it has none on this machine."""
    if isinstance(component.code, str) or (component.code is None and not component.additional_includes):
        return None
    return take(component.code, component.additional_includes, base=component.where.source.base)


def fingerprint(pipeline: Pipeline, mapping: Mapping[str, Any], environments: Mapping[str, str]) -> str:
    """sha256 (hex) over everything in ``pipeline`` that makes a difference; ``mapping`` is its YAML, paths absolute.

    ``environments`` are the ready ones that a profile puts in place of others.
    """
    reading = Reading()
    jobs = mapping.get("jobs") or {}
    content = {
        "version": VERSION,
        "pipeline": _plain(_without(mapping, (*_WORDS, *_CONTENT)), reading),
        "steps": {name: _step(step, jobs.get(name) or {}, reading) for name, step in pipeline.jobs.items()},
        "environments": dict(environments),
    }
    return digest(content)


def of_asset(asset: CommandComponent | PipelineComponent | Environment) -> str:
    """sha256 (hex) of a component or environment: all its YAML but the version, its code, and what it runs in."""
    reading = Reading()
    is_environment = isinstance(asset, Environment)
    content = _environment(asset, reading) if isinstance(asset, Environment) else _component(asset, reading)
    says = _plain(_without(asset.where.value, (*_CONTENT, "version", "$schema")), reading)
    return digest({"version": VERSION, "environment": is_environment, "says": says, "is": content})


def azure_only_node(step: Step, node: Mapping[str, Any]) -> Mapping[str, Any]:
    """A step of a kind that azdistill does not look into (spark, automl, ...), with the content of its component's file
    in place of the file's name; local paths are absolute.
    """
    keys = dict(node or step.where.value or {})
    component = keys.get("component")
    file = absolute(step.where, component) if isinstance(component, str) else None
    if isinstance(file, Path) and file.is_file():
        try:
            source = reader.read(file)
        except SpecError:
            return keys
        keys["component"] = absolute_paths(source.data, source.base) if isinstance(source.data, dict) else source.data
    return keys


def azure_only_code(step: Step) -> Path | None:
    """The local folder or file that holds the code of such a step."""
    keys = azure_only_node(step, {})
    component = keys.get("component")
    code = (component if isinstance(component, Mapping) else keys).get("code")
    path = absolute(step.where, code) if isinstance(code, str) else None
    return path if isinstance(path, Path) and path.exists() else None


def _step(step: Step, node: Mapping[str, Any], reading: Reading) -> dict[str, Any]:
    if step.only_on_azure:
        return {"node": _plain(_without(azure_only_node(step, node), _WORDS), reading)}
    return {
        "node": _plain(_without(node or step.where.value, (*_WORDS, *_CONTENT)), reading),
        "component": _component(step.component, reading),
        "environment": _environment(step.environment, reading),
    }


def _component(component: Any, reading: Reading) -> Any:
    if not isinstance(component, CommandComponent | PipelineComponent):
        return component
    says = _without(component.where.value, (*_WORDS, *_CONTENT))
    if isinstance(component, PipelineComponent):
        return {"says": says, "steps": {name: _step(step, {}, reading) for name, step in component.jobs.items()}}
    snapshot = snapshot_of(component)
    code = snapshot.hashes(reading) if snapshot else component.code
    return _plain({"says": says, "code": code, "environment": _environment(component.environment, reading)}, reading)


def _environment(environment: str | Environment | None, reading: Reading) -> Any:
    if not isinstance(environment, Environment):
        return environment
    conda = environment.conda_file
    return {
        "image": environment.image,
        "conda": reading.file(conda) if isinstance(conda, Path) and conda.is_file() else _plain(conda, reading),
        "build": reading.tree(environment.build_path) if environment.build_path else None,
        "dockerfile": environment.dockerfile_path if environment.build_path else None,
    }


def _without(mapping: Any, keys: Collection[str]) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key not in keys} if isinstance(mapping, Mapping) else {}


def _plain(value: Any, reading: Reading | None) -> Any:
    """``value`` as JSON holds it. With ``reading``, the hash of what lies there replaces each path of this machine."""
    if isinstance(value, Mapping):
        return {str(key): _plain_under(str(key), each, reading) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, reading) for each in value]
    if reading and isinstance(value, str) and value.startswith("/"):
        path = Path(value)
        try:
            return reading.tree(path) if path.is_dir() else reading.file(path) if path.is_file() else value
        except OSError:
            return value
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _plain_under(key: str, value: Any, reading: Reading | None) -> Any:
    """Variables, commands and plain values of inputs are words, even those that look like a path of this machine."""
    if key in ("environment_variables", "command"):
        return _plain(value, None)
    if key == "inputs" and isinstance(value, Mapping):
        return {str(name): _plain(each, reading if isinstance(each, Mapping) else None) for name, each in value.items()}
    return _plain(value, reading)
