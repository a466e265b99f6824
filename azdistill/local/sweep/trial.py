"""One trial of a sweep: a step of its own name, run like any other, and its primary metric, however that is logged.

The best one's outputs are handed over.
"""

from __future__ import annotations

import glob
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from azdistill import strict_json
from azdistill.local.outputs import mlflow_files
from azdistill.local.outputs.manifest import is_own
from azdistill.local.plan.steps import PlannedOutput, PlannedStep, Text, text_of
from azdistill.local.run.attempt import Attempt
from azdistill.local.run.listener import Record, Tail
from azdistill.local.run.result import Result
from azdistill.local.runners.base import Cancellation
from azdistill.local.store.durable_files import walk_files
from azdistill.local.store.events import TrialState, trial_name
from azdistill.local.sweep.sampling import Point
from azdistill.local.sweep.stopping import best_of
from azdistill.permissions import copy_file


def trial_step(step: PlannedStep, number: int, values: Mapping[str, Any]) -> PlannedStep:
    """The step that runs trial ``number`` of the sweep step ``step`` with these hyperparameters."""
    assert step.sweep
    texts = step.sweep.inputs(values)
    inputs = {name: Text(text) for name, text in texts.items() if name in step.component.inputs}
    # As Azure ML does (azure-ai-ml, ``SweepJob``).
    variables = {f"AZUREML_SWEEP_{name}": texts[name] for name in values}
    return replace(
        step,
        name=trial_name(step.name, number),
        inputs={**step.inputs, **inputs},
        # What stands between runs gets the best trial's outputs only.
        outputs={name: PlannedOutput(output.kind) for name, output in step.outputs.items()},
        environment_variables={**variables, **step.environment_variables},
        timeout=step.sweep.trial_timeout,
        sweep=None,
        trial_of=step.name,
    )


class LiveMetric:
    """Reads a metric as it is logged: each call of :meth:`new` gives the values that came since the last one.

    A trial appends to ``AZDISTILL_METRICS_FILE``, or logs with MLflow into files of its own (``mlflow_files``), which
    end in the metrics file as well.
    """

    def __init__(self, metric: str, metrics: Path, mlflow: Path) -> None:
        self._metric, self._tail = metric, Tail(metrics)
        self._mlflow, self._read = mlflow, dict[Path, int]()
        #: All values so far, and what the last call found in the metrics file.
        self.values: list[float] = []
        self.records: list[Record] = []

    def new(self) -> list[float]:
        """The new values, in order."""
        self.records = self._tail.read()
        values = [value for record in self.records if (value := _value_of(record, self._metric)) is not None]
        for path in sorted(self._mlflow.glob(f"*/*/metrics/{glob.escape(self._metric)}")):
            # Of a metric ``loss/valid`` there is a folder ``loss``.
            values += self._lines(path) if path.is_file() and is_own(path, self._mlflow) else []
        return values

    def _lines(self, path: Path) -> list[float]:
        """The values of whole lines (``timestamp value step``) that were added to one of MLflow's files."""
        at = self._read.get(path, 0)
        with open(path, "rb") as file:
            file.seek(at)
            added = file.read()
        lines = added[: added.rfind(b"\n") + 1]
        self._read[path] = at + len(lines)
        text = lines.decode("utf-8", "replace")
        return [float(record["value"]) for record in mlflow_files.values(self._metric, text)]


def reported(metrics: Path, metric: str) -> list[float]:
    """The values of a metric in the file of a trial that has ended."""
    return [value for record in Tail(metrics).read() if (value := _value_of(record, metric)) is not None]


def logged(metrics: Path) -> list[str]:
    """Names of all metrics in a file."""
    return list(dict.fromkeys(str(r.get("name")) for r in Tail(metrics).read() if r["kind"] == "metric"))


def _value_of(record: Record, metric: str) -> float | None:
    value = record.get("value")
    if record["kind"] != "metric" or record.get("name") != metric:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:
        # A whole number of hundreds of digits, which JSON may hold.
        return math.inf if value > 0 else -math.inf


class TrialCancellation(Cancellation):
    """A trial's own; that of the run holds for it as well."""

    def __init__(self, run: Cancellation) -> None:
        super().__init__()
        self._run = run

    @property
    def deadline(self) -> float | None:
        return min((at for at in (self._deadline, self._run.deadline) if at is not None), default=None)


@dataclass(slots=True)
class Trial:
    """A trial that is going on, or has ended. ``stopped_at`` is the interval at which a policy ended it; ``reported``
    are the values of the primary metric that count.
    """

    number: int
    step: PlannedStep
    point: Point
    cancellation: TrialCancellation
    began: float = field(default_factory=time.monotonic)
    live: LiveMetric | None = None
    reported: Sequence[float] = ()
    stopped_at: int | None = None
    metrics: Path | None = None
    status: str = "running"
    error: str = ""
    result: Result = field(default_factory=lambda: Result("canceled"))
    #: The best of what it reported.
    metric: float | None = None
    seconds: float = 0.0
    log: str | None = None

    @property
    def hyperparameters(self) -> dict[str, str]:
        """The hyperparameters as they are shown and logged."""
        return {name: text_of(value) for name, value in self.point.values.items()}

    def start(self, attempt: Attempt, metric: str) -> None:
        """An attempt of it starts, and begins anew in what it reports too."""
        self.live = LiveMetric(metric, attempt.metrics, attempt.mlflow)
        self.log = str(attempt.log)

    def report(self) -> Iterator[int]:
        """Take what it has reported since the last time; gives how many values there are after each."""
        for value in self.live.new() if self.live else ():
            assert self.live
            self.live.values.append(value)
            self.reported = self.live.values
            yield len(self.reported)

    def stop(self, interval: int) -> None:
        """End it politely: it has reported enough to be known as a bad one."""
        self.stopped_at = interval
        self.cancellation.ask()

    def take_earlier(self, earlier: TrialState, metrics: Path, values: Sequence[float]) -> None:
        """Take what it came to before the run was resumed: it was stopped then."""
        self.reported, self.stopped_at, self.metrics = values, earlier.reports, metrics
        self.log, self.seconds = earlier.log, earlier.seconds

    def take(self, result: Result, metrics: Path | None) -> None:
        """Take what its step came to."""
        self.result, self.metrics = result, metrics

    def end(self, status: str, error: str, values: Sequence[float], *, maximize: bool) -> None:
        """It has ended so, having reported ``values`` that count."""
        self.status, self.error, self.reported = status, error, values
        if status not in ("cached", "stopped") or not self.seconds:
            self.seconds = 0.0 if status == "cached" else time.monotonic() - self.began
        self.metric = best_of(values, maximize)


def hand_over(best: Trial, places: Mapping[str, Path], stores: frozenset[str], metrics: Path) -> None:
    """Put the outputs of ``best`` at ``places`` and write its metrics, and its hyperparameters, into ``metrics``.

    Files are linked, so that a model does not lie on the disk twice; what stands between runs (``stores``) gets copies.
    """
    for name, place in places.items():
        source = best.result.outputs[name]
        if source.is_dir():
            for relative, file in walk_files(source):
                (place / relative).parent.mkdir(parents=True, exist_ok=True)
                _put(file, place / relative, copy=name in stores)
        else:
            _put(source, place, copy=name in stores)
    _write_metrics(best, metrics)


def _put(source: Path, target: Path, *, copy: bool) -> None:
    if copy:
        copy_file(source, target)
        return
    try:
        os.link(source, target)
    except OSError:
        # Another file system, or one without links.
        copy_file(source, target)


def _write_metrics(best: Trial, metrics: Path) -> None:
    records = [
        *({"kind": "param", "name": name, "value": text} for name, text in best.hyperparameters.items()),
        {"kind": "tag", "name": "azdistill.best_trial", "value": str(best.number)},
    ]
    with open(metrics, "a", encoding="utf-8") as file:
        if best.metrics and best.metrics.is_file():
            file.write(best.metrics.read_text(encoding="utf-8", errors="surrogateescape"))
        file.writelines(strict_json.dumps(record) + "\n" for record in records)
