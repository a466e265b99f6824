"""Finds what runs on the compute: ``components/``, ``environments/`` and ``pipelines/``.

In a checkout they stand beside the package; in an installed wheel they travel inside it, under ``_data``.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import yaml

from azdistill.errors import MachineError

_PACKAGE = Path(__file__).resolve().parent


@cache
def root() -> Path:
    """The folder that holds ``components/``. MachineError AZD230 where the installation has lost it."""
    for folder in (_PACKAGE / "_data", _PACKAGE.parent):
        if (folder / "components" / "common").is_dir():
            return folder
    raise MachineError(
        "the components are missing from this installation", code="AZD230", hint="install azdistill anew"
    )


def component(name: str) -> Path:
    """The YAML of the component ``name``, which lies in the folder of its stage. KeyError where there is none."""
    return _components()[name]


@cache
def _components() -> dict[str, Path]:
    return {path.parent.name: path for path in (root() / "components").glob("*/*/component.yml")}


@cache
def inputs_of(name: str) -> tuple[str, ...]:
    """The names of the inputs that the component ``name`` declares."""
    return tuple(yaml.safe_load(component(name).read_text(encoding="utf-8"))["inputs"])


def tasks() -> Path:
    """The folder whose files are the tasks."""
    return root() / "components" / "common" / "tasks"


def pipeline(name: str) -> Path:
    """The YAML of the ready pipeline ``name``."""
    return root() / "pipelines" / f"{name}.yml"


def protocols() -> Path:
    """The folder whose files are the protocols that a teacher is asked by."""
    return component("teacher_inference").parent / "protocols"


def sample_data(task: str) -> Path:
    """The rows that a project starts with; of a task without any the file does not exist."""
    return root() / "pipelines" / "data" / f"{task}.jsonl"


def template(name: str) -> Path:
    """The folder of the template ``name`` that ``azdistill init`` writes from."""
    return _PACKAGE / "templates" / name
