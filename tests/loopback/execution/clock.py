"""The workspace's clock: it moves when a test says so, and schedules fire by it alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta


class Clock:
    """Starts at ``start`` (now, without one). ``on_move(until)`` is what fires; it answers the jobs' names."""

    def __init__(self, start: datetime | None = None) -> None:
        self.now = _utc(start or datetime.now(UTC).replace(microsecond=0))
        self.on_move: Callable[[datetime], list[str]] = lambda until: []

    def advance(self, **by: float) -> list[str]:
        """Let time pass (``hours=3``, any of timedelta's words); the names of the jobs that schedules started."""
        return self.set(self.now + timedelta(**by))

    def set(self, time: datetime) -> list[str]:
        """Move on to a time; the names of the jobs that schedules started on the way."""
        time = _utc(time)
        if time < self.now:
            raise ValueError(f"time does not run back: it is {self.now}")
        started = self.on_move(time)
        self.now = time
        return started


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
