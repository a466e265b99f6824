"""Which runs `azdistill runs` lists: by how they ended, what they are called, and when they began."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import click

from azdistill.cli.options import add_options
from azdistill.errors import UserError

_Run = TypeVar("_Run")
_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}

#: Those of runs here, then those that only runs on Azure have.
_STATES = ("running", "completed", "failed", "canceled", "lost", "notstarted", "queued", "preparing", "finalizing")

filter_options = add_options(
    click.option(
        *("--status", "statuses"),
        type=click.Choice(_STATES),
        multiple=True,
        metavar="STATE",
        help="Only runs in this state: failed, completed, ... Repeatable.",
    ),
    click.option("--name", "text", metavar="TEXT", help="Only runs whose id or pipeline holds TEXT."),
    click.option("--experiment", metavar="NAME", help="Only runs of this experiment."),
    click.option("--since", metavar="WHEN", help="Only runs that began since then: 7d, 12h, 2w or a date."),
)


@dataclass(frozen=True, slots=True)
class RunFilter:
    """What a run has to be. Whatever is left open, any run is."""

    statuses: tuple[str, ...] = ()
    text: str = ""
    experiment: str = ""
    since: float | None = None

    def chosen(self, runs: Iterable[_Run], facts_of: Callable[[_Run], Facts]) -> Iterator[_Run]:
        """Those of ``runs`` that fit, in their order."""
        return (run for run in runs if self._fits(facts_of(run)))

    def _fits(self, facts: Facts) -> bool:
        return (
            (not self.statuses or facts.status in self.statuses)
            and any(self.text.lower() in name.lower() for name in facts.names)
            and (not self.experiment or facts.experiment == self.experiment)
            and (self.since is None or facts.began >= self.since)
        )


@dataclass(frozen=True, slots=True)
class Facts:
    """What runs are chosen by, of a run of any kind."""

    status: str
    names: tuple[str, ...]
    experiment: str
    began: float


def run_filter(statuses: tuple[str, ...], text: str | None, experiment: str | None, since: str | None) -> RunFilter:
    """The filter that the options describe. UserError for a span of time that is none."""
    return RunFilter(statuses, text or "", experiment or "", moment_since(since) if since else None)


def moment_since(text: str, now: float | None = None) -> float:
    """The moment that ``7d``, ``12h``, ``30m``, ``2w`` or a date names. UserError AZD447 for anything else."""
    span = re.fullmatch(r"(\d+)\s*([mhdw])", text.strip())
    if span:
        return (time.time() if now is None else now) - int(span[1]) * _UNITS[span[2]]
    try:
        date = datetime.fromisoformat(text.strip())
    except ValueError:
        hint = "write 7d, 12h, 30m, 2w or 2026-01-31"
        raise UserError(f"'{text}' is no span of time", code="AZD447", hint=hint) from None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
