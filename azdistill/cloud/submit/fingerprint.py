"""What a pipeline says, as one hash: components, code, data and values; not names, places or times."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azdistill.aml.models import CommandComponent, Environment, Pipeline, PipelineComponent, Step
from azdistill.cloud.submit import azure_only_steps
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
    said = {
        "version": VERSION,
        "pipeline": _plain({key: value for key, value in mapping.items() if key not in (*_WORDS, *_CONTENT)}, reading),
        "steps": {name: _step(step, jobs.get(name) or {}, reading) for name, step in pipeline.jobs.items()},
        "environments": dict(environments),
    }
    return digest(said)


def of_asset(asset: CommandComponent | PipelineComponent | Environment) -> str:
    """sha256 (hex) of a component or environment: all its YAML but the version, its code, and what it runs in."""
    reading = Reading()
    is_environment = isinstance(asset, Environment)
    content = _environment(asset, reading) if isinstance(asset, Environment) else _component(asset, reading)
    kept = {
        key: value for key, value in _raw(asset.where.value).items() if key not in (*_CONTENT, "version", "$schema")
    }
    return digest({"version": VERSION, "environment": is_environment, "says": _plain(kept, reading), "is": content})


def _step(step: Step, node: Mapping[str, Any], reading: Reading) -> dict[str, Any]:
    written = node or _raw(step.where.value)
    if step.only_on_azure:
        said = azure_only_steps.written(step, node)
        return {"node": _plain({key: value for key, value in said.items() if key not in _WORDS}, reading)}
    return {
        "node": _plain({key: value for key, value in written.items() if key not in (*_WORDS, *_CONTENT)}, reading),
        "component": _component(step.component, reading),
        "environment": _environment(step.environment, reading),
    }


def _component(component: Any, reading: Reading) -> Any:
    if not isinstance(component, CommandComponent | PipelineComponent):
        return component
    written = _raw(component.where.value)
    said: dict[str, Any] = {"says": {key: value for key, value in written.items() if key not in (*_WORDS, *_CONTENT)}}
    if isinstance(component, PipelineComponent):
        said["steps"] = {name: _step(step, {}, reading) for name, step in component.jobs.items()}
        return said
    taken = snapshot_of(component)
    said["code"] = taken.hashes(reading) if taken else component.code
    said["environment"] = _environment(component.environment, reading)
    return _plain(said, reading)


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


def _raw(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _plain(value: Any, reading: Reading) -> Any:
    """``value`` as JSON holds it, every path of this machine replaced by the hash of what lies there."""
    if isinstance(value, Mapping):
        return {str(key): _kept(str(key), inner, reading) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner, reading) for inner in value]
    if isinstance(value, str) and value.startswith("/"):
        path = Path(value)
        try:
            return reading.tree(path) if path.is_dir() else reading.file(path) if path.is_file() else value
        except OSError:
            return value
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def _kept(key: str, value: Any, reading: Reading) -> Any:
    """Variables, commands and plain values of inputs are words, even those that look like a path of this machine."""
    if key in ("environment_variables", "command"):
        return _words(value)
    if key == "inputs" and isinstance(value, Mapping):
        return {
            str(name): _plain(one, reading) if isinstance(one, Mapping) else _words(one) for name, one in value.items()
        }
    return _plain(value, reading)


def _words(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _words(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_words(inner) for inner in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
