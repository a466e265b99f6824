"""Makes the pipeline of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azdistill import aml
from azdistill import recipe as recipes
from azdistill.aml import Pipeline
from azdistill.compile.graph import pipeline_of
from azdistill.compile.notes import notes
from azdistill.errors import Problem, SpecError
from azdistill.recipe import Reading


@dataclass(frozen=True)
class Built:
    """A pipeline as plain data (paths absolute), the ``warnings`` about it, and ``notes`` on what was decided."""

    mapping: dict[str, Any]
    reading: Reading
    warnings: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def pipeline(self) -> Pipeline:
        """The pipeline as the runners take it."""
        return aml.pipeline_from(self.mapping, self.reading.folder, self.reading.origin.source.file)


def build(reading: Reading) -> Built:
    """The pipeline of a recipe. SpecError where reading it found errors."""
    if reading.recipe is None or any(problem.severity == "error" for problem in reading.problems):
        raise SpecError(reading.problems)
    mapping = pipeline_of(reading)
    return Built(mapping, reading, reading.problems, notes(reading, mapping))


def compile_recipe(path: str | Path, sets: Mapping[str, str] | None = None) -> Built:
    """The pipeline of the recipe at ``path``. SpecError with everything that is wrong with it."""
    return build(recipes.load(path, sets))


def check(path: str | Path, sets: Mapping[str, str] | None = None) -> list[Problem]:
    """Everything wrong with the recipe at ``path``, and with the pipeline it makes where it makes one."""
    problems = recipes.check(path, sets)
    if any(problem.severity == "error" for problem in problems):
        return problems
    try:
        return problems + aml.check(build(recipes.read(path, sets, strict_env=False)).pipeline())
    except SpecError as error:
        return problems + error.problems
