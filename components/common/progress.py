"""Progress with rate and time left: a bar on a terminal, a line every few seconds elsewhere.

The same numbers go to the metrics file, so that the runner's live view shows them.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TextIO

from common import tracking

#: Seconds between two redraws of a bar, between two lines in a log, and between two lines of the metrics file.
BAR_EVERY = 0.2
LINE_EVERY = 5.0
FILE_EVERY = 0.5
_WIDTH = 24


class Progress:
    """``with Progress(total, "asking the teacher") as progress: progress.update()``."""

    def __init__(self, total: int, label: str, *, stream: TextIO | None = None, done: int = 0) -> None:
        self.total = total
        self.done = done
        self.label = label
        self.text = ""
        self._stream = stream or sys.stderr
        self._bar = self._stream.isatty()
        # What was there at the start (answers found in a store) says nothing about the rate.
        self._found = done
        self._started = time.monotonic()
        self._drawn = self._recorded = self._started
        # What was shown last, so that the end does not repeat it; -1: nothing was.
        self._drawn_done = self._recorded_done = -1

    @property
    def rate(self) -> float:
        """Units a second since the start."""
        seconds = time.monotonic() - self._started
        return (self.done - self._found) / seconds if seconds > 0 else 0.0

    @property
    def eta(self) -> float | None:
        """Seconds left at this rate; None while there is none."""
        return (self.total - self.done) / self.rate if self.rate > 0 else None

    def found(self, count: int = 1) -> None:
        """``count`` more are done that took no work: they do not count in the rate."""
        self._found += count
        self.update(count)

    def update(self, count: int = 1, text: str | None = None) -> None:
        """``count`` more are done; ``text`` is shown behind the numbers."""
        self.done += count
        self.text = self.text if text is None else text
        moment = time.monotonic()
        if moment - self._recorded >= FILE_EVERY:
            self._recorded = moment
            self._record()
        if moment - self._drawn >= (BAR_EVERY if self._bar else LINE_EVERY):
            self._drawn = moment
            self._draw()

    def __enter__(self) -> Progress:
        self._record()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._recorded_done != self.done:
            self._record()
        if self._drawn_done != self.done:
            self._draw()
        if self._bar:
            self._stream.write("\n")
            self._stream.flush()

    def _record(self) -> None:
        self._recorded_done = self.done
        eta = self.eta
        tracking.append("progress", done=self.done, total=self.total, rate=self.rate, eta=eta, text=self.text)

    def _draw(self) -> None:
        self._drawn_done = self.done
        self._stream.write(("\r\x1b[K" + self.line()) if self._bar else self.line() + "\n")
        self._stream.flush()

    def line(self) -> str:
        """What is shown now, as one line."""
        share = min(1.0, self.done / self.total) if self.total else 1.0
        bar = f" [{'#' * round(share * _WIDTH):<{_WIDTH}}]" if self._bar else ""
        time_left = "" if self.eta is None or self.done >= self.total else f", {_duration(self.eta)} left"
        return f"{self.label}{bar} {self.done}/{self.total} ({share:.0%}), {self.rate:.1f}/s{time_left}" + (
            f", {self.text}" if self.text else ""
        )


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{seconds:02d}s" if minutes else f"{seconds}s"
