"""``azdistill schedule run``: what a firing would run, on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from azdistill import aml, compile, strict_json
from azdistill import recipe as recipes
from azdistill.aml import Pipeline, reader
from azdistill.aml.expressions import TRIGGER_TIME, fill
from azdistill.aml.loader import is_schedule
from azdistill.cli import local_run
from azdistill.compile.sets import apply_sets, parse_sets
from azdistill.errors import SpecError, UserError
from azdistill.local import Finished
from azdistill.recipe.schedule_file import read_schedule


def run_firing(
    file: Path, sets: Sequence[str], at: datetime, out: Path | None, *, as_json: bool, no_tracking: bool
) -> None:
    """Run what ``file`` schedules, as if it fired ``at``. Ends as ``azdistill run`` does."""
    click.echo(f"as if it fired at {at:%Y-%m-%dT%H:%M:%SZ}", err=True)

    def answer(finished: Finished) -> None:
        if as_json:
            click.echo(strict_json.dumps(local_run.as_json(finished)))

    fixed: dict[str, Any] = {"jobs": None, "no_cache": False, "variables": (), "python": None, "experiment": None}
    finished = local_run.run(
        file,
        sets=(),
        out=out,
        as_json=as_json,
        no_tracking=no_tracking,
        answer=answer,
        pipeline=fired_pipeline(file, parse_sets(sets), at),
        **fixed,
    )
    if finished.error:
        raise finished.error


def fired_pipeline(file: Path, sets: Mapping[str, str], at: datetime) -> Pipeline:
    """The pipeline that a firing at that moment starts, with the moment in the place of its expression."""
    moment, data = f"{at:%Y-%m-%dT%H:%M:%SZ}", reader.read(file).data
    if is_schedule(data):
        written = read_schedule(file)
        mapping = _filled(written.mapping, moment)
        pipeline = apply_sets(aml.pipeline_from(mapping, written.folder, str(written.job_file)), sets)
    elif recipes.is_recipe(data):
        pipeline = _of_recipe(file, sets, moment)
    else:
        hint = "`azdistill run` runs a pipeline"
        raise UserError(f"{file} says no schedule", code="AZD451", hint=hint)
    problems = aml.check(pipeline)
    if any(problem.severity == "error" for problem in problems):
        raise SpecError(problems)
    return pipeline


def _of_recipe(file: Path, sets: Mapping[str, str], moment: str) -> Pipeline:
    opened = compile.open_file(file, sets)
    if "as_of" in opened.pipeline.inputs and "as_of" not in sets:
        opened = compile.open_file(file, {**sets, "as_of": moment})
    for text in [*map(str, opened.warnings), *(f"note: {note}" for note in opened.notes)]:
        click.echo(text, err=True)
    return opened.pipeline


def _filled(value: Any, moment: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled(inner, moment) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, moment) for inner in value]
    return fill(value, {TRIGGER_TIME: moment}) if isinstance(value, str) else value
