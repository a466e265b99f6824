"""How many requests may be in flight: additive increase, multiplicative decrease, and pauses the server asks for.

The limit starts small and doubles with each round trip until the first sign of congestion; from then on it grows by
one a round trip and is halved by each sign (the congestion avoidance of TCP: Jacobson, "Congestion avoidance and
control", 1988). A pause stops everybody, because a rate limit belongs to the key and not to a request.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque

#: Requests in flight at the start.
FIRST = 4


class Throttle:
    """``async with throttle: ...`` holds one place in flight; waits for the limit and for pauses."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = float(min(FIRST, most))
        self.in_flight = 0
        self._growing_fast = True
        self._resume_at = 0.0
        self._cut_at = float("-inf")
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> float:
        """Wait for a place. Returns the time at which it was given."""
        while not self._free():
            place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            try:
                await place
            finally:
                if place in self._waiting:
                    self._waiting.remove(place)
        self.in_flight += 1
        return time.monotonic()

    async def __aexit__(self, *details: object) -> None:
        self.in_flight -= 1
        self._wake()

    def succeeded(self) -> None:
        """A request was answered: allow more."""
        step = 1.0 if self._growing_fast else 1.0 / self.limit
        self.limit = min(float(self.most), self.limit + step)
        self._wake()

    def congested(self, started: float) -> None:
        """A request that began at ``started`` met a server with too much to do: allow half as many.

        Requests sent before the last cut say nothing about the limit after it, and do not cut again.
        """
        if started < self._cut_at:
            return
        self._cut_at = time.monotonic()
        self._growing_fast = False
        self.limit = max(1.0, self.limit / 2)

    def pause(self, seconds: float) -> None:
        """Send nothing for so long."""
        self._resume_at = max(self._resume_at, time.monotonic() + seconds)

    @property
    def paused_for(self) -> float:
        """Seconds until requests are sent again; 0 when they are."""
        return max(0.0, self._resume_at - time.monotonic())

    def _free(self) -> bool:
        if wait := self.paused_for:
            self._wake_in(wait)
            return False
        return self.in_flight < max(1, int(self.limit))

    def _wake_in(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._timer_ended)

    def _timer_ended(self) -> None:
        self._timer = None
        self._wake()

    def _wake(self) -> None:
        if wait := self.paused_for:
            self._wake_in(wait)
            return
        places = max(1, int(self.limit)) - self.in_flight
        while self._waiting and places > 0:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                places -= 1
