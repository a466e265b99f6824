"""Steps as processes of this machine: ``/bin/bash -c`` in a process group of its own, watched by a guard.

The order at the start is what keeps a child from outliving the runner: the child waits for a line on its stdin, the
guard is told its group, then the line is sent. A runner that dies in between leaves a child that reads the end of its
stdin and ends.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from azdistill.errors import MachineError, UserError
from azdistill.local.runners import guard
from azdistill.local.runners.base import GRACE, Cancellation, Ended, Job, Watch, start_guard

_SHELL = "/bin/bash"
_GATE = f'read -r go && exec {_SHELL} -c "$0" < /dev/null'
_POLL = 0.1
_CHUNK = 1 << 16


class ProcessRunner:
    """Runs steps as processes. ``mark`` (NAME=value) is what the environment of every step of this run holds."""

    name = "process"

    def __init__(self, mark: str) -> None:
        if not os.path.exists(_SHELL):
            raise MachineError(f"{_SHELL} is missing", code="AZD301", hint="steps are run by it, as on Azure")
        self._mark = mark
        self._lock = threading.Lock()
        self._guard = start_guard(guard.__file__, mark)

    def run(self, job: Job, output: Callable[[bytes], None], cancellation: Cancellation) -> Ended:
        """See :class:`azdistill.local.runners.base.Runner`."""
        started = time.monotonic()
        with self._child(job) as child:
            watch = _ProcessWatch(child, job, cancellation)
            watch.follow(output)
        return Ended(_as_shell(child.returncode), time.monotonic() - started, watch.timed_out, watch.canceled)

    def close(self) -> None:
        """Dismiss the guard, which sweeps what is left of the run before it goes."""
        stdin = self._guard.stdin
        if stdin and not stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                stdin.close()
        self._guard.wait()

    @contextmanager
    def _child(self, job: Job) -> Iterator[subprocess.Popen[bytes]]:
        child = _start(job)
        assert child.stdout
        named = f"{child.pid} {os.fstat(child.stdout.fileno()).st_ino}\n"
        try:
            self._tell(f"+{named}")
            _open_gate(child)
            yield child
        finally:
            # While the leader is not waited for, its group's id cannot become another's.
            guard.kill_group(child.pid)
            self._tell(f"-{named}")
            child.wait()
            child.stdout.close()

    def _tell(self, line: str) -> None:
        with self._lock:
            assert self._guard.stdin
            try:
                self._guard.stdin.write(line.encode())
                self._guard.stdin.flush()
            except BrokenPipeError as gone:
                raise MachineError("the guard process of this run was killed", code="AZD302") from gone


class _ProcessWatch(Watch):
    """Reads a child to the end of its output, and ends it when it is time."""

    def __init__(self, child: subprocess.Popen[bytes], job: Job, cancellation: Cancellation) -> None:
        super().__init__(job, cancellation)
        self._child, self._mark = child, f"AZUREML_RUN_ID={job.attempt_id}"
        self._holders: set[int] = set()
        self._left_at: float | None = None

    def follow(self, output: Callable[[bytes], None]) -> None:
        assert self._child.stdout
        descriptor = self._child.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while True:
                if selector.select(_POLL):
                    chunk = os.read(descriptor, _CHUNK)
                    if not chunk:
                        break
                    output(chunk)
                elif _has_ended(self._child) and not self._is_ending():
                    # The command is over, but something it started holds its output open.
                    self.kill()
                    if self._is_left(descriptor):
                        break
                self.check_time()
        pause = _POLL / 500
        while not _has_ended(self._child) or self._is_ending():
            self.check_time()
            time.sleep(pause)
            pause = min(pause * 2, _POLL / 10)
        if self.timed_out or self.canceled:
            self.kill()

    def terminate(self) -> None:
        guard.kill_group(self._child.pid, signal.SIGTERM)

    def kill(self) -> None:
        guard.kill_group(self._child.pid)
        guard.sweep(self._mark)

    def _is_ending(self) -> bool:
        """Whether something of the command's group was asked to end and still has time to."""
        return self._kill_at is not None and not self._killed and bool(guard.members(self._child.pid))

    def _is_left(self, descriptor: int) -> bool:
        """End what left the group and cleared its environment; whether even so the output is held for too long."""
        pipe = os.fstat(descriptor).st_ino
        # What holds the pipe twice in a row is no step of this run that is just being started, and holds everything.
        holders = set(guard.holders(pipe))
        guard.kill(self._holders & holders)
        self._holders = holders
        self._left_at = self._left_at or time.monotonic() + GRACE
        return time.monotonic() > self._left_at


def _start(job: Job) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            ["/bin/sh", "-c", _GATE, job.command],
            cwd=job.folder,
            env=job.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            bufsize=0,
        )
    except OSError as error:
        if error.errno == errno.E2BIG:
            raise UserError("the command and its environment are too long for this machine", code="AZD303") from error
        raise MachineError(f"cannot start a process: {error.strerror}", code="AZD304") from error


def _open_gate(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin
    with contextlib.suppress(BrokenPipeError):
        child.stdin.write(b"go\n")
        child.stdin.close()


def _has_ended(child: subprocess.Popen[bytes]) -> bool:
    if not hasattr(os, "waitid"):
        return child.poll() is not None
    if child.returncode is not None:
        return True
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _as_shell(returncode: int) -> int:
    return returncode if returncode >= 0 else 128 - returncode
