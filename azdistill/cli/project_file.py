"""Which file a verb is about that was given a folder, or nothing: the only recipe or pipeline in there."""

from __future__ import annotations

from pathlib import Path

import click

from azdistill.cli.text import is_quiet
from azdistill.errors import SpecError, UserError

#: What can be run, by the words of the loader.
_JOBS = ("job", "command job", "sweep job")


def project_file(named: Path | None) -> Path:
    """``named``; or the only recipe or pipeline in that folder, in the working directory where nothing is named.

    UserError AZD252 where there is none, or more than one.
    """
    if named is not None and not named.is_dir():
        return named
    folder = named or Path()
    files = [path for path in sorted(folder.iterdir()) if path.suffix in (".yml", ".yaml") and _runs(path)]
    if len(files) == 1:
        if not is_quiet():
            click.echo(f"taking {files[0]}", err=True)
        return files[0]
    where = f"the folder {folder}" if named is not None else "this folder"
    if files:
        hint = " or ".join(f"azdistill run {path}" for path in files[:5])
        raise UserError(f"{where} holds {len(files)} recipes and pipelines: which one?", code="AZD252", hint=hint)
    hint = "name a file (azdistill run FILE), or make a project: azdistill init DIR"
    raise UserError(f"{where} holds no recipe or pipeline", code="AZD252", hint=hint)


def _runs(path: Path) -> bool:
    """Whether a file is a recipe or a job. One that cannot be read is taken for one: opening it says what is wrong."""
    from azdistill.aml import reader
    from azdistill.aml.loader import kind_of

    try:
        content = reader.read(path).data
    except SpecError:
        return path.is_file()
    kind = kind_of(content)
    if kind is not None or not isinstance(content, dict):
        return kind in _JOBS
    from azdistill import recipe

    return recipe.is_recipe(content)
