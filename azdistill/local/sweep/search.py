"""The trials of one sweep step: drawn, started, watched, ended, and the best of them found."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from azdistill.errors import did_you_mean
from azdistill.local.cache.entries import METRICS
from azdistill.local.cache.key import key_of
from azdistill.local.plan.steps import PlannedStep
from azdistill.local.run.attempt import Attempt, attempts
from azdistill.local.run.context import RunContext
from azdistill.local.run.listener import Record, Tail
from azdistill.local.run.result import Result
from azdistill.local.runners.base import Cancellation
from azdistill.local.store.events import Event, Hear, TrialState
from azdistill.local.sweep.sampling import make_sampler
from azdistill.local.sweep.stopping import Stopping
from azdistill.local.sweep.trial import Trial, TrialCancellation, logged, reported, trial_step

#: Runs one trial, as a step of its own, to its end; tells what happens to it.
RunTrial = Callable[[PlannedStep, Cancellation, Hear], Result]
_POLL = 0.1
#: What a state of a trial is called on the terminal, where it is not called by its name.
_WORDS = {"stopped": "ended early"}


class Search:
    """The trials of a sweep step whose key in the cache is ``key``, at most ``room`` of them at a time.

    ``say`` takes a line for people.
    """

    def __init__(
        self,
        context: RunContext,
        step: PlannedStep,
        results: Mapping[str, Result],
        key: str,
        *,
        run_trial: RunTrial,
        hear: Hear,
        say: Callable[[str], None],
        room: int,
    ) -> None:
        assert step.sweep
        self._context, self._step, self._results, self._hear, self._say = context, step, results, hear, say
        self._sweep, self._key, self._run_trial = step.sweep, key, run_trial
        self._sampler = make_sampler(step.sweep)
        self._stopping = Stopping(step.sweep.policy, step.sweep.maximize) if step.sweep.policy else None
        self._at_once = 1 if step.exclusive else min(self._sweep.concurrent, room)
        trials = context.log.state.steps[step.name].trials if context.log.resumed else {}
        # Of another search space a draw is no point of this one, and another policy may have let a trial go on.
        self._earlier = {number: trial for number, trial in trials.items() if trial.sweep == key}
        self._running: dict[int, Trial] = {}
        self._trials: list[Trial] = []
        self._ended: queue.SimpleQueue[tuple[Trial, Result]] = queue.SimpleQueue()
        self._best: Trial | None = None
        self._began = time.monotonic()
        self._timed_out = False

    def run(self) -> Trial | Result:
        """Run trials until all have been, or time or the user's patience is over, and none of them lives any more.

        Returns the best trial, or how the step failed.
        """
        self._introduce()
        try:
            while self._start() or self._running:
                self._take()
                self._watch()
        except BaseException:
            # A full disk, or a defect of ours: nothing is left running behind it.
            self._end_all()
            raise
        end = self._outcome()
        if isinstance(end, Trial):
            self._hear(Event.of("sweep_ended", self._step.name, end.number, total=self._sampler.size))
        return end

    def _end_all(self) -> None:
        for trial in self._running.values():
            trial.cancellation.ask()
            trial.cancellation.ask()
        while self._running:
            self._running.pop(self._ended.get()[0].number, None)

    def _introduce(self) -> None:
        sweep, size = self._sweep, self._sampler.size
        how = "sobol" if sweep.sampling == "random" and sweep.sobol else sweep.sampling
        goal = "maximize" if sweep.maximize else "minimize"
        self._say(f"{size} trials ({how}), {self._at_once} at a time, to {goal} {sweep.primary_metric}")
        if self._at_once < min(sweep.concurrent, size):
            why = "a step that runs alone" if self._step.exclusive else "--jobs, and the steps beside it"
            self._say(f"max_concurrent_trials is {sweep.concurrent}: {why} leave {self._at_once}")

    def _start(self) -> bool:
        """Start what there is room for; whether anything did."""
        before = len(self._trials)
        while not self._is_over() and len(self._trials) < self._sampler.size and len(self._running) < self._at_once:
            self._begin(len(self._trials) + 1)
        return len(self._trials) > before

    def _is_over(self) -> bool:
        return self._timed_out or self._context.cancellation.asked.is_set()

    def _begin(self, number: int) -> None:
        earlier = self._earlier.get(number)
        # Side by side, trials end in no fixed order, and a sampler that learns would go another way this time.
        point = self._sampler.ask(number, earlier.draw if earlier and self._sweep.concurrent > 1 else None)
        step = trial_step(self._step, number, point.values)
        trial = Trial(number, step, point, TrialCancellation(self._context.cancellation))
        self._trials.append(trial)
        self._tell("trial_drawn", trial)
        if earlier and self._stopped_before(trial, earlier):
            return

        def work() -> None:
            result = self._run_trial(trial.step, trial.cancellation, lambda event: self._heard(trial, event))
            self._ended.put((trial, result))

        threading.Thread(target=work, name=trial.step.name, daemon=True).start()
        # Waited for from here on: where something went wrong before this, nothing is there that could end.
        self._running[number] = trial

    def _stopped_before(self, trial: Trial, earlier: TrialState) -> bool:
        """Whether a trial was ended early before this run was resumed, with the inputs of now; it is taken then."""
        last = next(attempts(self._context.log.folder, trial.step.name), None)
        if earlier.status != "stopped" or last is None:
            return False
        if not key_of(self._context, trial.step, self._results).is_of(last):
            return False
        values = reported(last / METRICS, self._sweep.primary_metric)[: earlier.reports]
        trial.take_earlier(earlier, last / METRICS, values)
        self._end(trial, "stopped", "", values)
        return True

    def _heard(self, trial: Trial, event: Event) -> None:
        """Pass on what the step that runs a trial tells; its start is that of the trial."""
        if event.kind != "step_started":
            self._hear(event)
            return
        attempt = Attempt(Path(event.fields["log"]).parent)
        trial.start(attempt, self._sweep.primary_metric)
        self._tell("trial_started", trial, attempt=attempt.number, log=str(attempt.log))

    def _take(self) -> None:
        """Take what has ended, waiting a moment for it."""
        with contextlib.suppress(queue.Empty):
            patience = _POLL if self._running else 0
            while True:
                trial, result = self._ended.get(timeout=patience)
                patience = 0
                self._took(trial, result)

    def _took(self, trial: Trial, result: Result) -> None:
        trial.take(result, result.metrics or self._metrics_of(trial))
        self._forward_rest(trial, cached=result.status == "cached")
        values = reported(trial.metrics, self._sweep.primary_metric) if trial.metrics else []
        if result.status == "canceled" and trial.stopped_at is not None:
            # What it went on to report until it heard of its end does not count.
            self._end(trial, "stopped", "", values[: trial.stopped_at])
        else:
            self._end(trial, result.status, result.error, values)

    def _metrics_of(self, trial: Trial) -> Path | None:
        last = next(attempts(self._context.log.folder, trial.step.name), None)
        return last / METRICS if last else None

    def _end(self, trial: Trial, status: str, error: str, values: Sequence[float]) -> None:
        self._running.pop(trial.number, None)
        trial.end(status, error, values, maximize=self._sweep.maximize)
        self._sampler.tell(trial.number, trial.metric if status in ("completed", "cached", "stopped") else None)
        if status in ("completed", "cached") and trial.metric is not None and self._is_better(trial):
            self._best = trial
        line = self._line(trial)
        ended = {"status": status, "metric": trial.metric, "reports": len(values), "seconds": trial.seconds}
        self._tell("trial_ended", trial, **ended, error=error, key=trial.result.key, log=trial.log, line=line)
        self._hear(Event.of("record", self._step.name, record=self._progress()))
        self._say(line)

    def _progress(self) -> dict[str, object]:
        """How far the search has got, as a record of a metrics file."""
        count, total, seconds = len(self._trials) - len(self._running), self._sampler.size, self._seconds()
        rate = count / seconds if seconds > 0 else 0.0
        best = f"best so far: trial {self._best.number}" if self._best else ""
        eta = (total - count) / rate if rate else None
        return {"kind": "progress", "done": count, "total": total, "rate": rate, "eta": eta, "text": best}

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _is_better(self, trial: Trial) -> bool:
        """Better than the best so far; of equals the one with the lower number."""
        if self._best is None:
            return True
        if trial.metric == self._best.metric:
            return trial.number < self._best.number
        assert trial.metric is not None
        assert self._best.metric is not None
        return (trial.metric > self._best.metric) is self._sweep.maximize

    def _line(self, trial: Trial) -> str:
        drawn = ", ".join(f"{name}={_short(text)}" for name, text in trial.hyperparameters.items())
        metric = f"{self._sweep.primary_metric} {trial.metric:.6g}" if trial.metric is not None else "no metric"
        how = "" if trial.status == "completed" else f" ({_WORDS.get(trial.status, trial.status)})"
        best = f"; best {self._best.metric:.6g} (trial {self._best.number})" if self._best else ""
        why = f": {trial.error}" if trial.error else ""
        return f"trial {trial.number} of {self._sampler.size}: {drawn}: {metric}{how}{why}{best}"

    def _watch(self) -> None:
        """Read what running trials report, and end those whose time is over."""
        for trial in list(self._running.values()):
            self._look_at(trial)
        sweep = self._sweep
        if sweep.timeout and self._seconds() > sweep.timeout:
            self._timed_out = True
        if self._is_over():
            for trial in self._running.values():
                if not trial.cancellation.asked.is_set():
                    trial.cancellation.ask()

    def _look_at(self, trial: Trial) -> None:
        for interval in trial.report():
            if self._stopping and trial.stopped_at is None:
                reports = {one.number: one.reported for one in self._trials}
                if self._stopping.stops(reports, trial.number, interval):
                    trial.stop(interval)
        if trial.live:
            self._forward(trial, trial.live.records)

    def _forward_rest(self, trial: Trial, *, cached: bool) -> None:
        if trial.live and not cached:
            trial.live.new()
            self._forward(trial, trial.live.records)
        elif trial.metrics:
            self._forward(trial, Tail(trial.metrics).read())

    def _forward(self, trial: Trial, records: Sequence[Record]) -> None:
        for record in records:
            self._hear(Event.of("record", self._step.name, trial.number, record=record))

    def _tell(self, kind: str, trial: Trial, **fields: Any) -> None:
        drawn = {"hyperparameters": trial.hyperparameters, "draw": dict(trial.point.draw), "sweep": self._key}
        self._hear(Event.of(kind, self._step.name, trial.number, **drawn, **fields))

    def _outcome(self) -> Trial | Result:
        canceled = any(trial.status == "canceled" for trial in self._trials)
        if self._context.cancellation.asked.is_set() and (canceled or len(self._trials) < self._sampler.size):
            return Result("canceled", error="canceled")
        if self._timed_out:
            return Result("failed", error=f"the sweep was ended after limits.timeout of {self._sweep.timeout:g} s")
        return self._best or self._failure()

    def _failure(self) -> Result:
        failed = [trial for trial in self._trials if trial.status == "failed"]
        if failed and len(failed) == len(self._trials):
            first = failed[0]
            error = f"all {len(failed)} trials failed; trial {first.number}: {first.error}"
            return replace(first.result, error=error)
        metric = self._sweep.primary_metric
        if any(trial.reported for trial in self._trials if trial.status == "stopped"):
            return Result("failed", error=f"no trial that logged '{metric}' ran to its end")
        names = list(dict.fromkeys(name for trial in self._trials if trial.metrics for name in logged(trial.metrics)))
        hint = f"logged: {', '.join(names[:20])}; {did_you_mean(metric, names)}" if names else "no metric was logged"
        return Result("failed", error=f"no trial logged the primary metric '{metric}' ({hint})")


def _short(text: str) -> str:
    try:
        return f"{float(text):.6g}" if "." in text else text
    except ValueError:
        return text if len(text) <= 40 else f"{text[:37]}..."
