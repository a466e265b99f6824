"""Sweep steps written in a line or two, and what is asked about their trials."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from local_helpers import ENVIRONMENT

from azdistill.local.pipeline_run import Finished
from azdistill.local.store.events import TrialState

#: Logs the value of a shell word as ``loss`` and keeps it in the output.
LOG = """printf '{"kind": "metric", "name": "loss", "value": %s}\\n' {VALUE} >> "$AZDISTILL_METRICS_FILE"; """
KEEP = "echo ${{inputs.x}} > '${{outputs.out}}'"
X = {"x": {"type": "number"}}


def log(value: str = "${{inputs.x}}") -> str:
    """A command that logs a value."""
    return LOG.replace("{VALUE}", value)


def choice(*values: Any) -> dict[str, Any]:
    return {"type": "choice", "values": list(values)}


def uniform(low: float = 0, high: float = 1) -> dict[str, Any]:
    return {"type": "uniform", "min_value": low, "max_value": high}


def sweep_step(
    command: str,
    space: dict[str, Any],
    *,
    total: int = 10,
    at_once: int = 1,
    sampling: Any = "grid",
    declares: dict[str, Any] | None = None,
    outputs: tuple[str, ...] = ("out",),
    goal: str = "minimize",
    limits: dict[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A sweep step over a trial that is written in place; its outputs are files."""
    trial = {
        "type": "command",
        "command": command,
        "environment": ENVIRONMENT,
        "inputs": declares or X,
        "outputs": {name: {"type": "uri_file"} for name in outputs},
        **more.pop("trial", {}),
    }
    return {
        "type": "sweep",
        "trial": trial,
        "search_space": space,
        "sampling_algorithm": sampling,
        "objective": {"goal": goal, "primary_metric": "loss"},
        "limits": {"max_total_trials": total, "max_concurrent_trials": at_once, **(limits or {})},
        **more,
    }


def trials(finished: Finished, step: str = "s") -> list[TrialState]:
    """The trials of a step, in the order of their numbers."""
    return [trial for _, trial in sorted(finished.state.steps[step].trials.items())]


def given(finished: Finished, step: str = "s") -> list[dict[str, str]]:
    """The hyperparameters of each trial."""
    return [trial.hyperparameters for trial in trials(finished, step)]


def came_to(finished: Finished, step: str = "s") -> list[str]:
    """The status of each trial."""
    return [trial.status for trial in trials(finished, step)]


def text_of(finished: Finished, output: str = "out", step: str = "s") -> str:
    """What the step's output holds."""
    return Path(finished.state.steps[step].outputs[output]).read_text(encoding="utf-8").strip()
