"""What a step's result depends on: the fields whose hash is its cache key.

Contents count, places do not: no path, run id or time is in a key, and no secret (an input ``env:NAME`` counts as
written).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from azdistill.aml.models import Environment
from azdistill.local.cache.hashes import Hashes
from azdistill.local.plan.bindings import Bound, Local, Text
from azdistill.local.plan.steps import PlannedStep

#: Raised when keys come to mean something else, so that no entry of an earlier version is taken.
VERSION = 1


def key_fields(
    step: PlannedStep,
    code: Mapping[str, str],
    content: Callable[[Bound], str],
    interpreter: Mapping[str, Any],
    hashes: Hashes,
) -> dict[str, Any]:
    """The fields of a step: ``code`` maps its files to their hashes, and says which of them are executable; ``content``
    hashes what an input holds.
    """
    inputs = {name: bound for name, bound in step.inputs.items() if name not in step.cache_ignore}
    component = step.component
    return {
        "version": VERSION,
        "command": component.command,
        "code": dict(code),
        "inputs": {name: _input(bound, content) for name, bound in inputs.items()},
        "outputs": {name: output.kind for name, output in step.outputs.items() if not output.standing},
        "environment": environment_content(step.environment, hashes),
        "environment_variables": dict(step.environment_variables),
        "distribution": _plain(step.distribution),
        "interpreter": dict(interpreter),
        **({"parallel": asdict(step.parallel)} if step.parallel else {}),
        # As the distribution says it, it may be bound to an input, or be the count of instances.
        **({} if step.processes is None else {"processes": step.processes}),
        **({"sweep": step.sweep.as_key(step.cache_ignore)} if step.sweep else {}),
    }


def environment_content(environment: str | Environment | None, hashes: Hashes) -> Any:
    """What an environment is made of: its image, conda file and build context; its name does not matter."""
    if not isinstance(environment, Environment):
        return environment
    conda = environment.conda_file
    return {
        "image": environment.image,
        "conda": hashes.file(conda) if isinstance(conda, Path) and conda.is_file() else _plain(conda),
        "build": _tree(environment.build_path, hashes) if environment.build_path else None,
        "dockerfile": environment.dockerfile_path if environment.build_path else None,
    }


def _tree(folder: Path, hashes: Hashes) -> str | None:
    return hashes.tree(folder) if folder.is_dir() else None


def _input(bound: Bound, content: Callable[[Bound], str]) -> dict[str, str]:
    if isinstance(bound, Text):
        return {"value": bound.text}
    # Programs choose a reader by a file's extension, so that counts as well as the bytes.
    suffix = bound.path.suffix if isinstance(bound, Local) and bound.path.is_file() else ""
    return {"content": content(bound), "suffix": suffix}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
