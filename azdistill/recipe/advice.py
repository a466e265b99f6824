"""What is worth knowing about the models that a recipe names: retirements, and terms."""

from __future__ import annotations

from datetime import date, timedelta

from azdistill import catalog
from azdistill.catalog import Hosting, Model
from azdistill.errors import Problem
from azdistill.recipe.models import Recipe
from azdistill.recipe.origin import Origin

#: A retirement that is this near is worth a warning.
SOON = timedelta(days=180)


def advice(recipe: Recipe, origin: Origin, today: date | None = None) -> list[Problem]:
    """Warnings about the teacher, as the catalogue knows it."""
    teacher = catalog.find(recipe.teacher.model)
    if teacher is None:
        return []
    # One that runs inside the job is asked of no host.
    hosted = recipe.teacher.endpoint is not None or not teacher.hub_id
    ending = _retirement(teacher, recipe.teacher.endpoint, today or date.today()) if hosted else None
    found = [ending, _terms(teacher)]
    return [
        origin.problem(code, message, ("teacher", "model"), severity="warning", hint=hint)
        for code, message, hint in filter(None, found)
    ]


def _retirement(model: Model, endpoint: str | None, today: date) -> tuple[str, str, str] | None:
    hosting = model.hosted_at(endpoint)
    if hosting is None or not hosting.ends_before(today + SOON):
        return None
    if hosting.stage == "preview":
        what = f"is in preview, listed until {hosting.until}"
    elif hosting.ends_before(today):
        what = f"was retired{f' on {hosting.until}' if hosting.until else ''}"
    else:
        what = f"will be retired on {hosting.until}"
    message = f"{model.name} {what} ({hosting.where}: {hosting.source}, {hosting.as_of})"
    return "AZD240", message, _instead(model, hosting, today)


def _instead(model: Model, hosting: Hosting, today: date) -> str:
    """What to use instead: the host's own replacement where that lives, else what we suggest."""
    named = catalog.find(hosting.replacement) if hosting.replacement else None
    said = f"the host names {hosting.replacement} as its replacement" if named else "the host names no replacement"
    follower = next((place for place in named.hosting if place.where == hosting.where), None) if named else None
    gone = follower is not None and follower.ends_before(today)
    if (named is None or gone) and model.suggestions:
        said += f"{', which has ended too' if gone else ''}; consider {' or '.join(model.suggestions)}"
    return said


def _terms(model: Model) -> tuple[str, str, str] | None:
    terms = model.terms
    if terms.outputs_may_train == "yes":
        return None
    said = {
        "no": "does not allow other models to be trained on its answers",
        "conditions": "allows other models to be trained on its answers under conditions",
        "unknown": "may or may not allow other models to be trained on its answers: that is not known here",
    }[terms.outputs_may_train]
    return "AZD241", f"{model.name} ({terms.licence}) {said}", f"{terms.note} ({terms.source}, {terms.as_of})".strip()
