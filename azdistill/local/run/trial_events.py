"""What a sweep tells of its trials while it goes on."""

from __future__ import annotations

from typing import Any

from azdistill.local.store.events import Event
from azdistill.local.store.runs import TrialState


def trial_name(step: str, number: int) -> str:
    """The name of a trial, where steps are named: in folders, ids, and before its lines."""
    return f"{step}.trial_{number}"


def told_of(news: Event) -> dict[str, Any] | None:
    """What the event log keeps of it beside the step; None for what is not kept."""
    trial = news.fields["state"]
    given = {"trial": trial.number, "hyperparameters": trial.hyperparameters, "draw": trial.draw, "sweep": trial.sweep}
    if news.kind == "trial_started":
        return {**given, "attempt": trial.attempts, "log": trial.log}
    if news.kind == "trial_ended":
        result = {"status": trial.status, "metric": trial.metric, "reports": trial.reports, "seconds": trial.seconds}
        return {**given, **result, "error": trial.error, "key": trial.key}
    return {"trial": trial.number, "total": trial.total} if news.kind == "sweep_ended" else None


def progress_of(trial: TrialState, seconds: float) -> dict[str, Any]:
    """How far a sweep has got when ``trial`` ended, as a record of a metrics file; ``seconds`` since it began."""
    best = f"best so far: trial {trial.best}" if trial.best else ""
    rate = trial.done / seconds if seconds > 0 else 0.0
    eta = (trial.total - trial.done) / rate if rate else None
    return {"kind": "progress", "done": trial.done, "total": trial.total, "rate": rate, "eta": eta, "text": best}
