"""What happens in a run, and the state of the run that follows from it.

There is one kind of event, which goes from the step to the log, the terminal and MLflow. ``KEPT`` lists the kinds that
the log keeps; the state of a run is the fold of these. The others are for those who watch:

- ``preparing``: ``text``, a line of what pulls or builds an image; there may be no run yet
- ``step_reading``: a step's turn has come, and its code and inputs are read to look for its result in the cache
- ``step_waiting``: ``run``, a run that executes the same step now, whose result is waited for
- ``line``: ``text``, a line that a step or a trial printed (redacted, without control sequences)
- ``record``: ``record``, what a step, or a ``trial`` of it, appended to its metrics file
- ``trial_drawn``: ``hyperparameters``, before anything else is heard of a trial
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from azdistill.redact import redact

StepStatus = Literal["pending", "running", "completed", "cached", "failed", "canceled", "skipped"]
RunStatus = Literal["running", "completed", "failed", "canceled", "lost"]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a run, to a ``step`` of it, or to a ``trial`` (its number) of a sweep step."""

    kind: str
    step: str = ""
    trial: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    time: float = field(default_factory=time.time)

    @property
    def name(self) -> str:
        """The step or the trial that it happened to."""
        return self.step if self.trial is None else trial_name(self.step, self.trial)

    @classmethod
    def of(cls, kind: str, step: str = "", trial: int | None = None, **fields: Any) -> Event:
        """What has just happened."""
        return cls(kind, step, trial, fields)

    @classmethod
    def from_entry(cls, entry: Mapping[str, Any]) -> Event:
        """The event that an entry of a log says."""
        fields = {name: value for name, value in entry.items() if name not in ("event", "step", "trial", "time")}
        return cls(entry["event"], entry.get("step", ""), entry.get("trial"), fields, entry.get("time", 0.0))

    def as_entry(self) -> dict[str, Any] | None:
        """What the log keeps of it; None for a kind that it does not keep."""
        schema = KEPT.get(self.kind)
        if schema is None:
            return None
        about = {"step": self.step or None, "trial": self.trial}
        owner = {name: value for name, value in about.items() if value is not None}
        fields = {name: value for name, value in self.fields.items() if name in schema.must or name in schema.may}
        return {"time": self.time, "event": self.kind, **owner, **fields}


def trial_name(step: str, number: int) -> str:
    """The name of a trial, where steps are named: in folders, ids, and before its lines."""
    return f"{step}.trial_{number}"


#: Takes events, from several threads.
Hear = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class EventFields:
    """The fields that the log keeps of a kind of event: those that it must hold, and their types, and those it may."""

    must: Mapping[str, Any] = field(default_factory=dict)
    may: Mapping[str, Any] = field(default_factory=dict)


_NUMBER = (int, float)
_NONE = type(None)
_OF_TRIAL: dict[str, Any] = {"step": str, "trial": int, "hyperparameters": dict, "draw": dict}
KEPT: dict[str, EventFields] = {
    "run_started": EventFields(
        {"time": _NUMBER, "pipeline": str, "experiment": str, "params": dict, "headline": list, "steps": list},
        {"runner": str, "apart": list, "number": int, "sysexits": list},
    ),
    "run_resumed": EventFields(
        {"runner": str, "params": dict, "headline": list, "steps": list},
        {"pipeline": str, "experiment": str, "apart": list, "sysexits": list},
    ),
    "run_ended": EventFields({"status": str, "seconds": _NUMBER, "outputs": dict}, {"error": str, "withheld": dict}),
    "step_started": EventFields({"step": str, "time": _NUMBER, "attempt": int, "log": str}, {"key": (str, _NONE)}),
    "step_retried": EventFields({"step": str}, {"error": str, "seconds": _NUMBER}),
    "step_ended": EventFields(
        {"step": str, "status": str},
        {
            **{"seconds": _NUMBER, "exit_code": (int, _NONE), "error": str, "reason": str, "detail": str},
            **{"key": (str, _NONE), "metrics": dict, "outputs": dict},
        },
    ),
    "trial_started": EventFields({**_OF_TRIAL, "attempt": int, "log": str}, {"sweep": str}),
    "trial_ended": EventFields(
        {**_OF_TRIAL, "status": str, "reports": int, "seconds": _NUMBER},
        {"sweep": str, "metric": (*_NUMBER, _NONE), "error": str, "key": (str, _NONE)},
    ),
    "sweep_ended": EventFields({"step": str, "trial": int, "total": int}),
}


@dataclass(slots=True)
class TrialState:
    """What is known of one trial of a sweep step. ``metric`` is its best value of the primary metric, the last of
    ``reports`` values that counted; ``status`` may also be ``stopped``: ended early. ``draw`` is what was sampled, and
    ``sweep`` the key of the sweep that it was sampled for.
    """

    number: int
    status: str = "running"
    hyperparameters: dict[str, str] = field(default_factory=dict)
    draw: dict[str, float] = field(default_factory=dict)
    sweep: str = ""
    metric: float | None = None
    reports: int = 0
    seconds: float = 0.0
    attempts: int = 0
    error: str = ""
    log: str | None = None
    key: str | None = None
    exit_code: int | None = None

    def end(self, event: Event) -> None:
        """Take how it ended."""
        fields = event.fields
        self.hyperparameters, self.draw = fields["hyperparameters"], fields["draw"]
        self.sweep = fields.get("sweep", "")
        self.status, self.metric, self.reports = fields["status"], fields.get("metric"), fields["reports"]
        self.seconds, self.error, self.key = fields["seconds"], redact(fields.get("error", "")), fields.get("key")

    def lose(self) -> None:
        """What ran when the runner was gone does not run any more."""
        self.status = "canceled" if self.status == "running" else self.status

    def as_json(self) -> dict[str, Any]:
        """The object that ``azdistill run --json`` prints for a trial."""
        # JSON has no infinity.
        metric = self.metric if self.metric is not None and math.isfinite(self.metric) else None
        return {
            **{"number": self.number, "status": self.status, "hyperparameters": self.hyperparameters},
            **{"metric": metric, "seconds": round(self.seconds, 3), "log": self.log},
        }


@dataclass(slots=True)
class StepState:
    """What is known of one step of a run. Paths are absolute.

    ``reason`` of a step that was skipped is ``branch`` (another branch of an ``if_else`` was taken) or ``failure``.
    """

    status: StepStatus = "pending"
    started: float | None = None
    seconds: float = 0.0
    attempts: int = 0
    exit_code: int | None = None
    error: str = ""
    reason: str = ""
    detail: str = ""
    log: str | None = None
    key: str | None = None
    outputs: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    #: Of a sweep step: its trials by number, and the best of them.
    trials: dict[int, TrialState] = field(default_factory=dict)
    best_trial: int | None = None

    def start(self, event: Event) -> None:
        """Take that its command has started."""
        self.status, self.started, self.attempts = "running", event.time, event.fields["attempt"]
        self.log, self.key = event.fields["log"], event.fields.get("key")

    def end(self, event: Event) -> None:
        """Take how it ended."""
        fields = event.fields
        self.status, self.seconds = fields["status"], fields.get("seconds", 0.0)
        # On disk no secret is in them; nor in what the run itself tells of its steps meanwhile.
        self.exit_code, self.error = fields.get("exit_code"), redact(fields.get("error", ""))
        self.reason, self.detail = fields.get("reason", ""), redact(fields.get("detail", ""))
        self.metrics = fields.get("metrics", {})
        self.outputs, self.key = fields.get("outputs", {}), fields.get("key", self.key)

    def start_trial(self, event: Event) -> None:
        """Take that the command of a trial has started."""
        fields, number = event.fields, int(event.trial or 0)
        self.trials[number] = TrialState(
            number,
            hyperparameters=fields["hyperparameters"],
            draw=fields["draw"],
            sweep=fields.get("sweep", ""),
            attempts=fields["attempt"],
            log=fields["log"],
        )

    def end_trial(self, event: Event) -> None:
        """Take how a trial ended; one from the cache was never started."""
        number = int(event.trial or 0)
        self.trials.setdefault(number, TrialState(number)).end(event)

    def end_sweep(self, event: Event) -> None:
        """Take which trial was the best."""
        self.best_trial = event.trial
        # A run that was resumed with fewer trials had more before.
        self.trials = {number: trial for number, trial in self.trials.items() if number <= event.fields["total"]}

    def lose(self) -> None:
        """What ran when the runner was gone does not run any more."""
        self.status = "canceled" if self.status == "running" else self.status
        for trial in self.trials.values():
            trial.lose()

    def as_json(self) -> dict[str, Any]:
        """The object that ``azdistill run --json`` prints for a step."""
        trials = [trial.as_json() for trial in self.trials.values()]
        swept = {"trials": trials, "best_trial": self.best_trial} if trials else {}
        return {
            **swept,
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "cached": self.status == "cached",
            "attempts": self.attempts,
            "log": self.log,
            **({"reason": self.reason, "detail": self.detail} if self.reason else {}),
        }


@dataclass(slots=True)
class RunState:
    """What is known of one run. ``number`` counts the runs of its state folder as they were started, from 1; it is 0 of
    those that earlier versions started.
    """

    run_id: str
    folder: Path
    pipeline: str = ""
    experiment: str = ""
    status: RunStatus = "running"
    started: float = 0.0
    number: int = 0
    seconds: float = 0.0
    error: str = ""
    params: dict[str, str] = field(default_factory=dict)
    steps: dict[str, StepState] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    #: Outputs that are not written because their steps were skipped for their branch, and why.
    withheld: dict[str, str] = field(default_factory=dict)
    headline: list[str] = field(default_factory=list)
    #: The steps whose exit codes are those of sysexits.
    sysexits: list[str] = field(default_factory=list)
    runner: str = ""

    @property
    def order(self) -> tuple[int, float]:
        """What runs are sorted by, as they were started: no clock has a say, for it may have been wrong."""
        return self.number, self.started

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the headline steps: what a pipeline is compared by."""
        return {
            name: value
            for step in self.headline
            if step in self.steps
            for name, value in self.steps[step].metrics.items()
        }

    def apply(self, event: Event) -> None:
        """Fold one event into the state. Kinds that no log keeps, and those of a later version, change nothing."""
        match event.kind:
            case "run_started":
                self._start(event)
            case "run_resumed":
                self._resume(event)
            case "run_ended":
                self._end(event)
            case "step_started":
                self._step(event).start(event)
            case "step_ended":
                self._step(event).end(event)
            case "trial_started":
                self._step(event).start_trial(event)
            case "trial_ended":
                self._step(event).end_trial(event)
            case "sweep_ended":
                self._step(event).end_sweep(event)

    def lose(self) -> None:
        """The runner is gone, and no end was told."""
        self.status = "lost"
        for step in self.steps.values():
            step.lose()

    def _step(self, event: Event) -> StepState:
        return self.steps.setdefault(event.step, StepState())

    def _start(self, event: Event) -> None:
        fields = event.fields
        self.pipeline, self.experiment = fields["pipeline"], fields["experiment"]
        self.started, self.runner = event.time, fields.get("runner", "")
        self.number, self.sysexits = fields.get("number", 0), fields.get("sysexits", [])
        self.params, self.headline = fields["params"], fields["headline"]
        self.steps = {name: StepState() for name in fields["steps"]}

    def _resume(self, event: Event) -> None:
        fields = event.fields
        self.status, self.runner, self.error, self.outputs = "running", fields["runner"], "", {}
        self.withheld, self.sysexits = {}, fields.get("sysexits", [])
        self.params, self.headline = fields["params"], fields["headline"]
        before, self.steps = self.steps, {}
        # What a selection leaves out stays as it was.
        for name in fields.get("apart", ()):
            if name in before:
                self.steps[name] = before[name]
        for name in fields["steps"]:
            earlier = before.get(name, StepState())
            # How often a step was tried stays known; what came of it is found out again.
            self.steps[name] = StepState(
                attempts=earlier.attempts, log=earlier.log, trials=earlier.trials, best_trial=earlier.best_trial
            )

    def _end(self, event: Event) -> None:
        fields = event.fields
        self.status, self.seconds = fields["status"], fields["seconds"]
        self.outputs, self.error = fields["outputs"], redact(fields.get("error", ""))
        self.withheld = fields.get("withheld", {})
