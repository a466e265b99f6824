"""What all steps of a run share, made once before the first of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from azdistill.local.cache.entries import Cache
from azdistill.local.cache.hashes import Hashes
from azdistill.local.cache.seal import Seal
from azdistill.local.plan.steps import Plan
from azdistill.local.run.interpreter import Interpreter
from azdistill.local.run.listener import Tracking
from azdistill.local.run.run_code import CodeOfSteps, RunCode
from azdistill.local.runners.base import Cancellation, Runner
from azdistill.local.store.runs import RunLog

if TYPE_CHECKING:
    from azdistill.local.run.containers import Containers


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanContext:
    """What decides whether a step has to be run: a dry run knows no more."""

    plan: Plan
    cache: Cache
    hashes: Hashes
    code: CodeOfSteps
    #: Of each step, its environment's own (``local.pythons``) or the run's.
    interpreters: Mapping[str, Interpreter]
    containers: Containers | None = None
    use_cache: bool = True
    #: What the keys of all steps say of the caller's variables, and what hashes those that a step names itself.
    counted: Mapping[str, str]
    seal: Seal


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext(PlanContext):
    """What running a step needs beside that. ``inherited``: what steps see of the caller's environment unasked;
    ``variables``: those that ``--env`` names, secrets, as far as anybody knows.
    """

    code: RunCode
    log: RunLog
    runner: Runner
    cancellation: Cancellation
    inherited: Mapping[str, str]
    variables: Mapping[str, str] = field(default_factory=dict)
    threads: Mapping[str, int] = field(default_factory=dict)
    retries: int = 0
    tracking: Tracking | None = None
