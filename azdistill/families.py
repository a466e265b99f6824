"""Families found by name: each Python file in a folder is a member, and nothing else lists it.

A member is read, never imported: its name is that of its file, and its header the constants that it assigns. A name
that begins with an underscore is no member's. ``ALIASES`` are other names of a member.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a family. ``header`` holds its module's constants, as far as they are literals."""

    name: str
    header: Mapping[str, Any]


def names(folder: Path) -> list[str]:
    """The names of a family's members; none where there is no such folder."""
    return sorted(path.stem for path in folder.glob("*.py") if not path.name.startswith("_"))


def member(folder: Path, word: str) -> Member | None:
    """The member of the family in ``folder`` that ``word`` names: by its name or an alias, in any case, with hyphens or
    underscores.
    """
    spelling = word.strip().lower().replace("-", "_")
    members = (Member(name, _header(folder / f"{name}.py")) for name in names(folder))
    return next((m for m in members if spelling in (m.name, *m.header.get("ALIASES", ()))), None)


def _header(path: Path) -> dict[str, Any]:
    constants: dict[str, Any] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            try:
                constants[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                # Not a literal: code, which is not run here.
                continue
    return constants
