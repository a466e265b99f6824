"""Makes the pipeline of a recipe, and says how what the recipe left open was taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azdistill import aml
from azdistill import recipe as recipes
from azdistill.aml import Pipeline
from azdistill.compile.compute import named_for
from azdistill.compile.gold import look_for_gold
from azdistill.compile.graph import pipeline_of
from azdistill.compile.teachers import in_job, placed
from azdistill.errors import Problem, SpecError
from azdistill.recipe import Reading


@dataclass(frozen=True)
class CompiledRecipe:
    """A pipeline as plain data (paths absolute), the ``warnings`` about it, and ``notes`` on what was decided."""

    mapping: dict[str, Any]
    reading: Reading
    warnings: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def pipeline(self) -> Pipeline:
        """The pipeline as the runners take it."""
        return aml.pipeline_from(self.mapping, self.reading.folder, self.reading.origin.source.file)


def build(reading: Reading) -> CompiledRecipe:
    """The pipeline of a recipe. SpecError where reading it found errors."""
    if reading.recipe is None or any(problem.severity == "error" for problem in reading.problems):
        raise SpecError(reading.problems)
    mapping = pipeline_of(reading)
    return CompiledRecipe(mapping, reading, reading.problems, notes(reading, mapping))


def compile_recipe(path: str | Path, sets: Mapping[str, str] | None = None) -> CompiledRecipe:
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


def notes(reading: Reading, mapping: dict[str, Any]) -> list[str]:
    """What the recipe left open and how it was taken, one line each."""
    recipe = reading.sound
    lines = []
    if recipe.hyperparameters.temperature is not None:
        value, setting = recipe.hyperparameters.temperature, recipe.temperature_means
        lines.append(f"temperature {value:g} means {setting}, since the method is {recipe.method}")
    if in_job(recipe):
        lines.append(f"the teacher has no endpoint: {_where(reading)}")
    if recipe.evaluation.gold_sft == "auto":
        lines.append(_about_gold(reading, mapping))
    if recipe.schedule is not None:
        lines.append("schedule: is no part of a pipeline; it says when Azure ML starts it")
    return lines


def _where(reading: Reading) -> str:
    """Where a teacher without an endpoint runs, and why there."""
    machine = placed(reading)
    if machine is None:
        return f"it runs inside the job, on {named_for(reading.sound.compute, 'teacher')}"
    return f"it runs inside the job, on {machine.instance_type} ({machine.why})"


def _about_gold(reading: Reading, mapping: dict[str, Any]) -> str:
    if "finetune_gold" in mapping["jobs"]:
        return "the training rows carry gold answers: the same student trained on those is a fourth column (gold_sft)"
    gold = look_for_gold(reading)
    if gold.present is None:
        return (
            f"cannot tell whether the training rows carry gold answers: {gold.why}; "
            "there is no gold_sft column (evaluation.gold_sft: true makes one)"
        )
    return f"no gold answers were seen in {gold.why}: there is no gold_sft column"
