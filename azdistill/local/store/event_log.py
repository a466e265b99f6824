"""The event log: one JSON line ``{"time", "event", ...}`` for everything that happens to a run.

Whatever is left of a log after a kill, a full disk or a power cut can be read: its events up to the first line that is
none. Nothing after such a line is believed, as nothing is ever written after one: a line that a full disk cut short is
taken back, and whoever goes on with a log cuts it off where belief ends. One process at a time may write.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from azdistill import strict_json
from azdistill.errors import UserError
from azdistill.local.store.events import KEPT, Event


class EventLog:
    """A log that is written to. Raises UserError where another process writes to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            self._claim()
            self._cut_off()
        except BaseException:
            os.close(self._file)
            raise

    def write(self, line: bytes, *, durable: bool) -> None:
        """Add one event: all of it or, where the disk is full, nothing; half a line would hide what comes later."""
        before = os.fstat(self._file).st_size
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[os.write(self._file, rest) :]
            if durable:
                os.fsync(self._file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, before)
            raise

    def close(self) -> None:
        """Close it; another may write then."""
        # The next file that is opened gets this number: whoever comes late must not write into that.
        file, self._file = self._file, -1
        os.close(file)

    def _claim(self) -> None:
        # Imported here: there is none on Windows, where runs are looked at but never made.
        import fcntl

        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"the run '{self._path.parent.name}' is going on", code="AZD312", hint=_WAIT) from None
        except OSError:
            # A file system that knows no locks.
            return

    def _cut_off(self) -> None:
        """Cut the log off where belief ends. More than the half line that a kill leaves is kept beside it."""
        log = self._path.read_bytes()
        length = _believed(log)[1]
        if b"\n" in log[length:]:
            self._path.with_suffix(".damaged").write_bytes(log)
        if length < len(log):
            os.ftruncate(self._file, length)


_WAIT = "another process writes to its log; wait until it has ended"


def is_written(path: Path) -> bool:
    """Whether a process writes to the log, or may: not every file system can tell."""
    try:
        import fcntl

        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (ImportError, OSError):
        return True
    return False


def read_events(path: Path) -> list[Event]:
    """The events of a log, up to the first line that is torn."""
    try:
        return _believed(path.read_bytes())[0]
    except FileNotFoundError:
        return []


def _believed(log: bytes) -> tuple[list[Event], int]:
    """The events of a log up to the first line that is none, and how many bytes they are."""
    events: list[Event] = []
    length = 0
    # The piece after the last newline is either empty or torn.
    for line in log.split(b"\n")[:-1]:
        try:
            entry = _numbered(json.loads(line))
        except (ValueError, RecursionError):
            break
        if not _is_event(entry):
            break
        events.append(Event.from_entry(entry))
        length += len(line) + 1
    return events, length


def _numbered(entry: Any) -> Any:
    """An event whose measured numbers are numbers again (:func:`strict_json.exact`)."""
    if isinstance(entry, dict):
        entry |= {name: strict_json.number(entry[name]) for name in ("metric", "seconds") if name in entry}
        if isinstance(entry.get("metrics"), dict):
            entry["metrics"] = {name: strict_json.number(value) for name, value in entry["metrics"].items()}
    return entry


def _is_event(entry: Any) -> bool:
    """Whether a line is an event. One that lacks what it should hold is as torn as half a line."""
    if not isinstance(entry, dict) or not isinstance(entry.get("event"), str):
        return False
    kept = KEPT.get(entry["event"])
    if kept is None:
        return True
    return (
        all(isinstance(entry.get(name), kind) for name, kind in kept.must.items())
        and all(isinstance(entry[name], kind) for name, kind in kept.may.items() if name in entry)
        and all(isinstance(name, str) for several in ("steps", "headline") for name in entry.get(several, ()))
    )
