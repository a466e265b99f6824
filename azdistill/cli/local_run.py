"""What ``run``, ``run --dry-run`` and ``schedule run`` do between reading the file and printing the result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from azdistill import aml, compile, strict_json
from azdistill.aml import Pipeline, reader
from azdistill.aml.expressions import TRIGGER_TIME, fill
from azdistill.aml.loader import is_schedule
from azdistill.cli.project_file import project_file
from azdistill.cli.run_view import RunView
from azdistill.cli.screen import open_screen
from azdistill.cli.text import aligned, print_findings
from azdistill.client.headline import columns
from azdistill.compile.sets import apply_sets, parse_sets
from azdistill.errors import AzdistillError, UserError, raise_errors
from azdistill.local import (
    Finished,
    Forecast,
    Listener,
    Options,
    Selection,
    Tracker,
    TrackingListener,
    foresee,
    run_pipeline,
    short_value,
    tracking_uri,
)
from azdistill.redact import clean, redact

_IMAGES = "a container has the Python of its image: local.environments in azdistill.yml names another"
_NAMED = "export NAME=..., then --env NAME"


def run(pipeline: Pipeline, file: Path, options: Options, *, as_json: bool, no_tracking: bool) -> Finished:
    """Run ``pipeline``, which ``file`` stands for. With ``as_json`` the object is printed before MLflow has it all."""
    screen = open_screen(to_stderr=as_json)
    tracker = None if no_tracking else Tracker(tracking_uri(), screen.warn)
    tracked = TrackingListener(tracker, str(file), apart=options.docker, columns=columns) if tracker else None
    listeners: list[Listener] = [RunView(screen), *([tracked] if tracked else [])]
    try:
        with closing(screen):
            finished = run_pipeline(pipeline, options, listeners, tracked)
        if as_json:
            click.echo(strict_json.dumps(_as_json(finished)))
        return finished
    finally:
        if tracker:
            tracker.close(waiting=lambda: click.echo("MLflow is still writing this run down ...", err=True))


def options_of(
    *,
    jobs: int | None,
    no_cache: bool,
    variables: Sequence[str],
    only: Sequence[str],
    since: Sequence[str],
    until: Sequence[str],
    **same: Any,
) -> Options:
    """The options of the verb, as the runner takes them. UserError for one that would do nothing."""
    if same["network"] and not same["docker"]:
        raise UserError("--network is for containers", code="AZD378", hint="add --docker")
    if same["python"] and same["docker"]:
        raise UserError("--python is for steps that run without containers", code="AZD378", hint=_IMAGES)
    if any("=" in name for name in variables):
        # Not shown: the value is likely a secret.
        raise UserError("--env takes the name of a variable, not its value", code="AZD330", hint=_NAMED)
    if jobs:
        same["jobs"] = jobs
    selection = Selection(tuple(only), tuple(since), tuple(until))
    return Options(use_cache=not no_cache, variables=tuple(variables), selection=selection, **same)


def open_pipeline(file: Path, sets: Sequence[str]) -> Pipeline:
    """The pipeline in ``file`` with ``--set`` applied, checked. Prints warnings; raises SpecError for errors."""
    opened = compile.open_file(file, parse_sets(sets))
    pipeline = apply_sets(opened.pipeline, opened.sets)
    problems = aml.check(pipeline)
    raise_errors(problems)
    print_findings(opened.warnings + problems, opened.notes)
    return pipeline


def _as_json(finished: Finished) -> dict[str, Any]:
    """The object that ``--json`` prints."""
    state = finished.state
    return {
        "run_id": state.run_id,
        "status": state.status,
        "seconds": round(state.seconds, 3),
        "steps": {name: step.as_json() for name, step in state.steps.items()},
        "outputs": state.outputs,
        **({"withheld": state.withheld} if state.withheld else {}),
        **({"error": redact(str(finished.error))} if finished.error else {}),
    }


def print_dry_run(file: Path | None, *, sets: Sequence[str], as_json: bool, **chosen: Any) -> None:
    """Print what a run with these options would do or reuse, and why."""
    try:
        plan, steps = foresee(open_pipeline(project_file(file), sets), options_of(**chosen))
    except AzdistillError as error:
        if as_json:
            click.echo(strict_json.dumps({"dry_run": True, "steps": {}, "error": redact(str(error))}))
        raise
    print_findings((), plan.notes)
    if as_json:
        by_name = {name: step.as_json() for name, step in steps.items()}
        click.echo(strict_json.dumps(clean({"dry_run": True, "steps": by_name})))
    else:
        click.echo(redact("\n".join(_dry_run_lines(steps))))


def _dry_run_lines(steps: Mapping[str, Forecast]) -> list[str]:
    counts = {
        action: sum(step.action == action for step in steps.values()) for action in ("run", "reuse", "after", "skip")
    }
    skipped = f", {counts['skip']} skipped" if counts["skip"] else ""
    undecided = f", {counts['after']} as these turn out" if counts["after"] else ""
    total = f"{counts['run']} would run, {counts['reuse']} would be reused{skipped}{undecided}"
    lines = aligned([(name, _foreseen(step)) for name, step in steps.items()])
    return [*lines, f"dry run: {total}; nothing was started"]


def _foreseen(step: Forecast) -> str:
    if step.action == "after":
        return f"after   {', '.join(step.after)}"
    text = f"{step.action:<6}  {step.reason}"
    if step.differences:
        first = step.differences[0]
        text += f": {short_value(first.before)} -> {short_value(first.after)} (in {step.compared_with})"
    return text


def run_firing(
    file: Path, sets: Sequence[str], at: datetime, out: Path | None, *, as_json: bool, no_tracking: bool
) -> None:
    """Run what ``file`` schedules, as if it fired ``at``. Ends as ``azdistill run`` does."""
    click.echo(f"as if it fired at {at:%Y-%m-%dT%H:%M:%SZ}", err=True)
    pipeline = fired_pipeline(file, parse_sets(sets), at)
    finished = run(pipeline, file, Options(out=out), as_json=as_json, no_tracking=no_tracking)
    if finished.error:
        raise finished.error


def fired_pipeline(file: Path, sets: Mapping[str, str], at: datetime) -> Pipeline:
    """The pipeline that a firing at that moment starts, with the moment in the place of its expression."""
    from azdistill import recipe
    from azdistill.recipe.schedule_file import read_schedule

    moment, content = f"{at:%Y-%m-%dT%H:%M:%SZ}", reader.read(file).data
    if is_schedule(content):
        schedule = read_schedule(file)
        mapping = _filled(schedule.mapping, moment)
        pipeline = apply_sets(aml.pipeline_from(mapping, schedule.folder, str(schedule.job_file)), sets)
    elif recipe.is_recipe(content):
        pipeline = _of_recipe(file, sets, moment)
    else:
        raise UserError(f"{file} says no schedule", code="AZD451", hint="`azdistill run` runs a pipeline")
    raise_errors(aml.check(pipeline))
    return pipeline


def _of_recipe(file: Path, sets: Mapping[str, str], moment: str) -> Pipeline:
    opened = compile.open_file(file, sets)
    if "as_of" in opened.pipeline.inputs and "as_of" not in sets:
        opened = compile.open_file(file, {**sets, "as_of": moment})
    print_findings(opened.warnings, opened.notes)
    return opened.pipeline


def _filled(value: Any, moment: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled(entry, moment) for key, entry in value.items()}
    if isinstance(value, list):
        return [_filled(entry, moment) for entry in value]
    return fill(value, {TRIGGER_TIME: moment}) if isinstance(value, str) else value
