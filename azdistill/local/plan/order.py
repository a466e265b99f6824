"""Which steps of a plan can start, kept up to date step by step.

Looking for them anew after each step takes longer than the steps do where many are answered from the cache.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping

from azdistill.local.plan.steps import PlannedStep


class Order:
    """The steps whose needs have all ended well, in the plan's order."""

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
        for other in self._needed_by.pop(name, ()):
            if other not in self._lacking:
                continue
            self._lacking[other] -= 1
            if not self._lacking[other]:
                bisect.insort(self._ready, self._places[other])

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
