"""Writes a built pipeline as YAML: paths relative to where it lies, and a comment saying what it was made from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from azdistill.compile import CompiledRecipe
from azdistill.errors import UserError

#: The first words of every file written here; only such files are overwritten without being asked to.
MARK = "# Made by azdistill"
#: Values of these are not repeated in the comment.
_QUIET = {"teacher.api_key", "teacher_api_key", "teacher_key", "api_key"}


def render(built: CompiledRecipe, folder: Path, sets: Mapping[str, str]) -> str:
    """The pipeline as text that may lie in ``folder``."""
    lines = [f"{MARK} {version('azdistill')} from {_relative(built.reading.origin.source.file, folder)}."]
    # A value may hold line ends, and a comment must stay one.
    values = {name: "..." if name in _QUIET else " ".join(value.split()) for name, value in sets.items()}
    lines += [f"#   --set {name}={value}" for name, value in values.items()]
    lines += ["# Change the recipe and compile it again, rather than this file."]
    lines += [f"# {note[0].upper()}{note[1:]}." for note in built.notes]
    body = yaml.dump(
        _placed(built.mapping, folder), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=118, indent=2
    )
    return "\n".join(lines) + "\n" + body


def write(text: str, path: Path, *, force: bool = False) -> None:
    """Write ``text``; UserError AZD250 where ``path`` holds something that was not written here, unless ``force``."""
    if path.exists() and not force and not _ours(path):
        raise UserError(f"{path} exists and was not written by azdistill", code="AZD250", hint="--force overwrites it")
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _ours(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline().startswith(MARK)
    except (OSError, UnicodeDecodeError):
        return False


def _placed(mapping: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Absolute paths of components and data, as seen from ``folder``."""
    inputs = {
        name: {**value, "path": _relative(value["path"], folder)} if isinstance(value, dict) else value
        for name, value in mapping["inputs"].items()
    }
    jobs = {name: {**node, "component": _relative(node["component"], folder)} for name, node in mapping["jobs"].items()}
    return {**mapping, "inputs": inputs, "jobs": jobs}


def _relative(path: str, folder: Path) -> str:
    place = Path(path)
    if not place.is_absolute():
        return path if ":" in path or not place.exists() else _relative(str(place.absolute()), folder)
    try:
        # Two trees that share nothing but the root stay apart: a path through the root would break with either's move.
        if Path(os.path.commonpath([place, folder.resolve()])) == Path(place.anchor):
            return path
    except ValueError:
        return path
    relative = Path(os.path.relpath(place, folder.resolve())).as_posix()
    return relative if relative.startswith(".") else f"./{relative}"


class _Dumper(yaml.SafeDumper):
    """Indents lists under their key, and writes no anchors."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True
