"""What a run tells those who watch it (the terminal, MLflow), and the reader of what a step measures meanwhile."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from azdistill import strict_json
from azdistill.local.store.events import Event, RunState
from azdistill.terminal import harmless

Record = dict[str, Any]
#: What is counted comes nowhere near it.
_MOST = 1e15


class Listener:
    """Hears everything that happens, from several threads; does nothing by itself. What it raises ends the run."""

    def hear(self, event: Event, run: RunState) -> None:
        """``run`` is the state after the event: an empty one while there is no run yet."""


class Tracking:
    """Where the steps of a run log to MLflow; by itself nowhere."""

    def variables(self, step: str, uses_mlflow: bool) -> dict[str, str]:
        """The MLflow variables of a step; one that logs itself gets its run's id."""
        return {}

    def logged(self, step: str) -> list[Record]:
        """What a step that has ended logged to its run by itself, as records of a metrics file."""
        return []


class Tail:
    """Reads a growing JSONL file: each call gives the records that were finished since the last one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = self._lines = self._inode = 0

    def read(self) -> list[Record]:
        """The new records; lines that are none are passed over."""
        complete = self._whole_lines()
        self._offset += len(complete)
        lines = complete.split(b"\n")
        self._lines += len(lines) - 1
        return [record for line in lines if (record := read_record(line))]

    def _whole_lines(self) -> bytes:
        # The step may have put anything in the file's place: to open a pipe would wait for ever.
        if not self._path.is_file():
            return b""
        try:
            with open(self._path, "rb") as file:
                self._find_place(file)
                data = file.read()
        except OSError:
            return b""
        return data[: data.rfind(b"\n") + 1]

    def _find_place(self, file: BinaryIO) -> None:
        """Go to where reading ended: in a file that was written anew, with secrets hidden, by its lines."""
        inode = os.fstat(file.fileno()).st_ino
        if self._inode not in (0, inode):
            for _ in range(self._lines):
                file.readline()
            self._offset = file.tell()
        self._inode = inode
        file.seek(self._offset)


def _says_all(record: Record) -> bool:
    if record["kind"] == "progress":
        # A bar and a time can be drawn of them: no infinity, no number of hundreds of digits.
        counts = [count for name in ("done", "total", "rate", "eta") if (count := record.get(name)) is not None]
        return all(isinstance(count, int | float) and abs(count) < _MOST for count in counts)
    if record["kind"] not in ("metric", "param", "tag"):
        return True
    if not isinstance(record.get("name"), str) or "value" not in record:
        return False
    return record["kind"] != "metric" or isinstance(record["value"], int | float)


def read_record(line: bytes) -> Record | None:
    """The record in a line of a metrics file; None where there is none that says what its kind has to say."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or "kind" not in record:
        return None
    if record["kind"] == "metric" and "value" in record:
        record["value"] = strict_json.number(record["value"])
    # Names and texts are shown on terminals and pages.
    record = {key: harmless(value) if isinstance(value, str) else value for key, value in record.items()}
    return record if _says_all(record) else None
