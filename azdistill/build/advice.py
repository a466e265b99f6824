"""What is worth knowing before a pipeline is run or paid for: retirements, terms, and what was decided."""

from __future__ import annotations

from datetime import date
from typing import Any

from azdistill import catalog
from azdistill.catalog import Model
from azdistill.errors import Problem
from azdistill.recipe.read import Reading


def advice(reading: Reading, today: date | None = None) -> list[Problem]:
    """Warnings about the models that the recipe names."""
    recipe = reading.recipe
    assert recipe is not None
    teacher = catalog.find(recipe.teacher.model)
    if teacher is None:
        return []
    found = [_retirement(teacher, recipe.teacher.endpoint, today or date.today()), _terms(teacher)]
    return [
        reading.origin.problem(code, message, ("teacher", "model"), severity="warning", hint=hint)
        for code, message, hint in filter(None, found)
    ]


def notes(reading: Reading, mapping: dict[str, Any]) -> list[str]:
    """What the recipe left open and how it was taken, one line each."""
    recipe = reading.recipe
    assert recipe is not None
    said = []
    if recipe.hyperparameters.temperature is not None:
        value, meant = recipe.hyperparameters.temperature, recipe.temperature_means
        said.append(f"temperature {value:g} means {meant}, since the method is {recipe.method}")
    if recipe.evaluation.gold_sft == "auto":
        gold = "finetune_gold" in mapping["jobs"]
        said.append(
            "the training rows carry gold answers: the same student trained on those is a fourth column (gold_sft)"
            if gold
            else "no gold answers were seen in the training rows: there is no gold_sft column"
        )
    if recipe.schedule is not None:
        said.append("schedule: is no part of a pipeline; it says when Azure ML starts it")
    return said


def _retirement(model: Model, endpoint: str | None, today: date) -> tuple[str, str, str] | None:
    hosting = model.hosted_at(endpoint)
    if hosting is None or hosting.until is None:
        return None
    gone = hosting.until <= today
    verb = "was retired" if gone else "will be retired"
    message = f"{model.name} {verb} on {hosting.until} ({hosting.where}; {hosting.source}, {hosting.as_of})"
    if hosting.replacement:
        return "AZD340", message, f"the host names {hosting.replacement} as its replacement"
    if model.suggestions:
        return "AZD340", message, f"the host names no replacement; consider {' or '.join(model.suggestions)}"
    return "AZD340", message, "the host names no replacement"


def _terms(model: Model) -> tuple[str, str, str] | None:
    terms = model.terms
    if terms.outputs_may_train == "yes":
        return None
    said = {
        "no": "does not allow other models to be trained on its answers",
        "conditions": "allows other models to be trained on its answers under conditions",
        "unknown": "may or may not allow other models to be trained on its answers: that is not known here",
    }[terms.outputs_may_train]
    return "AZD341", f"{model.name} ({terms.licence}) {said}", f"{terms.note} ({terms.source}, {terms.as_of})".strip()
