"""How many threads each step of a plan gets: steps that may run side by side share the processors.

Two trainings at once with as many threads each as there are processors can take ten times as long as with one thread
each. The shares depend on the plan and the machine alone, never on what happens to run, so that a run that is resumed
computes what an uninterrupted one would have.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from azdistill.local.plan.steps import PlannedStep

VARIABLE = "OMP_NUM_THREADS"


def thread_shares(steps: Mapping[str, PlannedStep], jobs: int, processors: int | None = None) -> dict[str, int]:
    """Threads for each step; ``steps`` are in an order in which each comes after what it needs."""
    count = processors or os.cpu_count() or 1
    before: dict[str, set[str]] = {}
    for name, step in steps.items():
        before[name] = set(step.needs).union(*(before[need] for need in step.needs))
    shares = {name: count // min(jobs, 1 + len(_rivals(name, steps, before))) for name in steps}
    return {name: max(1, share // _together(steps[name], jobs)) for name, share in shares.items()}


def _together(step: PlannedStep, jobs: int) -> int:
    """Processes of a step that work at the same time; the trials of a sweep are as many as there is room for."""
    return step.workers * (min(step.sweep.concurrent, jobs) if step.sweep and not step.exclusive else 1)


def _rivals(name: str, steps: Mapping[str, PlannedStep], before: Mapping[str, set[str]]) -> list[str]:
    """Steps that may run at the same time: neither before nor after this one, and none of them exclusive."""
    if steps[name].exclusive:
        return []
    return [
        other
        for other, step in steps.items()
        if other != name and not step.exclusive and other not in before[name] and name not in before[other]
    ]
