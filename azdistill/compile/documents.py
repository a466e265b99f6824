"""Opens what a user names: a recipe, or a pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from azdistill import aml
from azdistill.aml import Pipeline, reader
from azdistill.aml.loader import kind_of
from azdistill.errors import Problem


@dataclass(frozen=True)
class PipelineDocument:
    """A pipeline, the sets that are still to be applied to its inputs, and what there is to say about it."""

    pipeline: Pipeline
    sets: dict[str, str]
    warnings: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def open_file(path: str | Path, sets: Mapping[str, str] | None = None) -> PipelineDocument:
    """The pipeline at ``path``, be it written as a recipe or as a pipeline.

    A recipe takes all the sets; a pipeline takes none here, since they are values of its inputs.
    """
    values = dict(sets or {})
    data = reader.read(path).data
    if kind_of(data) is not None:
        return PipelineDocument(aml.load_pipeline(path), values)
    # What reads recipes takes longer to import than a trivial pipeline to run.
    from azdistill import recipe
    from azdistill.compile.recipe import compile_recipe

    if not recipe.is_recipe(data):
        return PipelineDocument(aml.load_pipeline(path), values)
    built = compile_recipe(path, values)
    return PipelineDocument(built.pipeline(), {}, built.warnings, built.notes)
