"""One vocabulary: the dotted key, the bare leaf and the pipeline input's name all mean the same setting.

``--set teacher.endpoint=...``, ``--set teacher_endpoint=...`` and ``DistillationJob(teacher_endpoint=...)`` end in one
place. What is unique needs no prefix.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from azdistill.errors import UserError, did_you_mean
from azdistill.recipe.models import Recipe

Path = tuple[str, ...]

#: Names of pipeline inputs and keyword arguments that differ from the key, and those that win over an equal leaf.
ALIASES: dict[str, Path] = {
    "teacher": ("teacher", "model"),
    "teacher_model": ("teacher", "model"),
    "teacher_endpoint": ("teacher", "endpoint"),
    "teacher_api_key": ("teacher", "api_key"),
    "teacher_key": ("teacher", "api_key"),
    "teacher_weights": ("teacher", "weights"),
    "teacher_id": ("teacher", "weights"),
    "teacher_timeout": ("teacher", "timeout"),
    "teacher_revision": ("teacher", "revision"),
    "revision": ("student", "revision"),
    "student": ("student", "model"),
    "student_model": ("student", "model"),
    "student_weights": ("student", "model"),
    "student_id": ("student", "model"),
    "task_type": ("task",),
    "batch_size": ("hyperparameters", "batch_size"),
    "dtype": ("hyperparameters", "dtype"),
    "evaluation_batch_size": ("evaluation", "batch_size"),
    "evaluation_dtype": ("evaluation", "dtype"),
    "timeout": ("limits", "timeout"),
}
#: What follows one of these is the user's own: no list of keys to check against.
FREE = ("tags",)


def every_path(model: type[BaseModel] = Recipe, head: Path = ()) -> Iterator[Path]:
    """The path of every setting a recipe has, section by section."""
    for name, field in model.model_fields.items():
        section = section_of(field.annotation)
        if section is None or (head == () and name == "schedule"):
            yield (*head, name)
        else:
            yield from every_path(section, (*head, name))


def locate(name: str) -> Path:
    """The setting that ``name`` stands for; UserError AZD210 where there is none, or more than one."""
    parts = tuple(name.split("."))
    if parts in set(every_path()) or (parts[0] in FREE and len(parts) == 2):
        return parts
    if name in ALIASES:
        return ALIASES[name]
    matches = [path for path in every_path() if path[-1] == name]
    if len(matches) == 1:
        return matches[0]
    if matches:
        choices = " or ".join(".".join(path) for path in matches)
        raise UserError(f"'{name}' could be {choices}", code="AZD210", hint="write it with its section")
    names = sorted({".".join(path) for path in every_path()} | set(ALIASES) | {path[-1] for path in every_path()})
    close = did_you_mean(name, names)
    hint = close if close.startswith("did") else "`azdistill init` writes a recipe that shows every section"
    raise UserError(f"a recipe has no setting '{name}'", code="AZD210", hint=hint)


def put(tree: dict[str, Any], path: Path, value: Any) -> None:
    """Write ``value`` at ``path``; a section given as plain text (``teacher: gpt-4o``) becomes its ``model``."""
    for part in path[:-1]:
        node = tree.get(part)
        tree[part] = dict(node) if isinstance(node, dict) else {"model": node} if isinstance(node, str) else {}
        tree = tree[part]
    tree[path[-1]] = value


def section_of(annotation: Any) -> type[BaseModel] | None:
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None
