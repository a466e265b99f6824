"""``azdistill validate``: everything wrong in YAML files, shown the way a good compiler does."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import click

from azdistill import strict_json
from azdistill.cli.options import json_option
from azdistill.cli.text import plural
from azdistill.errors import Problem, SpecError
from azdistill.redact import clean, redact

#: Longer source lines are cut around the place that matters.
_WIDTH = 100
_WORD = re.compile(r"'[^']*'|\"[^\"]*\"|\$\{\{.*?\}\}|[^\s:,\]}]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@click.command("validate")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def validate_command(files: tuple[Path, ...], as_json: bool) -> None:
    """Report everything wrong in recipes, pipelines, components and environments, without a network."""
    _lines.cache_clear()
    results = [(file, *_examine(file)) for file in files]
    problems = list(dict.fromkeys(problem for _, _, of_file in results for problem in of_file))
    if as_json:
        click.echo(strict_json.dumps(clean([p.as_json() for p in problems]), indent=2, ensure_ascii=False))
    else:
        for problem in problems:
            click.echo(_excerpted(problem))
        for file, what, of_file in results:
            if not _errors(of_file):
                click.echo(click.style("ok", fg="green", bold=True) + f": {file} ({what}){_warned(of_file)}")
        if _errors(problems):
            click.echo(_count(problems))
    if _errors(problems):
        raise SystemExit(2)


def _examine(file: Path) -> tuple[str, list[Problem]]:
    """What ``file`` holds, in words, and what is wrong with it."""
    from azdistill import aml

    kind = _kind(file)
    if kind == "recipe":
        from azdistill import compile

        return kind, compile.check(file)
    if kind == "schedule":
        from azdistill.recipe.schedule_file import check_schedule

        return kind, check_schedule(file)
    read, problems = aml.examine(file)
    if isinstance(read, aml.Pipeline) and not _errors(problems):
        from azdistill.local import refused_places

        problems = [*problems, *refused_places(read)]
    return _described(read), problems


def _kind(file: Path) -> str:
    """``recipe`` or ``schedule``; empty for what is Azure ML's otherwise, or cannot be read."""
    from azdistill.aml import reader
    from azdistill.aml.loader import is_schedule, kind_of

    try:
        content = reader.read(file).data
    except SpecError:
        return ""
    if kind_of(content) is None and isinstance(content, dict):
        from azdistill import recipe

        if recipe.is_recipe(content):
            return "recipe"
    return "schedule" if is_schedule(content) else ""


def _described(read: Any) -> str:
    jobs = getattr(read, "jobs", None)
    if jobs is not None:
        component = "pipeline component, " if type(read).__name__ == "PipelineComponent" else ""
        return f"{component}{plural(len(jobs), 'step')}"
    name, kind, type_name = getattr(read, "name", None), getattr(read, "kind", None), type(read).__name__
    if kind is None and type_name == "CommandComponent":
        kind = "parallel component" if getattr(read, "parallel", None) else "command component"
    kind = kind or type_name.lower()
    return f"{kind} {name}" if name else str(kind)


def _errors(problems: Sequence[Problem]) -> int:
    return sum(problem.severity == "error" for problem in problems)


def _warned(problems: Sequence[Problem]) -> str:
    return f", {plural(len(problems), 'warning')}" if problems else ""


def _count(problems: Sequence[Problem]) -> str:
    warnings = [problem for problem in problems if problem.severity != "error"]
    return click.style(plural(_errors(problems), "error"), fg="red", bold=True) + _warned(warnings)


def _excerpted(problem: Problem) -> str:
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
