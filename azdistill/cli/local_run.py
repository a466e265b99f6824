"""What ``azdistill run`` does between reading the file and printing the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from azdistill import aml, compile
from azdistill.aml.models import Pipeline
from azdistill.cli.view import make_view
from azdistill.client.headline import columns
from azdistill.compile.sets import apply_sets, parse_sets
from azdistill.errors import SpecError, UserError
from azdistill.local import (
    Finished,
    Listener,
    Options,
    Selection,
    Tracker,
    TrackingListener,
    run_pipeline,
    tracking_uri,
)
from azdistill.redact import redact

_IMAGES = "a container has the Python of its image: local.environments in azdistill.yml names another"
_NAMED = "export NAME=..., then --env NAME"


def run(
    file: Path,
    *,
    sets: Sequence[str],
    as_json: bool,
    no_tracking: bool,
    answer: Callable[[Finished], None],
    pipeline: Pipeline | None = None,
    **chosen: Any,
) -> Finished:
    """Run ``file`` as the options of the verb say; ``answer`` prints the result before MLflow has all of it.

    ``pipeline`` is what to run where it is not what ``file`` itself says; ``chosen`` as in :func:`options_of`.
    """
    pipeline = pipeline or open_pipeline(file, sets)
    options = options_of(**chosen)
    view = make_view(to_stderr=as_json)
    tracker = None if no_tracking else Tracker(tracking_uri(), view.warn)
    tracked = TrackingListener(tracker, str(file), apart=options.docker, columns=columns) if tracker else None
    listeners: list[Listener] = [view, *([tracked] if tracked else [])]
    try:
        with view:
            finished = run_pipeline(pipeline, options, listeners, tracked)
        answer(finished)
        return finished
    finally:
        if tracker:
            tracker.close(waiting=lambda: click.echo("MLflow is still writing this run down ...", err=True))


def options_of(
    *,
    out: Path | None,
    jobs: int | None,
    no_cache: bool,
    variables: Sequence[str],
    python: str | None,
    experiment: str | None,
    docker: bool = False,
    network: str | None = None,
    resume: str | None = None,
    retries: int = 0,
    keep_going: bool = False,
    only: Sequence[str] = (),
    since: Sequence[str] = (),
    until: Sequence[str] = (),
    strict: bool = False,
) -> Options:
    """The options of the verb, as the runner takes them. UserError for one that would do nothing."""
    if network and not docker:
        raise UserError("--network is for containers", code="AZD378", hint="add --docker")
    if python and docker:
        raise UserError("--python is for steps that run without containers", code="AZD378", hint=_IMAGES)
    if any("=" in name for name in variables):
        # Not shown: the value is likely a secret.
        raise UserError("--env takes the name of a variable, not its value", code="AZD330", hint=_NAMED)
    fixed: dict[str, Any] = {"jobs": jobs} if jobs else {}
    return Options(
        out=out,
        use_cache=not no_cache,
        python=python,
        experiment=experiment,
        variables=tuple(variables),
        docker=docker,
        network=network,
        resume=resume,
        retries=retries,
        keep_going=keep_going,
        strict=strict,
        selection=Selection(tuple(only), tuple(since), tuple(until)),
        **fixed,
    )


def open_pipeline(file: Path, sets: Sequence[str]) -> Pipeline:
    """The pipeline in ``file`` with ``--set`` applied, checked. Prints warnings; raises SpecError for errors."""
    opened = compile.open_file(file, parse_sets(sets))
    pipeline = apply_sets(opened.pipeline, opened.sets)
    problems = aml.check(pipeline)
    if any(problem.severity == "error" for problem in problems):
        raise SpecError(problems)
    for text in [*map(str, opened.warnings + problems), *(f"note: {note}" for note in opened.notes)]:
        click.echo(redact(text), err=True)
    return pipeline


def as_json(finished: Finished) -> dict[str, Any]:
    """The object that ``--json`` prints."""
    state = finished.state
    result: dict[str, Any] = {
        "run_id": state.run_id,
        "status": state.status,
        "seconds": round(state.seconds, 3),
        "steps": {name: step.as_json() for name, step in state.steps.items()},
        "outputs": state.outputs,
        **({"withheld": state.withheld} if state.withheld else {}),
    }
    return result | ({"error": redact(str(finished.error))} if finished.error else {})
