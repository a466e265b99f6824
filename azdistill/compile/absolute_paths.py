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
    absolute = dict(node)
    for key, value in node.items():
        if key in _PATHS and isinstance(value, str):
            absolute[key] = _placed(value, folder)
        elif key in _NESTED and isinstance(value, dict):
            absolute[key] = _runnable(value, folder)
        elif key == "environment" and isinstance(value, str) and value.startswith("file:"):
            absolute[key] = f"file:{_placed(value, folder)}"
        elif key == "build":
            absolute[key] = _with_path(value, folder)
        elif key == "additional_includes" and isinstance(value, list):
            absolute[key] = [_placed(item, folder) for item in value]
        elif key == "inputs" and isinstance(value, dict):
            absolute[key] = {name: _with_path(port, folder) for name, port in value.items()}
    if isinstance(node.get("jobs"), dict):
        jobs = node["jobs"].items()
        absolute["jobs"] = {name: _runnable(step, folder) if isinstance(step, dict) else step for name, step in jobs}
    return absolute


def _with_path(value: Any, folder: Path) -> Any:
    if isinstance(value, dict) and isinstance(value.get("path"), str):
        return {**value, "path": _placed(value["path"], folder)}
    return value


def _placed(path: Any, folder: Path) -> Any:
    if not isinstance(path, str) or is_remote(path) or "${{" in path:
        return path
    return str((folder / path.removeprefix("file://").removeprefix("file:")).resolve())
