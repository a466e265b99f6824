"""What an ``mltable`` reads outside of its own folder: its file ``MLTable`` may name files anywhere on this machine."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml


def files_elsewhere(table: Path) -> dict[str, Path]:
    """The files and folders outside of the folder of a table that it names, by the name that they have in there."""
    file = table / "MLTable" if table.is_dir() else table
    base = os.path.realpath(file.parent)
    named = {name: Path(base, name) for name in _names(_paths(file), base)}
    return {name: path for name, path in named.items() if not path.resolve().is_relative_to(base)}


def _paths(file: Path) -> Iterator[tuple[str, str]]:
    """The kind (file, folder or pattern) and the address of each line of ``paths``; nothing of what is no table."""
    try:
        document: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        lines = [line for line in document["paths"] if isinstance(line, dict)]
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError):
        # Who reads the table says what is wrong with it.
        return
    yield from ((str(kind), str(address)) for line in lines for kind, address in line.items())


def _names(paths: Iterator[tuple[str, str]], base: str) -> Iterator[str]:
    for kind, address in paths:
        name = address.removeprefix("file://")
        if "://" not in name:
            yield from glob.glob(name, root_dir=base, recursive=True) if kind == "pattern" else [name]
