"""``azdistill run --dry-run``: what would run or be reused, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from azdistill import strict_json
from azdistill.cli.local_run import open_pipeline, options_of
from azdistill.errors import AzdistillError
from azdistill.local import Foreseen, foresee, short_value
from azdistill.redact import clean, redact


def print_dry_run(file: Path, *, sets: Sequence[str], as_json: bool, no_tracking: bool, **chosen: Any) -> None:
    """Print what a run with these options would do. Nothing is tracked, so ``no_tracking`` makes no difference."""
    try:
        plan, steps = foresee(open_pipeline(file, sets), options_of(**chosen))
    except AzdistillError as error:
        if as_json:
            click.echo(strict_json.dumps({"dry_run": True, "steps": {}, "error": redact(str(error))}))
        raise
    for note in plan.notes:
        click.echo(redact(f"note: {note}"), err=True)
    if as_json:
        told = {"dry_run": True, "steps": {name: step.as_json() for name, step in steps.items()}}
        click.echo(strict_json.dumps(clean(told)))
    else:
        click.echo(redact("\n".join(_lines(steps))))


def _lines(steps: Mapping[str, Foreseen]) -> list[str]:
    width = max((len(name) for name in steps), default=0)
    lines = [f"{name:<{width}}  {_doing(step)}" for name, step in steps.items()]
    counts = {
        action: sum(step.action == action for step in steps.values()) for action in ("run", "reuse", "after", "skip")
    }
    left = f", {counts['skip']} skipped" if counts["skip"] else ""
    decided = f", {counts['after']} as these turn out" if counts["after"] else ""
    return [
        *lines,
        f"dry run: {counts['run']} would run, {counts['reuse']} would be reused{left}{decided}; nothing was started",
    ]


def _doing(step: Foreseen) -> str:
    if step.action == "after":
        return f"after   {', '.join(step.after)}"
    text = f"{step.action:<6}  {step.reason}"
    if step.differences:
        first = step.differences[0]
        text += f": {short_value(first.before)} -> {short_value(first.after)} (in {step.compared_with})"
    return text
