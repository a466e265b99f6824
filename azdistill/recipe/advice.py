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
    warnings = [ending, _terms(teacher)]
    return [
        origin.problem(code, message, ("teacher", "model"), severity="warning", hint=hint)
        for code, message, hint in filter(None, warnings)
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
    """What to use instead: the host's own replacement where that lives on, else what does among what we suggest."""
    named = catalog.find(hosting.replacement) if hosting.replacement else None
    if named is None:
        advice_text, lives = "the host names no replacement", False
    else:
        ending = _ending(named, hosting.where, today)
        advice_text, lives = f"the host names {hosting.replacement} as its replacement{ending}", not ending
    alternatives = [] if lives else [one for one in _successors(model, hosting.where, today) if one != named]
    living = [one for one in alternatives if not _ending(one, hosting.where, today)]
    direct = [one for one in living if one.name in model.suggestions]
    if chosen := direct or living[:1]:
        advice_text += f"; consider {' or '.join(one.name for one in chosen)}"
    elif alternatives:
        longest = max(alternatives, key=lambda one: _until(one, hosting.where))
        advice_text += f"; consider {longest.name}{_ending(longest, hosting.where, today)}"
    return advice_text


def _ending(model: Model, where: str, today: date) -> str:
    """What keeps a model from being a teacher for long, at one host; empty where nothing is known to."""
    hosting = model.hosted_by(where)
    if hosting is None or not (hosting.ends_before(today + SOON) or hosting.stage == "deprecated"):
        return ""
    if hosting.ends_before(today):
        return ", which has ended too"
    if not hosting.ends_before(today + SOON):
        return ", which can no longer be deployed"
    return f", which ends on {hosting.until}"


def _successors(model: Model, where: str, today: date) -> list[Model]:
    """The models that still answer at a host and that take another's place there, directly or in turn."""
    order, waiting = {model.name: model}, [model]
    while waiting:
        one = waiting.pop(0)
        hosting = one.hosted_by(where)
        names = [*one.suggestions, *([hosting.replacement] if hosting and hosting.replacement else [])]
        fresh = [successor for name in names if name not in order and (successor := catalog.find(name))]
        order |= {successor.name: successor for successor in fresh}
        waiting += fresh
    answering = [one for one in order.values() if not ((place := one.hosted_by(where)) and place.ends_before(today))]
    return [one for one in answering if one is not model]


def _until(model: Model, where: str) -> date:
    hosting = model.hosted_by(where)
    return (hosting and hosting.until) or date.max


def _terms(model: Model) -> tuple[str, str, str] | None:
    terms = model.terms
    if terms.outputs_may_train == "yes":
        return None
    rule = {
        "no": "does not allow other models to be trained on its answers",
        "conditions": "allows other models to be trained on its answers under conditions",
        "unknown": "may or may not allow other models to be trained on its answers: that is not known here",
    }[terms.outputs_may_train]
    hint = f"{terms.note} ({terms.source}, {terms.as_of})".strip()
    return "AZD241", f"{model.name} ({terms.licence}) {rule}", hint
