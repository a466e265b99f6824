"""A pipeline's YAML with its local paths made absolute, so that it means the same from every folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azdistill.aml.fields import is_remote

#: Keys of a step, a component or a parallel task that name a local file or folder.
_PATHS = ("component", "code", "trial", "conda_file")
_NESTED = ("component", "trial", "task", "environment")


def absolute_paths(mapping: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """``mapping``, a pipeline job whose relative paths start at ``folder``, copied with every local path absolute."""
    return _runnable(mapping, folder)


def _runnable(node: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A job, step, component, task or environment written in place."""
    done = dict(node)
    for key in _PATHS:
        if isinstance(node.get(key), str):
            done[key] = _placed(node[key], folder)
    for key in _NESTED:
        if isinstance(node.get(key), dict):
            done[key] = _runnable(node[key], folder)
    environment = node.get("environment")
    if isinstance(environment, str) and environment.startswith("file:"):
        done["environment"] = f"file:{_placed(environment, folder)}"
    if isinstance(node.get("build"), dict) and isinstance(node["build"].get("path"), str):
        done["build"] = {**node["build"], "path": _placed(node["build"]["path"], folder)}
    if isinstance(node.get("additional_includes"), list):
        done["additional_includes"] = [_placed(item, folder) for item in node["additional_includes"]]
    if isinstance(node.get("inputs"), dict):
        done["inputs"] = {name: _input(value, folder) for name, value in node["inputs"].items()}
    if isinstance(node.get("jobs"), dict):
        jobs = node["jobs"].items()
        done["jobs"] = {name: _runnable(step, folder) if isinstance(step, dict) else step for name, step in jobs}
    return done


def _input(value: Any, folder: Path) -> Any:
    if isinstance(value, dict) and isinstance(value.get("path"), str):
        return {**value, "path": _placed(value["path"], folder)}
    return value


def _placed(path: Any, folder: Path) -> Any:
    if not isinstance(path, str) or is_remote(path) or "${{" in path:
        return path
    return str((folder / path.removeprefix("file://").removeprefix("file:")).resolve())
