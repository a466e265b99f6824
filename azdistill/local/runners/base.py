"""The contract between the scheduler and whatever starts a step's command."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from azdistill.errors import MachineError

#: Seconds between the polite signal and the one that cannot be refused.
GRACE = 5.0
#: Seconds within which a guard that was killed is replaced, or never.
_REPLACED_WITHIN = 60.0
#: Seconds that a guard lives at least that is not one of many that die at once.
_SHORT = 1.0
#: Seconds for which a guard may go by itself, once it is let.
_GOES_WITHIN = 30.0
#: Of a machine, or a process, that has too much open or running just now.
_PASSING = {errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EINTR, errno.ETOOMANYREFS}


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


class GuardProcess:
    """The guard of a run, a script with its arguments in a session of its own; one that dies is replaced at once.

    Only its stdin is held here, the end of which tells it that the runner is gone.
    """

    def __init__(self, *command: str) -> None:
        self._command = command
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._failure: OSError | None = None
        self._process, self._stdin = _start(command)
        self._since = time.monotonic()
        self._keeper = threading.Thread(target=self._keep, name="guard", daemon=True)
        self._keeper.start()

    def send(self, descriptors: Sequence[int]) -> None:
        """Give the guard, or the one in its place, copies of these descriptors."""
        until = time.monotonic() + _REPLACED_WITHIN
        with self._changed:
            self.check()
            while not self._is_sent(descriptors):
                self._changed.wait(_SHORT / 4)
                self.check()
                if time.monotonic() > until:
                    raise self._is_gone()

    def check(self) -> None:
        """Raise a MachineError where there is no guard any more."""
        if self._failure:
            raise self._is_gone() from self._failure

    def close(self, word: bytes = b"") -> bool:
        """Let the guard go, with a last word to it; whether it went by itself. One that hangs is killed."""
        with self._changed:
            self._closing.set()
            with contextlib.suppress(OSError):
                self._stdin.sendall(word)
            self._stdin.close()
        self._keeper.join(_GOES_WITHIN)
        if has_gone := not self._keeper.is_alive():
            return has_gone
        self._process.kill()
        self._keeper.join(_GOES_WITHIN)
        return has_gone

    def _is_sent(self, descriptors: Sequence[int]) -> bool:
        try:
            socket.send_fds(self._stdin, [b"+"], descriptors)
        except (BrokenPipeError, ConnectionResetError):
            return False
        except OSError as error:
            # It is closed between a guard that has died and the next.
            if error.errno in _PASSING or self._stdin.fileno() < 0:
                return False
            raise
        return True

    def _keep(self) -> None:
        while not self._failure:
            self._process.wait()
            if time.monotonic() - self._since < _SHORT:
                # One that cannot live must not take all of a core.
                self._closing.wait(_SHORT / 4)
            until = time.monotonic() + _REPLACED_WITHIN
            while not self._is_replaced(until):
                self._closing.wait(_SHORT / 4)
            if self._closing.is_set():
                return

    def _is_replaced(self, until: float) -> bool:
        """Whether there is another guard, or there will be none; what passes is no reason for that until then."""
        with self._changed:
            if self._closing.is_set():
                return True
            self._stdin.close()
            try:
                self._process, self._stdin = _start(self._command)
            except OSError as error:
                if error.errno in _PASSING and time.monotonic() < until:
                    return False
                self._failure = error
            self._since = time.monotonic()
            self._changed.notify_all()
            return True

    def _is_gone(self) -> MachineError:
        return MachineError("the guard process of this run was killed, and no other can be started", code="AZD302")


def _start(command: Sequence[str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    with contextlib.ExitStack() as unless_started, theirs:
        unless_started.enter_context(ours)
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", *command],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # What the interpreter itself may need to start.
            env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
            start_new_session=True,
            cwd="/",
        )
        unless_started.pop_all()
    return process, ours
