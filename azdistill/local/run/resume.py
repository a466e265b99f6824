"""Going on with a run that did not complete: which run is meant."""

from __future__ import annotations

from azdistill.errors import UserError, did_you_mean
from azdistill.local.store.events import RunState
from azdistill.local.store.home import Home
from azdistill.local.store.runs import list_runs, named

_SHOWN = 20


def run_to_resume(home: Home, wanted: str, pipeline: str) -> RunState:
    """The run that ``wanted`` stands for: an id, the beginning of exactly one, or ``latest`` of this pipeline.

    UserError where there is none, or where it is of another pipeline.
    """
    runs = list_runs(home)
    own = [run for run in runs if run.pipeline == pipeline]
    if wanted == "latest":
        if own:
            return own[0]
        raise UserError(f"there is no run of {pipeline} to resume", code="AZD383", hint="run it without --resume")
    found = named(wanted, runs)
    if found is None:
        hint = did_you_mean(wanted, [run.run_id for run in own[:_SHOWN]])
        raise UserError(f"no run '{wanted}'", code="AZD385", hint=hint)
    if found.pipeline != pipeline:
        message = f"{found.run_id} is a run of {found.pipeline}, not of {pipeline}"
        raise UserError(message, code="AZD374", hint="give --resume with the file that it was started with")
    return found
