"""Who is whose child: the guard of a runner, the supervisors of a guard, and what lives below them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from azdistill.local.runners.guard import contents, processes, standing


def children(pid: int) -> list[int]:
    """The live children of a process."""
    listed = {other: standing(other) for other in processes()}
    return [other for other, (state, parent, _) in listed.items() if parent == pid and state not in ("", "Z", "X")]


def is_guard(pid: int) -> bool:
    """Whether a process is a guard, or a supervisor, which a guard forked."""
    return b"guard.py\0" in contents(pid, "cmdline")


def guards(runner: int) -> list[int]:
    """The guard of a runner; for a moment it may have none."""
    return [pid for pid in children(runner) if is_guard(pid)]


def supervisors(guard: int) -> list[int]:
    """The supervisors that a guard has forked."""
    return [pid for pid in children(guard) if is_guard(pid)]


def running(*command: str) -> list[int]:
    """The live processes with this command line."""
    line = b"".join(part.encode() + b"\0" for part in command)
    return [pid for pid in processes() if contents(pid, "cmdline") == line and standing(pid)[0] not in ("", "Z", "X")]


def end(*pids: int) -> None:
    """Kill processes, one right after the other, that may be gone already."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def comes(true: Callable[[], object], within: float = 60.0) -> bool:
    """Whether something is so in time."""
    until = time.monotonic() + within
    while not (is_so := true()) and time.monotonic() < until:
        time.sleep(0.01)
    return bool(is_so)
