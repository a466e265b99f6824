"""The contract between the scheduler and whatever starts a step's command."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

#: Seconds between the polite signal and the one that cannot be refused.
GRACE = 5.0


@dataclass(frozen=True, slots=True)
class Job:
    """One attempt of one step, ready to be started."""

    attempt_id: str
    command: str
    folder: Path
    environment: dict[str, str]
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """How an attempt ended. ``returncode`` as a shell reports it: 128 + n for a command that signal n ended."""

    returncode: int
    seconds: float
    timed_out: bool = False
    canceled: bool = False


class Cancellation:
    """Asked once: end politely, with a grace of five seconds. Asked twice: end now. Shared by all steps of a run."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._deadline: float | None = None

    def ask(self) -> None:
        """Ask, or insist. Safe to call in a signal handler."""
        self._deadline = time.monotonic() if self.asked.is_set() else time.monotonic() + GRACE
        self.asked.set()

    @property
    def deadline(self) -> float | None:
        """When patience ends (monotonic clock); None while nobody has asked."""
        return self._deadline


class Runner(Protocol):
    """Starts attempts. One instance serves a whole run and several threads."""

    name: str

    def run(self, job: Job, output: Callable[[bytes], None], cancellation: Cancellation) -> Ended:
        """Start the command, hand on what it prints (to the last byte), and return when nothing of it is left."""

    def close(self) -> None:
        """End whatever of this run may still live."""
