"""Runs that happened elsewhere, written into the local MLflow store; writing one again changes only what is new.

A run is known by the tag ``azdistill.azure_run``. Imports MLflow when it is called, which takes seconds.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azdistill.local.tracking import Columns, first_logged
from azdistill.local.tracking.worker import experiment_id, make_store, show_columns, valid_name
from azdistill.redact import redact

MARK = "azdistill.azure_run"
_ENDS = {"Completed": "FINISHED", "Failed": "FAILED", "Canceled": "KILLED"}
_PARAMS, _METRICS, _LONGEST = 100, 500, 5000
#: One value of a metric: the value, milliseconds since 1970, step.
Point = tuple[float, int, int]


@dataclass(frozen=True, slots=True)
class PulledEntry:
    """One run to be written, with every value of its metrics."""

    key: str
    name: str
    status: str
    started: float | None
    ended: float | None
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Sequence[Point]] = field(default_factory=dict)
    artifacts: Mapping[Path, str] = field(default_factory=dict)


class PulledStore:
    """Writes to one MLflow store. Raises what MLflow raises."""

    def __init__(self, uri: str, columns: Columns = first_logged) -> None:
        self._columns = columns
        _hush()
        make_store(uri)
        from mlflow.client import MlflowClient

        _hush()
        self._client: Any = MlflowClient(uri)

    def is_whole(self, key: str) -> bool:
        """Whether a run and those of its steps are here as they ended."""
        run = self._find([experiment.experiment_id for experiment in self._client.search_experiments()], key)
        return run is not None and run.info.status in _ENDS.values()

    def write(self, experiment: str, parent: PulledEntry, children: Sequence[PulledEntry]) -> bool:
        """Write a pipeline's run and those of its steps; whether anything was new."""
        home = experiment_id(self._client, experiment)
        top, changed = self._write(home, parent, {})
        for child in children:
            run_id, is_new = self._write(home, child, {"mlflow.parentRunId": top})
            if is_new:
                self._end(run_id, child)
            changed = changed or is_new
        if changed:
            # Last of all: a parent that has ended is whole.
            self._end(top, parent)
        if parent.metrics:
            tags = {name: value for child in children for name, value in child.tags.items()}
            # A server without such views loses nothing.
            with contextlib.suppress(Exception):
                show_columns(self._client, home, self._columns(list(parent.metrics), tags), headline=True)
        return changed

    def _write(self, experiment: str, entry: PulledEntry, tags: Mapping[str, str]) -> tuple[str, bool]:
        run = self._find([experiment], entry.key)
        if run is not None and run.info.status in _ENDS.values():
            return str(run.info.run_id), False
        run_id = run.info.run_id if run else self._create(experiment, entry, tags)
        self._log(run_id, entry, set(run.data.params) if run else set())
        for path, folder in entry.artifacts.items():
            self._client.log_artifact(run_id, str(path), folder or None)
        return str(run_id), True

    def _end(self, run_id: str, entry: PulledEntry) -> None:
        if entry.status in _ENDS:
            self._client.set_terminated(run_id, _ENDS[entry.status], end_time=_milliseconds(entry.ended))

    def _find(self, experiments: Sequence[str], key: str) -> Any:
        if not experiments:
            return None
        rows = self._client.search_runs(list(experiments), filter_string=f"tags.`{MARK}` = '{key}'", max_results=1)
        return rows[0] if rows else None

    def _create(self, experiment: str, entry: PulledEntry, tags: Mapping[str, str]) -> str:
        tags = {**_tags(entry), **tags, MARK: entry.key}
        started = _milliseconds(entry.started)
        run = self._client.create_run(experiment, start_time=started, run_name=entry.name, tags=tags)
        return str(run.info.run_id)

    def _log(self, run_id: str, entry: PulledEntry, logged: set[str]) -> None:
        # Untyped in part.
        entities: Any = importlib.import_module("mlflow.entities")
        texts = {valid_name(name): redact(text)[:_LONGEST] for name, text in entry.params.items()}
        params = [entities.Param(name, text) for name, text in texts.items() if name not in logged]
        for start in range(0, len(params), _PARAMS):
            self._client.log_batch(run_id, params=params[start : start + _PARAMS])
        # Two names may become one: the points of both are logged.
        new = [(valid_name(name), self._new(run_id, name, points)) for name, points in entry.metrics.items()]
        metrics = [entities.Metric(name, *point) for name, points in new for point in points]
        for start in range(0, len(metrics), _METRICS):
            self._client.log_batch(run_id, metrics=metrics[start : start + _METRICS])
        self._client.log_batch(run_id, tags=[entities.RunTag(name, text) for name, text in _tags(entry).items()])

    def _new(self, run_id: str, name: str, points: Sequence[Point]) -> list[Point]:
        """Values that the store does not have yet."""
        stored = {(m.value, m.timestamp, m.step) for m in self._client.get_metric_history(run_id, valid_name(name))}
        return [point for point in points if tuple(point) not in stored]


def _milliseconds(seconds: float | None) -> int | None:
    return int(seconds * 1000) if seconds is not None else None


def _tags(entry: PulledEntry) -> dict[str, str]:
    """What is kept of a run's tags; those of MLflow and of the service say things that hold only there."""
    own = {name: text for name, text in entry.tags.items() if not re.match(r"mlflow\.|azureml\.|_az", name)}
    return {valid_name(name): redact(text)[:_LONGEST] for name, text in own.items()}


def _hush() -> None:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
    # Otherwise its import shuts every log handler of the process: a file that is logged to gets no more lines, and a
    # handler may close its stream, even stderr (absl's does while stderr is redirected).
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
