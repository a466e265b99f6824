"""``azdistill validate``: everything wrong in YAML files, shown the way a good compiler does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import click

from azdistill import strict_json
from azdistill.errors import Problem, SpecError
from azdistill.redact import clean, redact

#: Longer source lines are cut around the place that matters.
_WIDTH = 100
_WORD = re.compile(r"'[^']*'|\"[^\"]*\"|\$\{\{.*?\}\}|[^\s:,\]}]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@click.command("validate")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one list of problems as JSON.")
def validate_command(files: tuple[Path, ...], as_json: bool) -> None:
    """Report everything wrong in recipes, pipelines, components and environments, without a network."""
    _lines.cache_clear()
    results = [(file, *_examine(file)) for file in files]
    problems = list(dict.fromkeys(problem for _, _, found in results for problem in found))
    if as_json:
        told = clean([problem.as_json() for problem in problems])
        click.echo(strict_json.dumps(told, indent=2, ensure_ascii=False))
    else:
        for problem in problems:
            click.echo(_shown(problem))
        for file, what, found in results:
            if not _errors(found):
                click.echo(click.style("ok", fg="green", bold=True) + f": {file} ({what}){_warned(found)}")
        if _errors(problems):
            click.echo(_count(problems))
    if _errors(problems):
        raise SystemExit(2)


def _examine(file: Path) -> tuple[str, list[Problem]]:
    """What ``file`` holds, in words, and what is wrong with it."""
    from azdistill import aml

    if _is_recipe(file):
        from azdistill import compile

        return "recipe", compile.check(file)
    if _is_schedule(file):
        from azdistill.recipe.schedule_file import check_schedule

        return "schedule", check_schedule(file)
    read, problems = aml.examine(file)
    return _described(read), problems


def _is_recipe(file: Path) -> bool:
    from azdistill.aml import reader
    from azdistill.aml.loader import kind_of

    try:
        data = reader.read(file).data
    except SpecError:
        return False
    if kind_of(data) is not None or not isinstance(data, dict):
        return False
    from azdistill import recipe

    return recipe.is_recipe(data)


def _is_schedule(file: Path) -> bool:
    from azdistill.aml import reader
    from azdistill.aml.loader import is_schedule

    try:
        return is_schedule(reader.read(file).data)
    except SpecError:
        return False


def _described(read: Any) -> str:
    jobs = getattr(read, "jobs", None)
    if jobs is not None:
        component = "pipeline component, " if type(read).__name__ == "PipelineComponent" else ""
        return f"{component}{_plural(len(jobs), 'step')}"
    name = getattr(read, "name", None)
    if (kind := getattr(read, "kind", None)) is not None:
        return f"{kind} {name}" if name else str(kind)
    kind = {"CommandComponent": f"{'parallel' if getattr(read, 'parallel', None) else 'command'} component"}.get(
        type(read).__name__, type(read).__name__.lower()
    )
    return f"{kind} {name}" if name else kind


def _errors(problems: Sequence[Problem]) -> int:
    return sum(problem.severity == "error" for problem in problems)


def _plural(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def _warned(problems: Sequence[Problem]) -> str:
    return f", {_plural(len(problems), 'warning')}" if problems else ""


def _count(problems: Sequence[Problem]) -> str:
    errors = _errors(problems)
    return click.style(_plural(errors, "error"), fg="red", bold=True) + _warned(
        [p for p in problems if p.severity != "error"]
    )


def _shown(problem: Problem) -> str:
    """A problem with the line it is about and a caret under the word."""
    colour = "red" if problem.severity == "error" else "yellow"
    head = click.style(f"{problem.severity}[{problem.code}]", fg=colour, bold=True)
    lines = [f"{head}: {_clean(problem.message)}"]
    gutter = " " * len(str(problem.line or ""))
    if problem.file:
        place = ":".join(str(part) for part in (problem.file, problem.line, problem.column) if part)
        lines.append(click.style(f"{gutter}--> ", fg="blue") + place)
    lines += _excerpt(problem, gutter, colour)
    if problem.hint:
        lines.append(click.style(f"{gutter} = ", fg="blue") + f"hint: {_clean(problem.hint)}")
    return "\n".join(lines) + "\n"


def _excerpt(problem: Problem, gutter: str, colour: str) -> list[str]:
    source = _lines(problem.file) if problem.line else []
    if not 0 < problem.line <= len(source):
        return []
    # Hidden before anything is cut or measured, so that no half of a secret is left over.
    from azdistill.aml.checks.secrets import hidden

    text = _clean(hidden(source[problem.line - 1]))
    column = max(0, min(problem.column - 1, len(text)))
    start = max(0, column - _WIDTH // 2) if len(text) > _WIDTH else 0
    word = _WORD.match(text, column)
    length = min(len(word[0]) if word else 1, max(1, _WIDTH - (column - start)))
    bar = click.style("|", fg="blue")
    return [
        f"{gutter} {bar}",
        f"{click.style(str(problem.line), fg='blue')} {bar} {text[start : start + _WIDTH]}",
        f"{gutter} {bar} {' ' * (column - start)}{click.style('^' * length, fg=colour, bold=True)}",
    ]


def _clean(text: str) -> str:
    return _CONTROL.sub("?", redact(text))


@cache
def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text("utf-8-sig").expandtabs(1).split("\n")
    except (OSError, UnicodeDecodeError):
        return []
