"""What a run tells those who watch it (the terminal, MLflow), and the reader of what a step measures meanwhile."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, BinaryIO

from azdistill import strict_json
from azdistill.local.plan.steps import Plan
from azdistill.local.store.runs import RunState, StepState, TrialState
from azdistill.terminal import harmless

Record = dict[str, Any]
#: What is counted comes nowhere near it.
_MOST = 1e15


class Listener:
    """Told of everything, from several threads; does nothing by itself. What it raises ends the run: do not raise."""

    def preparing(self, text: str) -> None:
        """An image is being pulled or built: a line of what that prints."""

    def run_started(self, run: RunState, plan: Plan) -> None:
        """The run exists; no step has started."""

    def step_started(self, name: str, step: StepState) -> None:
        """A step's command is about to start."""

    def line(self, name: str, text: str) -> None:
        """A step printed a line (redacted, without control sequences)."""

    def record(self, name: str, record: Record) -> None:
        """A step appended a record to its metrics file (docs/contributing/tracking.md)."""

    def trial_started(self, name: str, trial: TrialState) -> None:
        """A trial of the sweep step ``name`` is about to start its command."""

    def trial_record(self, name: str, trial: TrialState, record: Record) -> None:
        """A trial appended a record to its metrics file."""

    def trial_ended(self, name: str, trial: TrialState) -> None:
        """A trial ended, however it did, or was found in the cache."""

    def sweep_ended(self, name: str, best: TrialState) -> None:
        """All trials of a sweep step have ended; ``best`` gives the step's outputs."""

    def step_ended(self, name: str, step: StepState) -> None:
        """A step completed, was found in the cache, failed, was canceled or skipped."""

    def run_ended(self, run: RunState) -> None:
        """Nothing of the run lives any more."""


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
        whole = self._whole_lines()
        self._offset += len(whole)
        lines = whole.split(b"\n")
        self._lines += len(lines) - 1
        return [record for line in lines if (record := _record(line)) and _says_all(record)]

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


def is_record(line: bytes) -> bool:
    """Whether a line of a metrics file says what its kind has to say."""
    record = _record(line)
    return record is not None and _says_all(record)


def _says_all(record: Record) -> bool:
    if record["kind"] == "progress":
        return all(_counts(record.get(name)) for name in ("done", "total", "rate", "eta"))
    if record["kind"] not in ("metric", "param", "tag"):
        return True
    if not isinstance(record.get("name"), str) or "value" not in record:
        return False
    return record["kind"] != "metric" or isinstance(record["value"], int | float)


def _counts(value: Any) -> bool:
    """Whether a bar and a time can be drawn of ``value``: no infinity, no number of hundreds of digits."""
    return value is None or (isinstance(value, int | float) and abs(value) < _MOST)


def _record(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or "kind" not in record:
        return None
    if record["kind"] == "metric" and "value" in record:
        record["value"] = strict_json.number(record["value"])
    # Names and texts are shown on terminals and pages.
    return {key: harmless(value) if isinstance(value, str) else value for key, value in record.items()}
