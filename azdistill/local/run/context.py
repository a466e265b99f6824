"""What all steps of a run share, made once before the first of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from azdistill.local.cache.entries import Cache
from azdistill.local.cache.hashes import Hashes
from azdistill.local.plan.steps import Plan, PlannedStep
from azdistill.local.run.interpreter import Interpreter
from azdistill.local.run.listener import Tracking
from azdistill.local.run.result import Result
from azdistill.local.runners.base import Cancellation, Runner
from azdistill.local.store.events import Hear
from azdistill.local.store.runs import RunLog

if TYPE_CHECKING:
    from azdistill.local.run.containers import Containers


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanContext:
    """What decides whether a step has to be run: a dry run knows no more."""

    plan: Plan
    cache: Cache
    hashes: Hashes
    #: Of each step, its environment's own (``local.pythons``) or the run's.
    interpreters: Mapping[str, Interpreter]
    containers: Containers | None = None
    use_cache: bool = True
    #: The caller's own, passed to every step; secrets, as far as anybody knows.
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext(PlanContext):
    """What running a step needs beside that. ``inherited``: what steps see of the caller's environment unasked."""

    log: RunLog
    runner: Runner
    cancellation: Cancellation
    inherited: Mapping[str, str]
    threads: Mapping[str, int] = field(default_factory=dict)
    retries: int = 0
    tracking: Tracking | None = None
    #: What runs the trials of sweep steps: not needed where there is none.
    search: Search | None = None


class SearchEnd(Protocol):
    """What the search of a sweep step came to."""

    @property
    def failed(self) -> Result | None:
        """What the step came to, where no trial gave an answer."""

    def hand_over(self, places: Mapping[str, Path], standing: frozenset[str], metrics: Path) -> None:
        """Put the best trial's outputs at ``places`` and write its metrics; what stands between runs gets copies."""


class Trials(Protocol):
    """Runs trials of one sweep step, each as a step of its own."""

    def __call__(self, trial: PlannedStep, cancellation: Cancellation, hear: Hear) -> Result:
        """Run one to its end; ``hear`` is told what happens to it."""


class Search(Protocol):
    """Runs the trials of a sweep step whose key in the cache is ``key``, at most ``room`` of them at a time.

    ``say`` takes a line for people.
    """

    def __call__(
        self,
        context: RunContext,
        step: PlannedStep,
        results: Mapping[str, Result],
        key: str,
        *,
        run_trial: Trials,
        hear: Hear,
        say: Callable[[str], None],
        room: int,
    ) -> SearchEnd: ...
