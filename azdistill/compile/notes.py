"""What a recipe left open, and how it was taken."""

from __future__ import annotations

from typing import Any

from azdistill.compile.compute import named_for
from azdistill.compile.gold import look_for_gold
from azdistill.compile.teachers import in_job, placed
from azdistill.recipe.read import Reading


def _where(reading: Reading) -> str:
    """Where a teacher without an endpoint runs, and why there."""
    assert reading.recipe is not None
    found = placed(reading)
    if found is None:
        return f"it runs inside the job, on {named_for(reading.recipe.compute, 'teacher')}"
    return f"it runs inside the job, on {found.instance_type} ({found.why})"


def _about_gold(reading: Reading, mapping: dict[str, Any]) -> str:
    if "finetune_gold" in mapping["jobs"]:
        return "the training rows carry gold answers: the same student trained on those is a fourth column (gold_sft)"
    gold = look_for_gold(reading)
    if gold.seen is None:
        return (
            f"cannot tell whether the training rows carry gold answers: {gold.why}; "
            "there is no gold_sft column (evaluation.gold_sft: true makes one)"
        )
    return f"no gold answers were seen in {gold.why}: there is no gold_sft column"


def notes(reading: Reading, mapping: dict[str, Any]) -> list[str]:
    """What the recipe left open and how it was taken, one line each."""
    recipe = reading.recipe
    assert recipe is not None
    said = []
    if recipe.hyperparameters.temperature is not None:
        value, meant = recipe.hyperparameters.temperature, recipe.temperature_means
        said.append(f"temperature {value:g} means {meant}, since the method is {recipe.method}")
    if in_job(recipe):
        said.append(f"the teacher has no endpoint: {_where(reading)}")
    if recipe.evaluation.gold_sft == "auto":
        said.append(_about_gold(reading, mapping))
    if recipe.schedule is not None:
        said.append("schedule: is no part of a pipeline; it says when Azure ML starts it")
    return said
