"""Going on with a run that did not complete: which run is meant, and which of its attempts still count."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from azdistill.errors import UserError, did_you_mean
from azdistill.local.keyed import has_fields, same_fields
from azdistill.local.outputs.manifest import MANIFEST, Hash, Manifest
from azdistill.local.plan.bindings import Made
from azdistill.local.plan.steps import Plan, PlannedStep
from azdistill.local.store.durable_files import make_read_only, walk_files
from azdistill.local.store.home import Home
from azdistill.local.store.runs import RunState, list_runs, named

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


def attempts(run_folder: Path, step: str) -> Iterator[Path]:
    """The folders of a step's attempts, the newest first."""
    folder = run_folder / "steps" / step / "attempts"
    tried = [int(found.name) for found in folder.iterdir() if found.name.isdigit()] if folder.is_dir() else []
    for number in sorted(tried, reverse=True):
        yield folder / str(number)


def finished(
    run_folder: Path, plan: Plan, step: PlannedStep, fields: dict[str, Any], hash_of: Hash
) -> tuple[Path, Manifest] | None:
    """The attempt of this run that succeeded with these very fields, if its outputs are what it wrote."""
    names = [name for name, output in step.outputs.items() if not output.standing]
    since = max((_ended(run_folder, maker) for maker in _fillers(plan, step)), default=0)
    for attempt in attempts(run_folder, step.name):
        manifest = Manifest.read(attempt)
        if not manifest or not has_fields(attempt, fields):
            continue
        if manifest.matches(places(attempt, names), hash_of) and manifest.holds(step.in_place, hash_of):
            return (attempt, manifest) if _written(attempt) >= since else None
    return None


def _fillers(plan: Plan, step: PlannedStep) -> Iterator[str]:
    """The steps whose stores a step reads: what is in these is in no key, but when they ended is known."""
    for bound in step.inputs.values():
        if isinstance(bound, Made) and plan.steps[bound.step].outputs[bound.output].store:
            yield bound.step


def _ended(run_folder: Path, step: str) -> int:
    return max((_written(attempt) for attempt in attempts(run_folder, step)), default=0)


def _written(attempt: Path) -> int:
    """When an attempt succeeded; 0 for one that did not."""
    try:
        return (attempt / MANIFEST).stat().st_mtime_ns
    except OSError:
        return 0


def places(attempt: Path, names: list[str]) -> dict[str, Path]:
    """Where the outputs of an attempt lie, those that went into the cache by their place there."""
    outputs = (attempt / "outputs").resolve()
    return {name: outputs / name for name in names}


def unfinished(attempt: Path) -> Path | None:
    """What the last attempt before this one that wrote anything did write, where it did not succeed; else None.

    None, too, where that was made of other code or data: its journal would answer another question. Attempts that were
    ended before they wrote anything are passed over.
    """
    for number in range(int(attempt.name) - 1, 0, -1):
        last = attempt.parent / str(number)
        before = last / "outputs"
        if _written(last) or before.is_symlink():
            return None
        if before.is_dir() and next(walk_files(before), None):
            return before if same_fields(last, attempt) else None
    return None


def previous(attempt: Path) -> Mapping[str, str]:
    """The variable that leads a step to what its previous attempt wrote (docs/contributing/local-runner.md)."""
    found = unfinished(attempt)
    if found:
        make_read_only(found)
    return {"AZDISTILL_PREVIOUS_ATTEMPT": str(found)} if found else {}
