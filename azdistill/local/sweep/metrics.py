"""The primary metric of a trial, while it runs and when it has ended, however it is logged.

A trial appends to ``AZDISTILL_METRICS_FILE``, or logs with MLflow into files of its own (``mlflow_files``), which end
in the metrics file as well.
"""

from __future__ import annotations

import glob
import math
from pathlib import Path

from azdistill.local.outputs import mlflow_files
from azdistill.local.outputs.manifest import is_own
from azdistill.local.run.listener import Record, Tail


class LiveMetric:
    """Reads a metric as it is logged: each call of :meth:`new` gives the values that came since the last one."""

    def __init__(self, metric: str, metrics: Path, mlflow: Path) -> None:
        self._metric, self._tail = metric, Tail(metrics)
        self._mlflow, self._read = mlflow, dict[Path, int]()
        #: All values so far, and what the last call found in the metrics file.
        self.values: list[float] = []
        self.records: list[Record] = []

    def new(self) -> list[float]:
        """The new values, in order."""
        self.records = self._tail.read()
        found = [value for record in self.records if (value := _value_of(record, self._metric)) is not None]
        for path in sorted(self._mlflow.glob(f"*/*/metrics/{glob.escape(self._metric)}")):
            # Of a metric ``loss/valid`` there is a folder ``loss``.
            found += self._lines(path) if path.is_file() and is_own(path, self._mlflow) else []
        return found

    def _lines(self, path: Path) -> list[float]:
        """The values of whole lines (``timestamp value step``) that were added to one of MLflow's files."""
        at = self._read.get(path, 0)
        with open(path, "rb") as file:
            file.seek(at)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read[path] = at + len(whole)
        text = whole.decode("utf-8", "replace")
        return [float(record["value"]) for record in mlflow_files.values(self._metric, text)]


def reported(metrics: Path, metric: str) -> list[float]:
    """The values of a metric in the file of a trial that has ended."""
    return [value for record in Tail(metrics).read() if (value := _value_of(record, metric)) is not None]


def logged(metrics: Path) -> list[str]:
    """Names of all metrics in a file."""
    return list(dict.fromkeys(str(r.get("name")) for r in Tail(metrics).read() if r["kind"] == "metric"))


def _value_of(record: Record, metric: str) -> float | None:
    value = record.get("value")
    if record["kind"] != "metric" or record.get("name") != metric or isinstance(value, bool):
        return None
    if not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        # A whole number of hundreds of digits, which JSON may hold.
        return math.inf if value > 0 else -math.inf
