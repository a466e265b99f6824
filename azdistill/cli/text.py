"""Text that verbs print: made safe for a terminal, times, sizes, and columns under each other."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from azdistill import strict_json
from azdistill.errors import Problem
from azdistill.redact import clean, redact
from azdistill.terminal import harmless

#: Where click keeps, for a verb and the group above it, that --quiet was given.
QUIET = f"{__name__}.quiet"
#: A key of the cache, or an image's id.
_HASH = re.compile(r"(?<![0-9a-f])([0-9a-f]{12})[0-9a-f]{52}(?![0-9a-f])")


def safe_text(text: str) -> str:
    """``text`` as anybody may see it: no secret is in it, and nothing that would steer a terminal.

    Names and values come from files of others, and what a step says may repeat what it was given.
    """
    # What is left of a secret once it is harmless may be one only then.
    return redact(harmless(redact(text)))


def brief(text: str) -> str:
    """``text`` with whole hashes, which nobody reads or types, cut to as much as ``azdistill cache ls`` shows."""
    return _HASH.sub(r"\1...", text)


def plural(number: int, word: str) -> str:
    """``1 step``, ``2 steps``."""
    return f"{number} {word}{'s' * (number != 1)}"


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 m 05 s``, ``2 h 10 m``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} m"
    return f"{minutes} m {seconds:02d} s" if minutes else f"{seconds} s"


def aligned(rows: Sequence[Sequence[str]], *, right: bool = False) -> list[str]:
    """Rows as lines, without the columns that are empty; ``right`` moves all columns but the first to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if right and number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            if width
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def is_quiet() -> bool:
    """Whether --quiet was given, before the verb or after it."""
    context = click.get_current_context(silent=True)
    return bool(context and context.meta.get(QUIET))


def print_findings(problems: Iterable[Problem], notes: Iterable[str] = ()) -> None:
    """Print what a person should know, and what stops nothing, on stderr; notes only where they are wanted."""
    notes = () if is_quiet() else notes
    for text in [*map(str, problems), *(f"note: {note}" for note in notes)]:
        click.echo(redact(text), err=True)


def print_answer(content: Any, lines: Callable[[], Iterable[str]], *, as_json: bool, indent: int | None = None) -> None:
    """Print what a verb was asked for on stdout: ``content`` as JSON, or for people what ``lines`` makes, which is not
    called otherwise.
    """
    if as_json:
        click.echo(strict_json.dumps(clean(content), indent=indent))
        return
    for line in lines():
        click.echo(redact(line))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; its last column is folded where the terminal is too narrow."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in headings:
        table.add_column(heading, overflow="fold", no_wrap=heading != headings[-1])
    for row in rows:
        table.add_row(*map(Text, row))
    Console(highlight=False, width=None if sys.stdout.isatty() else 160).print(table)
