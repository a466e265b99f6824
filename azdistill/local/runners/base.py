"""The contract between the scheduler and whatever starts a step's command."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
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


class Watch(ABC):
    """Ends an attempt when its time or the user's patience is over: politely, and after a grace for good."""

    def __init__(self, job: Job, cancellation: Cancellation) -> None:
        self._cancellation = cancellation
        self._timeout = time.monotonic() + job.timeout if job.timeout else None
        self._kill_at: float | None = None
        self.timed_out = self.canceled = self._killed = False

    def check_time(self) -> None:
        """Do what is due by now."""
        now, asked_until = time.monotonic(), self._cancellation.deadline
        is_over = self._timeout is not None and now > self._timeout
        if asked_until is not None or is_over:
            if self._kill_at is None:
                self.canceled = asked_until is not None
                self.timed_out = not self.canceled
                self.terminate()
            deadline = now + GRACE if asked_until is None else asked_until
            self._kill_at = min(self._kill_at or deadline, deadline)
        if self._kill_at and now >= self._kill_at and not self._killed:
            self._killed = True
            self.kill()

    @abstractmethod
    def terminate(self) -> None:
        """Ask the attempt to end."""

    @abstractmethod
    def kill(self) -> None:
        """End it."""


class Runner(Protocol):
    """Starts attempts. One instance serves a whole run and several threads."""

    name: str

    def run(self, job: Job, output: Callable[[bytes], None], cancellation: Cancellation) -> Ended:
        """Start the command, hand on what it prints (to the last byte), and return when nothing of it is left."""

    def close(self) -> None:
        """End whatever of this run may still live."""


def start_guard(*command: str) -> subprocess.Popen[bytes]:
    """Start a guard, a script with its arguments, in a session of its own; only its stdin is held here."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={},
        start_new_session=True,
        cwd="/",
    )
