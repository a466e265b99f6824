"""The run store: one folder per run, whose state is the fold of an append-only event log (``event_log.py``)."""

from __future__ import annotations

import contextlib
import math
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from azdistill import strict_json
from azdistill.errors import UserError
from azdistill.local.store.durable_files import remove_tree, write_whole
from azdistill.local.store.event_log import Event as Event
from azdistill.local.store.event_log import EventLog, is_written
from azdistill.local.store.event_log import read_events as read_events
from azdistill.local.store.home import Home
from azdistill.local.store.process_marks import is_alive as is_alive
from azdistill.local.store.process_marks import is_elsewhere
from azdistill.local.store.process_marks import own_mark as own_mark
from azdistill.redact import clean as clean
from azdistill.redact import redact

StepStatus = Literal["pending", "running", "completed", "cached", "failed", "canceled", "skipped"]
RunStatus = Literal["running", "completed", "failed", "canceled", "lost"]


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
    #: Of its sweep, when it ended: the best trial, how many had ended, and how many there are.
    best: int | None = None
    done: int = 0
    total: int = 0
    #: What is said of it when it ends.
    line: str = ""

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
    """What is known of one run."""

    run_id: str
    folder: Path
    pipeline: str = ""
    experiment: str = ""
    status: RunStatus = "running"
    started: float = 0.0
    seconds: float = 0.0
    error: str = ""
    params: dict[str, str] = field(default_factory=dict)
    steps: dict[str, StepState] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    #: Outputs that are not written because their steps were skipped for their branch, and why.
    withheld: dict[str, str] = field(default_factory=dict)
    headline: list[str] = field(default_factory=list)
    runner: str = ""

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
        """Fold one event into the state. Unknown events, of a later version, are passed over."""
        handler = _HANDLERS.get(event["event"])
        if handler:
            handler(self, event)


def _run_started(run: RunState, event: Event) -> None:
    run.pipeline, run.experiment = event["pipeline"], event["experiment"]
    run.started, run.runner = event["time"], event.get("runner", "")
    run.params, run.headline = event["params"], event["headline"]
    run.steps = {name: StepState() for name in event["steps"]}


def _run_resumed(run: RunState, event: Event) -> None:
    run.status, run.runner, run.error, run.outputs = "running", event["runner"], "", {}
    run.withheld = {}
    run.params, run.headline = event["params"], event["headline"]
    before, run.steps = run.steps, {}
    # What a selection leaves out stays as it was.
    for name in event.get("apart", ()):
        if name in before:
            run.steps[name] = before[name]
    for name in event["steps"]:
        known = before.get(name, StepState())
        # How often a step was tried stays known; what came of it is found out again.
        run.steps[name] = StepState(
            attempts=known.attempts, log=known.log, trials=known.trials, best_trial=known.best_trial
        )


def _run_ended(run: RunState, event: Event) -> None:
    run.status, run.seconds = event["status"], event["seconds"]
    run.outputs, run.error = event["outputs"], redact(event.get("error", ""))
    run.withheld = event.get("withheld", {})


def _step_started(run: RunState, event: Event) -> None:
    step = run.steps.setdefault(event["step"], StepState())
    step.status, step.started, step.attempts = "running", event["time"], event["attempt"]
    step.log, step.key = event["log"], event.get("key")


def _step_ended(run: RunState, event: Event) -> None:
    step = run.steps.setdefault(event["step"], StepState())
    step.status, step.seconds = event["status"], event.get("seconds", 0.0)
    # On disk no secret is in them; nor in what the run itself tells of its steps meanwhile.
    step.exit_code, step.error = event.get("exit_code"), redact(event.get("error", ""))
    step.reason, step.detail = event.get("reason", ""), redact(event.get("detail", ""))
    step.metrics = event.get("metrics", {})
    step.outputs, step.key = event.get("outputs", {}), event.get("key", step.key)


def _trial_started(run: RunState, event: Event) -> None:
    trials = run.steps.setdefault(event["step"], StepState()).trials
    trials[event["trial"]] = TrialState(
        event["trial"],
        hyperparameters=event["hyperparameters"],
        draw=event["draw"],
        sweep=event.get("sweep", ""),
        attempts=event["attempt"],
        log=event["log"],
    )


def _trial_ended(run: RunState, event: Event) -> None:
    trials = run.steps.setdefault(event["step"], StepState()).trials
    trial = trials.setdefault(event["trial"], TrialState(event["trial"]))
    trial.hyperparameters, trial.draw = event["hyperparameters"], event["draw"]
    trial.sweep = event.get("sweep", "")
    trial.status, trial.metric, trial.reports = event["status"], event.get("metric"), event["reports"]
    trial.seconds, trial.error, trial.key = event["seconds"], redact(event.get("error", "")), event.get("key")


def _sweep_ended(run: RunState, event: Event) -> None:
    step = run.steps.setdefault(event["step"], StepState())
    step.best_trial = event["trial"]
    # A run that was resumed with fewer trials had more before.
    step.trials = {number: trial for number, trial in step.trials.items() if number <= event["total"]}


_HANDLERS = {
    "trial_started": _trial_started,
    "trial_ended": _trial_ended,
    "sweep_ended": _sweep_ended,
    "run_started": _run_started,
    "run_resumed": _run_resumed,
    "run_ended": _run_ended,
    "step_started": _step_started,
    "step_ended": _step_ended,
}


class RunLog:
    """The event log of a run that is going on: appends, and keeps the state folded.

    ``again`` goes on with the log of the run ``run_id``, as far as it can be believed; :attr:`state` is what it says.
    Raises UserError for an id that is taken, and for a run that is going on.
    """

    def __init__(self, home: Home, pipeline: str, run_id: str | None = None, *, again: bool = False) -> None:
        self.run_id = run_id or new_run_id(pipeline)
        self.resumed = again
        self.folder = home.runs / self.run_id
        try:
            self.folder.mkdir(parents=True, exist_ok=again)
        except FileExistsError:
            raise UserError(f"there is a run '{self.run_id}' already", code="AZD311") from None
        self._lock = threading.Lock()
        self._log = EventLog(self.folder / "events.jsonl")
        self.state = _fold(self.folder)

    def append(self, event: str, **fields: Any) -> Event:
        """Write one event, make sure that it is on disk, and fold it.

        That a step has started outlives the runner but not a power cut, which leaves nothing of the step either.
        """
        entry: Event = {"time": time.time(), "event": event, **fields}
        line = strict_json.dumps(strict_json.exact(clean(entry)), ensure_ascii=False) + "\n"
        with self._lock:
            self._log.write(line.encode("utf-8", "backslashreplace"), durable=event != "step_started")
            self.state.apply(entry)
        return entry

    def close(self) -> None:
        """Write ``run.json``, a copy of the end state that other programs can read, and close.

        A run that never started leaves nothing.
        """
        self._log.close()
        state = self.state
        if not state.started:
            remove_tree(self.folder)
            return
        steps = {name: step.as_json() for name, step in state.steps.items()}
        summary = {"run_id": state.run_id, "pipeline": state.pipeline, "status": state.status, "seconds": state.seconds}
        whole = clean({**summary, "steps": steps, "outputs": state.outputs})
        with contextlib.suppress(OSError):
            write_whole(self.folder / "run.json", strict_json.dumps(whole, indent=2))


def load_run(folder: Path) -> RunState:
    """The state of a run from its event log. A run whose runner is gone without an end is ``lost``."""
    state = _fold(folder)
    if state.status == "running" and not _is_going_on(state):
        state.status = "lost"
        for step in state.steps.values():
            step.status = "canceled" if step.status == "running" else step.status
            for trial in step.trials.values():
                trial.status = "canceled" if trial.status == "running" else trial.status
    return state


def _is_going_on(run: RunState) -> bool:
    # The lock on the log is seen in every world; on a file system that knows none the run is believed to go on.
    if is_elsewhere(run.runner):
        return is_written(run.folder / "events.jsonl")
    return is_alive(run.runner)


def _fold(folder: Path) -> RunState:
    state = RunState(folder.name, folder)
    for event in read_events(folder / "events.jsonl"):
        state.apply(event)
    return state


def list_runs(home: Home) -> list[RunState]:
    """All runs of a state folder, newest first."""
    if not home.runs.is_dir():
        return []
    runs = (load_run(folder) for folder in home.runs.iterdir() if (folder / "events.jsonl").is_file())
    return sorted((run for run in runs if run.started), key=lambda run: run.started, reverse=True)


class _Named(Protocol):
    @property
    def run_id(self) -> str: ...


_Run = TypeVar("_Run", bound=_Named)


def named(wanted: str, runs: Sequence[_Run]) -> _Run | None:
    """Of ``runs`` the one with this id, or the only one whose id begins so. UserError where several do."""
    found = [run for run in runs if run.run_id == wanted] or [run for run in runs if run.run_id.startswith(wanted)]
    if len(found) > 1:
        hint = ", ".join(run.run_id for run in found[:5])
        raise UserError(f"several runs begin with '{wanted}'", code="AZD384", hint=hint)
    return found[0] if found else None


def new_run_id(pipeline: str) -> str:
    """An id for a run of ``pipeline`` that no other run has."""
    letters = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in pipeline.lower())
    return f"{letters[:40].strip('_') or 'run'}_{datetime.now(UTC):%Y%m%d%H%M%S}_{secrets.token_hex(3)}"
