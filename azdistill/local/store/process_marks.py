"""Marks: how a process identifies itself, so that another can tell later whether it is still running.

A mark is ``pid start-time world``. The world is the boot and the PID namespace that the process runs in (empty where
there is no /proc). A pid means nothing in another world. Two containers may share a project or a Docker engine, so a
process of another world counts as alive until its files have not changed for a week.
"""

from __future__ import annotations

import os
import re
import time
from functools import cache
from pathlib import Path

#: After so many seconds without a change, files of a process of another world are no longer in use.
LONG_AGO = 7 * 24 * 3600.0
#: A mark in a file name.
PATTERN = r"(\d+(?:-\d*(?:-\w+)?)?)"


def own_mark() -> str:
    """The mark of this process."""
    return " ".join(part for part in (str(os.getpid()), _start_time(os.getpid()), _world()) if part)


def in_name(mark: str) -> str:
    """A mark as a file name can hold it; :func:`from_name` reads it."""
    return mark.replace(" ", "-")


def from_name(text: str) -> str:
    """The mark that :func:`in_name` wrote."""
    return text.replace("-", " ")


def is_alive(mark: str) -> bool:
    """Whether the process of a mark is still the same one, and running, or may be (see :func:`is_elsewhere`)."""
    pid, started, _ = _parts(mark)
    if not (pid.isascii() and pid.isdigit()):
        return False
    if is_elsewhere(mark):
        return True
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return _start_time(int(pid)) == started


def is_elsewhere(mark: str) -> bool:
    """Whether it cannot be told from here: the mark is of another world. Marks of old name none, and are of this."""
    return _parts(mark)[2] not in ("", _world())


def is_abandoned(mark: str, folder: Path) -> bool:
    """Whether what the process of ``mark`` was at work on in ``folder`` can be removed."""
    if not is_elsewhere(mark):
        return not is_alive(mark)
    try:
        # Not the time of its content, which travels along with a copy.
        return time.time() - folder.lstat().st_ctime > LONG_AGO
    except FileNotFoundError:
        return False


def _parts(mark: str) -> tuple[str, str, str]:
    pid, _, tail = mark.partition(" ")
    started, _, world = tail.partition(" ")
    return pid, started, world


def _start_time(pid: int) -> str:
    # Field 22 of /proc/PID/stat, counted after the name, which may hold spaces. Elsewhere the pid alone must do.
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


@cache
def _world() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        return re.sub(r"\W", "", boot) + "_" + re.sub(r"\D", "", os.readlink("/proc/self/ns/pid"))
    except OSError:
        return ""
