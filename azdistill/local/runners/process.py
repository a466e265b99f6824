"""Steps as processes of this machine: ``/bin/bash -c``, each under a supervisor that ends all that it started.

The guard of the run forks the supervisors (:mod:`azdistill.local.runners.guard`). A supervisor starts its command when
it has been given the job, and ends it when the runner is gone: no child outlives the runner from its first moment on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from azdistill.errors import MachineError, UserError
from azdistill.local.runners import guard
from azdistill.local.runners.base import GRACE, Cancellation, Ended, GuardProcess, Job, Watch
from azdistill.local.runners.process_table import holders, members

_POLL = 0.1
_CHUNK = 1 << 16
#: Seconds for which what a command left running may print on; what has been silent for a moment is ended before.
_AFTERWARDS = 1.0
#: Seconds within which a supervisor ends what it is told to, or says that it cannot.
_ENDS_WITHIN = 2 * guard.PATIENCE
#: How many guards in a row may die over one start, and for how many seconds one may not answer.
_TRIES, _ANSWER = 5, 120.0


class ProcessRunner:
    """Runs steps as processes. ``mark`` (NAME=value) is what the environment of every step of this run holds."""

    name = "process"

    def __init__(self, mark: str) -> None:
        if not os.path.exists(guard.SHELL):
            raise MachineError(f"{guard.SHELL} is missing", code="AZD301", hint="steps are run by it, as on Azure")
        self._mark = mark
        self._guard = GuardProcess(guard.__file__, mark)

    def run(self, job: Job, output: Callable[[bytes], None], cancellation: Cancellation) -> Ended:
        """See :class:`azdistill.local.runners.base.Runner`."""
        started = time.monotonic()
        with self._started(job) as command:
            watch = _ProcessWatch(command, job, cancellation)
            watch.follow(output)
        code = command.returncode
        if code is None:
            if not (watch.timed_out or watch.canceled):
                raise _unwatched(command)
            # It was killed, though nobody saw it end.
            code = -signal.SIGKILL
        return Ended(_as_shell(code), time.monotonic() - started, watch.timed_out, watch.canceled)

    def close(self) -> None:
        """Dismiss the guard, which sweeps what is left of the run before it goes."""
        if not self._guard.close():
            guard.sweep(self._mark)

    @contextmanager
    def _started(self, job: Job) -> Iterator[_Command]:
        described = _described(job)
        with _pipe() as (output, written), self._supervised(job, output.fileno(), written.fileno()) as command:
            written.close()
            try:
                command.start(described)
                yield command
            finally:
                command.end()

    @contextmanager
    def _supervised(self, job: Job, output: int, written: int) -> Iterator[_Command]:
        """A supervisor that waits for its job. One that dies before that has started nothing."""
        for _ in range(_TRIES):
            ours, theirs = socket.socketpair()
            with ours:
                with theirs:
                    self._guard.send([theirs.fileno(), written])
                command = _Command(ours, output, f"AZUREML_RUN_ID={job.attempt_id}")
                if command.is_ready():
                    yield command
                    return
        raise MachineError("the guard process of this run was killed again and again", code="AZD302")


class _Command:
    """A command under its supervisor, as the runner knows it."""

    def __init__(self, control: socket.socket, output: int, mark: str) -> None:
        control.settimeout(_ANSWER)
        self.control, self.output = control, output
        self._mark = mark
        self._unread = b""
        self._supervisor = self._leader = 0
        #: As Popen has it; None while it lives, and where nobody knows.
        self.returncode: int | None = None
        #: Whether its supervisor has ended all that it could, and whether nobody watches it any more.
        self.is_gone = self.is_lost = False

    @property
    def has_ended(self) -> bool:
        """Whether the command is over, or its supervisor gave it up; something that it started may live."""
        return self.returncode is not None or self.is_gone or self.is_lost

    def is_ready(self) -> bool:
        """Wait for its supervisor; False where that died."""
        self._hear_until(lambda: self._supervisor > 0)
        return self._supervisor > 0

    def start(self, job: bytes) -> None:
        self._say(len(job).to_bytes(8, "big") + job)
        self._hear_until(lambda: self._leader > 0)

    def terminate(self) -> None:
        """Ask its process group to end."""
        self._say(guard.TERMINATE)

    def kill(self) -> None:
        """End all of it."""
        self._say(guard.KILL)
        if self.is_lost:
            guard.sweep(self._mark)

    def end(self) -> None:
        """End all of it, and wait until nothing is left, for as long as that is worth while."""
        self._say(guard.KILL)
        self._hear_until(lambda: self.is_gone)
        if self.is_lost:
            guard.sweep(self._mark)

    def abandon(self) -> None:
        """Kill its supervisor, which hangs; the guard ends the rest."""
        if self._supervisor and not (self.is_gone or self.is_lost):
            guard.kill({self._supervisor})

    def has_members(self) -> bool:
        """Whether anything of its process group lives."""
        return bool(members(self._leader))

    def hear(self) -> None:
        """Take in what the supervisor says."""
        try:
            chunk = self.control.recv(4096)
        except TimeoutError:
            self.abandon()
            chunk = b""
        except OSError:
            chunk = b""
        *lines, self._unread = (self._unread + chunk).split(b"\n")
        for line in lines:
            word, _, number = line.partition(b" ")
            self._take(word, int(number or 0))
        self.is_lost = not chunk and not self.is_gone

    def _hear_until(self, is_so: Callable[[], bool]) -> None:
        while not is_so() and not self.is_lost:
            self.hear()

    def _take(self, word: bytes, number: int) -> None:
        match word:
            case guard.READY:
                self._supervisor = number
            case guard.STARTED:
                self._leader = number
            case guard.ENDED:
                self.returncode = number
            case guard.GONE:
                self.is_gone = True
            case guard.FAILED:
                # Its supervisor has nothing more to do.
                self.is_gone = True
                raise _not_started(number)

    def _say(self, words: bytes) -> None:
        with contextlib.suppress(OSError):
            self.control.sendall(words)


class _ProcessWatch(Watch):
    """Reads what a command prints to the end, and ends it when it is time."""

    def __init__(self, command: _Command, job: Job, cancellation: Cancellation) -> None:
        super().__init__(job, cancellation)
        self._command = command
        self._holders: set[int] = set()
        #: When to look next for what outlives the command, and until when.
        self._look_at: float | None = None
        self._left_at: float | None = None

    def follow(self, output: Callable[[bytes], None]) -> None:
        command = self._command
        with selectors.DefaultSelector() as selector:
            selector.register(command.output, selectors.EVENT_READ)
            selector.register(command.control, selectors.EVENT_READ)
            while True:
                ready = self._select(selector, _POLL)
                if command.output in ready:
                    chunk = os.read(command.output, _CHUNK)
                    if not chunk:
                        break
                    output(chunk)
                if command.has_ended and self._is_held(not ready):
                    break
                self.check_time()
            selector.unregister(command.output)
            while not command.has_ended or self._is_ending():
                self.check_time()
                self._select(selector, _POLL / 10 if command.has_ended else _POLL)

    def _select(self, selector: selectors.BaseSelector, seconds: float) -> set[int]:
        """What can be read; what the supervisor says is read already."""
        ready = {key.fd for key, _ in selector.select(seconds)}
        if self._command.control.fileno() in ready:
            self._command.hear()
            if self._command.is_gone or self._command.is_lost:
                selector.unregister(self._command.control)
        return ready

    def check_time(self) -> None:
        """See :class:`azdistill.local.runners.base.Watch`; a supervisor that hangs over it is ended too."""
        super().check_time()
        is_due = self._killed and self._kill_at and time.monotonic() > self._kill_at + _ENDS_WITHIN
        if is_due and not self._command.has_ended:
            self._command.abandon()

    def terminate(self) -> None:
        self._command.terminate()

    def kill(self) -> None:
        self._command.kill()

    def _is_ending(self) -> bool:
        """Whether something of the command's group was asked to end and still has time to."""
        return self._kill_at is not None and not self._killed and self._command.has_members()

    def _is_held(self, is_silent: bool) -> bool:
        """The command is over, but what it started may hold its output open: end that; whether it does so for too long.

        However much of it is printed: that can go on for ever.
        """
        now = time.monotonic()
        self._look_at = self._look_at or now + _AFTERWARDS
        if not is_silent and now < self._look_at:
            return False
        self._look_at = now + _POLL
        if self._is_ending():
            return False
        self.kill()
        return self._is_left()

    def _is_left(self) -> bool:
        """End what holds the output though it is nowhere below the command; whether it does so for too long."""
        pipe = os.fstat(self._command.output).st_ino
        # What holds the pipe twice in a row is no process of the runner that is just being started.
        found = set(holders(pipe))
        guard.kill(self._holders & found)
        self._holders = found
        self._left_at = self._left_at or time.monotonic() + GRACE
        return time.monotonic() > self._left_at


@contextmanager
def _pipe() -> Iterator[tuple[BinaryIO, BinaryIO]]:
    """Where a pipe is read, and where it is written to; the caller may close either before."""
    reading, writing = os.pipe()
    with open(reading, "rb", 0) as output, open(writing, "wb", 0) as written:
        yield output, written


def _described(job: Job) -> bytes:
    """A job as its supervisor reads it."""
    texts = [str(job.folder), job.command]
    for name, value in job.environment.items():
        if "=" in name:
            raise ValueError("illegal environment variable name")
        texts.append(f"{name}={value}")
    if any("\0" in text for text in texts):
        raise ValueError("embedded null byte")
    return b"\0".join(map(os.fsencode, texts))


def _unwatched(command: _Command) -> MachineError:
    happened = (
        "the step was killed, and has not ended"
        if command.is_gone
        else "the process that watched the step was killed, and the step with it"
    )
    return MachineError(happened, code="AZD302", hint="run it again")


def _not_started(number: int) -> UserError | MachineError:
    if number == errno.E2BIG:
        return UserError("the command and its environment are too long for this machine", code="AZD303")
    return MachineError(f"cannot start a process: {os.strerror(number)}", code="AZD304")


def _as_shell(returncode: int) -> int:
    return returncode if returncode >= 0 else 128 - returncode
