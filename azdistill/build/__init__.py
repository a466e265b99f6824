"""From a recipe to the Azure ML pipeline that it stands for.

The pipeline is plain Azure ML: components, bindings, values. ``azdistill compile`` writes it down, ``azdistill run``
runs it here, and ``az ml job create`` takes it too. :func:`load` opens either, a recipe or a pipeline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azdistill import recipe as recipes
from azdistill.build.advice import advice, notes
from azdistill.build.graph import pipeline_of
from azdistill.errors import Problem, SpecError
from azdistill.recipe import Reading
from azdistill.spec import reader

if TYPE_CHECKING:
    from azdistill.spec import Pipeline

__all__ = ["Built", "build", "compile_recipe", "load"]


@dataclass(frozen=True)
class Built:
    """A pipeline as plain data (paths absolute), the ``warnings`` about it, and ``notes`` on what was decided."""

    mapping: dict[str, Any]
    reading: Reading
    warnings: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def pipeline(self) -> Pipeline:
        """The pipeline as the runners take it."""
        from azdistill import spec

        return spec.pipeline_from(self.mapping, self.reading.folder, self.reading.origin.source.file)


def build(reading: Reading) -> Built:
    """The pipeline of a recipe. SpecError where reading it found errors."""
    if reading.recipe is None or any(problem.severity == "error" for problem in reading.problems):
        raise SpecError(reading.problems)
    warnings = [problem for problem in reading.problems if problem.severity == "warning"]
    mapping = pipeline_of(reading)
    return Built(mapping, reading, warnings + advice(reading), notes(reading, mapping))


def compile_recipe(path: str | Path, sets: Mapping[str, str] | None = None) -> Built:
    """The pipeline of the recipe at ``path``. SpecError with everything that is wrong with it."""
    return build(recipes.load(path, sets))


def load(path: str | Path, sets: Mapping[str, str] | None = None) -> tuple[Pipeline, dict[str, str]]:
    """The pipeline at ``path``, be it written as a recipe or as a pipeline, and the sets that are still to be applied.

    A recipe takes them all; a pipeline takes none here, since they are values of its inputs.
    """
    given = dict(sets or {})
    if recipes.is_recipe(reader.read(path).data):
        return compile_recipe(path, given).pipeline(), {}
    from azdistill import spec

    return spec.load_pipeline(path), given
