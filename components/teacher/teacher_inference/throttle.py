"""Places in flight: as many as the server takes (``congestion``), given in order, those who were refused first.

Who waits before the next try holds no place; a server that says that nothing is left holds everybody.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable

from congestion import Ticket, Window


class Throttle:
    """``async with throttle.place() as place``: one place in flight; say ``answered`` or ``refused`` of it."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.window = Window(limit)
        self.clock = clock
        self._waiting: deque[asyncio.Future[Ticket]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._paused = False

    def place(self, *, is_retry: bool = False) -> Place:
        """A place for one request; one that is a retry goes before those that are not."""
        return Place(self, is_retry)

    def hold(self, seconds: float) -> None:
        """Send nothing for so long."""
        self.window.hold(self.clock() + seconds)

    def pause(self, paused: bool) -> None:
        """Send nothing while ``paused``; who waits is woken when the next request ends."""
        self._paused = paused

    async def take(self, is_retry: bool) -> Ticket:
        """Wait for a place."""
        moment = self.clock()
        if (is_retry or not self._waiting) and not self._paused and self.window.room(moment) <= 0:
            return self.window.sent(moment)
        place: asyncio.Future[Ticket] = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if is_retry else self._waiting.append)(place)
        self.wake()
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.window.ended()
            self.wake()
            raise

    def wake(self) -> None:
        """Give the places that there are to those who wait."""
        while self._waiting and not self._paused:
            if self._waiting[0].done():
                self._waiting.popleft()
                continue
            moment = self.clock()
            seconds = self.window.room(moment)
            if seconds > 0:
                if seconds < math.inf and self._timer is None:
                    self._timer = asyncio.get_running_loop().call_later(seconds, self._timer_ended)
                return
            self._waiting.popleft().set_result(self.window.sent(moment))

    def _timer_ended(self) -> None:
        self._timer = None
        self.wake()


class Place:
    """One request's place."""

    __slots__ = ("_is_retry", "_throttle", "ticket")
    ticket: Ticket

    def __init__(self, throttle: Throttle, is_retry: bool) -> None:
        self._throttle = throttle
        self._is_retry = is_retry

    async def __aenter__(self) -> Place:
        self.ticket = await self._throttle.take(self._is_retry)
        return self

    async def __aexit__(self, *details: object) -> None:
        self._throttle.window.ended()
        self._throttle.wake()

    def answered(self) -> None:
        """The request was answered."""
        self._throttle.window.answered(self.ticket, self._throttle.clock())

    def refused(self) -> None:
        """The server had too much to do for it."""
        self._throttle.window.refused(self.ticket, self._throttle.clock())
