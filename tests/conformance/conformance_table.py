"""The rows of the conformance suite, and the table that docs/conformance.md shows of them.

A row is made by the decorator of the test that proves it, so none is claimed without a proof; the test is run once for
each runner that the row says something about.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

HONOURED, IGNORED, REFUSED = "honoured", "ignored", "refused"
RUNNERS = ("process", "docker")
BEGIN, END = "<!-- conformance: begin -->", "<!-- conformance: end -->"
#: The modules of the suite, in the order of their parts of the table, and the titles of those.
PARTS = {
    "test_conformance_interface": "what a step is given",
    "test_conformance_ends": "how a step ends, and what it prints",
    "test_conformance_reuse": "reuse, order and metrics",
    "test_conformance_kinds": "kinds of steps",
    "test_conformance_control": "conditions and values",
    "test_conformance_sweeps": "sweeps",
    "test_conformance_places": "environments, and what a step can reach",
    "test_conformance_told": "what only Azure has",
}
Test = TypeVar("Test", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Row:
    """A feature: its place in YAML, and what each runner makes of it (None: the feature is not about that runner)."""

    id: str
    title: str
    key: str
    process: str | None
    docker: str | None
    remark: str = ""

    def outcome(self, runner: str) -> str | None:
        return self.process if runner == "process" else self.docker


ROWS: dict[str, Row] = {}
#: Row -> the module that proves it.
PROVED_IN: dict[str, str] = {}


def row(
    id: str,
    title: str,
    key: str,
    *,
    process: str | None = HONOURED,
    docker: str | None = HONOURED,
    remark: str = "",
) -> Callable[[Test], Test]:
    """The decorated test proves this row, for each runner that it has an outcome for."""
    made = Row(id, title, key, process, docker, remark)
    runners = [runner for runner in RUNNERS if made.outcome(runner)]

    def decorate(test: Test) -> Test:
        if id in ROWS:
            raise ValueError(f"two tests prove the row {id}")
        ROWS[id], PROVED_IN[id] = made, test.__module__
        marked: Test = pytest.mark.parametrize("runner", runners, indirect=True, scope="module")(test)
        return marked

    return decorate


def collect() -> None:
    """Import every module of the suite, which is what makes the rows."""
    for name in PARTS:
        importlib.import_module(name)


def table() -> str:
    """The rows as Markdown, between the marks that the page holds."""
    collect()
    lines = [BEGIN, "", "| | key | processes | `--docker` |", "|---|---|---|---|"]
    for module, title in PARTS.items():
        lines.append(f"| **{title}** | | | |")
        lines += [_line(made) for made in ROWS.values() if PROVED_IN[made.id] == module]
    return "\n".join([*lines, "", END])


def _line(made: Row) -> str:
    title = f"{made.title} ({made.remark})" if made.remark else made.title
    return f"| {title} | `{made.key}` | {made.process or '-'} | {made.docker or '-'} |"


def written_into(page: str) -> str:
    """``page`` with the table as it is now between its marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"the page has no place for the table: {BEGIN} ... {END}")
    return before + table() + after


PAGE = Path(__file__).parents[2] / "docs" / "conformance.md"
