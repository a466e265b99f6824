"""The runs of a workspace: what run history, MLflow and the jobs API all tell of."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENDED = ("Completed", "Failed", "Canceled")


@dataclass
class Made:
    """An output of a run: where it is (an ``azureml://`` URI), its type, and the data asset that stands for it."""

    uri: str
    kind: str
    asset: str


@dataclass
class Run:
    """One run: a job, or a step of one. Times are seconds since 1970."""

    name: str
    experiment: str
    kind: str = "pipeline"
    display_name: str = ""
    parent: str | None = None
    root: str = ""
    step: str = ""
    status: str = "NotStarted"
    hidden: bool = False
    created: float = field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None
    description: str | None = None
    compute: str | None = None
    properties: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    outputs: dict[str, Made] = field(default_factory=dict)
    logs: dict[str, Path] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    number: int = 0

    def start(self) -> None:
        """It runs now."""
        self.status, self.started = "Running", time.time()

    def end(self, status: str, error: dict[str, Any] | None = None) -> None:
        """It has ended."""
        self.status, self.ended, self.error = status, time.time(), error
        self.started = self.started or self.ended


class Runs:
    """All runs, by name; and the experiments they belong to, by id."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._runs: dict[str, Run] = {}
        self.experiments: dict[str, str] = {}

    def add(self, run: Run) -> Run:
        """Keep a new run."""
        with self.lock:
            run.root = run.root or run.name
            run.number = len(self._runs) + 1
            self._runs[run.name] = run
            self.experiment_id(run.experiment)
            return run

    def get(self, name: str) -> Run | None:
        """The run of that name."""
        return self._runs.get(name)

    def all(self) -> list[Run]:
        """Every run, oldest first."""
        with self.lock:
            return list(self._runs.values())

    def children(self, name: str) -> list[Run]:
        """The runs that a run started; those that still wait are not seen yet."""
        return [run for run in self.all() if run.parent == name and run.status != "NotStarted"]

    def experiment_id(self, name: str) -> str:
        """The id of an experiment, which is made if need be."""
        with self.lock:
            for key, known in self.experiments.items():
                if known == name:
                    return key
            key = str(uuid.uuid5(uuid.NAMESPACE_URL, f"experiment/{name}"))
            self.experiments[key] = name
            return key
