"""In which order the steps of a plan can start, and how many threads each of them gets.

Two trainings at once with as many threads each as there are processors can take ten times as long as with one thread
each: steps that may run side by side share the processors. The shares depend on the plan and the machine alone, never
on what happens to run, so that a run that is resumed computes what an uninterrupted one would have.
"""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterator, Mapping

from azdistill.local.plan.steps import PlannedStep


class Order:
    """The steps whose needs have all ended well, in the plan's order, kept up to date step by step.

    Looking for them anew after each step takes longer than the steps do where many are answered from the cache.
    """

    def __init__(self, steps: Mapping[str, PlannedStep]) -> None:
        self._places = {name: place for place, name in enumerate(steps)}
        self._names = list(steps)
        self._lacking: dict[str, int] = {}
        self._needed_by: dict[str, list[str]] = {}
        for name, step in steps.items():
            needs = step.needs
            self._lacking[name] = len(needs)
            for need in needs:
                self._needed_by.setdefault(need, []).append(name)
        self._ready = [self._places[name] for name, lacking in self._lacking.items() if not lacking]

    def ready(self) -> Iterator[str]:
        """The steps that can start; what is taken out meanwhile does not matter."""
        return (self._names[place] for place in tuple(self._ready))

    def ended_well(self, name: str) -> None:
        """``name`` keeps nobody waiting any more."""
        for waiting in self._needed_by.pop(name, ()):
            if waiting not in self._lacking:
                continue
            self._lacking[waiting] -= 1
            if not self._lacking[waiting]:
                bisect.insort(self._ready, self._places[waiting])

    def take(self, name: str) -> None:
        """Take ``name`` out: it was started, or never will be."""
        if self._lacking.pop(name) == 0:
            del self._ready[bisect.bisect_left(self._ready, self._places[name])]


def in_order(steps: Mapping[str, PlannedStep]) -> dict[str, PlannedStep]:
    """The steps that need nothing, then those that need only these, and so on; else as they are written."""
    order, ordered = Order(steps), dict[str, "PlannedStep"]()
    while ready := list(order.ready()):
        ordered |= {name: steps[name] for name in ready}
        for name in ready:
            order.take(name)
        for name in ready:
            order.ended_well(name)
    if waiting := [name for name in steps if name not in ordered]:
        raise ValueError(f"steps wait for each other: {', '.join(waiting)}")
    return ordered


VARIABLE = "OMP_NUM_THREADS"


def thread_shares(steps: Mapping[str, PlannedStep], jobs: int, processors: int | None = None) -> dict[str, int]:
    """Threads for each step; ``steps`` are in an order in which each comes after what it needs."""
    count = processors or os.cpu_count() or 1
    before: dict[str, set[str]] = {}
    for name, step in steps.items():
        before[name] = set(step.needs).union(*(before[need] for need in step.needs))
    shares = {}
    for name, step in steps.items():
        # Steps that may run at the same time: neither before nor after this one, and none of them exclusive.
        rivals = [
            rival
            for rival in steps
            if rival != name and not steps[rival].exclusive and rival not in before[name] and name not in before[rival]
        ]
        # Processes of this one that do; the trials of a sweep are as many as there is room for.
        trials = min(step.sweep.concurrent, jobs) if step.sweep and not step.exclusive else 1
        at_once = 1 if step.exclusive else min(jobs, 1 + len(rivals))
        shares[name] = max(1, count // at_once // (step.workers * trials))
    return shares
