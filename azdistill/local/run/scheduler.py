"""Runs a plan: independent steps side by side, exclusive ones alone, and an end that is always told."""

from __future__ import annotations

import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from azdistill.errors import AzdistillError
from azdistill.local.cache.entries import METRICS
from azdistill.local.plan.order import Order
from azdistill.local.plan.steps import PlannedStep
from azdistill.local.run.context import RunContext
from azdistill.local.run.listener import Listener, Tail
from azdistill.local.run.result import FAILURE, Result, skip, withheld
from azdistill.local.run.step import StepRunner
from azdistill.local.store.events import Event, RunState
from azdistill.local.store.runs import own_mark

_FOLLOW_EVERY = 0.2
#: What the event of a step's end says of its result in the result's own words.
_TOLD_OF_RESULT = ("status", "seconds", "exit_code", "error", "reason", "detail", "key")


class Scheduler:
    """One run of a plan. :meth:`run` returns when nothing of it lives any more."""

    def __init__(self, context: RunContext, listeners: list[Listener], *, jobs: int) -> None:
        self._listeners, self._jobs = listeners, jobs
        self._plan, self._log, self._cancellation = context.plan, context.log, context.cancellation
        self._steps = StepRunner(context, self._hear)
        self._results: dict[str, Result] = {}
        self._waiting = dict(self._plan.steps)
        self._order = Order(self._plan.steps)
        self._failed = False
        self._branches = any(step.under.gates for step in self._plan.steps.values())
        #: The steps that run, and how many places each takes up.
        self._running: dict[str, int] = {}
        self._done: queue.SimpleQueue[tuple[str, Result]] = queue.SimpleQueue()
        self._tails: dict[str, Tail] = {}
        self._metrics: dict[str, dict[str, float]] = {}
        self._tail_lock = threading.Lock()
        #: Why the pipeline's outputs could not be delivered, where that is so.
        self.undelivered: Exception | None = None

    @property
    def results(self) -> Mapping[str, Result]:
        """What the steps that ended came to."""
        return self._results

    def run(self, deliver: Callable[[Mapping[str, Result]], dict[str, str]]) -> RunState:
        """Run everything; ``deliver`` puts the pipeline's outputs where they belong, when all steps have succeeded."""
        started = time.monotonic()
        plan = self._plan
        self._hear(
            Event.of(
                "run_resumed" if self._log.resumed else "run_started",
                pipeline=plan.name,
                experiment=plan.experiment,
                params=dict(plan.params),
                steps=list(plan.steps),
                apart=list(plan.apart),
                sysexits=sorted(plan.sysexits),
                headline=[name for name, step in plan.steps.items() if step.headline],
                runner=own_mark(),
                number=self._log.number,
                plan=plan,
            )
        )
        with _Signals(self._cancellation.ask) as signals:
            self._run_steps()
            self._skip_rest()
            status, error, outputs = self._outcome(deliver, signals)
            not_written = withheld(plan, self._results) if outputs or status == "completed" else {}
            seconds = time.monotonic() - started
            ended = Event.of(
                "run_ended", status=status, seconds=seconds, outputs=outputs, withheld=not_written, error=error
            )
            self._log.append(ended)
        self._tell(ended)
        return self._log.state

    def _run_steps(self) -> None:
        with self._following(), ThreadPoolExecutor(self._jobs) as pool:
            try:
                while self._start_ready(pool) or self._running:
                    self._take(*self._done.get())
            except BaseException:
                # Without its log a run cannot go on (a full disk): nothing is left running behind it.
                self._cancellation.ask()
                raise

    def _start_ready(self, pool: ThreadPoolExecutor) -> bool:
        """Start what can start; whether anything did."""
        self._leave_branches()
        begun = False
        for name in self._order.ready() if self._goes_on() else ():
            room = self._jobs - sum(self._running.values())
            if room < 1:
                break
            if self._fits(step := self._waiting[name]):
                self._running[name] = min(step.sweep.concurrent, room) if step.sweep else 1
                self._leave(name)
                pool.submit(self._run_step, step, self._running[name])
                begun = True
        return begun

    def _run_step(self, step: PlannedStep, room: int) -> None:
        self._done.put((step.name, self._steps.run(step, self._results, room)))

    def _goes_on(self) -> bool:
        failed = self._failed and not self._plan.continue_on_step_failure
        return not failed and not self._cancellation.asked.is_set()

    def _leave(self, name: str) -> None:
        """Let a step wait no more: it is started, or never will be."""
        del self._waiting[name]
        self._order.take(name)

    def _settle(self, name: str, result: Result) -> None:
        self._results[name] = result
        if result.well:
            self._order.ended_well(name)
        else:
            self._failed = True

    def _leave_branches(self) -> None:
        """Settle the steps that are known not to be run though nothing failed."""
        if not self._branches:
            return
        for name, step in list(self._waiting.items()):
            if result := skip(step, self._results):
                self._leave(name)
                self._settle(name, result)
                self._end_step(name, result)

    def _fits(self, step: PlannedStep) -> bool:
        if step.exclusive:
            return not self._running
        return not any(self._plan.steps[name].exclusive for name in self._running)

    def _take(self, name: str, result: Result) -> None:
        self._running.pop(name, None)
        self._settle(name, result)
        with self._tail_lock:
            tail = self._tails.pop(name, None)
        if tail is None and result.metrics:
            tail = Tail(result.metrics)
        self._forward(name, tail)
        self._end_step(name, result)

    def _end_step(self, name: str, result: Result) -> None:
        fields = {field: getattr(result, field) for field in _TOLD_OF_RESULT}
        outputs = {output: str(path) for output, path in result.outputs.items()}
        self._hear(Event.of("step_ended", name, **fields, metrics=self._metrics.get(name, {}), outputs=outputs))

    def _skip_rest(self) -> None:
        canceled = self._cancellation.asked.is_set()
        for name in self._waiting:
            skipped = Result("skipped", reason=FAILURE, detail=self._cause(name))
            self._results[name] = Result("canceled") if canceled else skipped
            self._end_step(name, self._results[name])
        self._waiting.clear()

    def _cause(self, name: str) -> str:
        """Whose failure kept a step from running: of a step that it needs, or else the first of all."""
        for need in sorted(self._plan.steps[name].needs):
            result = self._results.get(need)
            if result and result.status == "failed":
                return f"step '{need}' failed"
            if result and result.reason == FAILURE:
                return result.detail
        failed = next((name for name, result in self._results.items() if result.status == "failed"), "")
        return f"step '{failed}' failed, and the run stops there (--keep-going)"

    def _outcome(
        self, deliver: Callable[[Mapping[str, Result]], dict[str, str]], signals: _Signals
    ) -> tuple[str, str, dict[str, str]]:
        statuses = {name: result.status for name, result in self._results.items()}
        if failed := next((name for name, status in statuses.items() if status == "failed"), None):
            return "failed", f"step '{failed}' failed: {self._results[failed].error}", {}
        if self._cancellation.asked.is_set() and "canceled" in statuses.values():
            return "canceled", "interrupted", {}
        try:
            with signals.stopping():
                return *self._with_rest(), deliver(self._results)
        except _Stopped:
            return "canceled", "interrupted while the outputs were delivered", {}
        except Exception as error:  # noqa: BLE001 - told when the run's end is on disk
            self.undelivered = error
            return "failed", error.message if isinstance(error, AzdistillError) else str(error), {}

    def _with_rest(self) -> tuple[str, str]:
        """The status and error of a run whose selected steps ended well: those that are left as they were count too."""
        steps = self._log.state.steps
        failed = [name for name in self._plan.apart if name in steps and steps[name].status == "failed"]
        if not failed:
            return "completed", ""
        return "failed", f"step '{failed[0]}', which is not selected, had failed: {steps[failed[0]].error}"

    def _hear(self, event: Event) -> None:
        """Keep an event, and tell everybody who listens; called from several threads."""
        if event.kind == "step_started":
            with self._tail_lock:
                self._tails[event.step] = Tail(Path(event.fields["log"]).with_name(METRICS))
                self._metrics.pop(event.step, None)
        self._log.append(event)
        self._tell(event)

    def _tell(self, event: Event) -> None:
        for listener in self._listeners:
            listener.hear(event, self._log.state)

    @contextmanager
    def _following(self) -> Iterator[None]:
        over = threading.Event()

        def follow() -> None:
            while not over.wait(_FOLLOW_EVERY):
                with self._tail_lock:
                    for name, tail in self._tails.items():
                        self._forward(name, tail)

        thread = threading.Thread(target=follow, name="metrics", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _forward(self, name: str, tail: Tail | None) -> None:
        for record in tail.read() if tail else []:
            if record["kind"] == "metric" and isinstance(record.get("value"), int | float):
                self._metrics.setdefault(name, {})[str(record.get("name"))] = record["value"]
            self._hear(Event.of("record", name, record=record))


class _Stopped(BaseException):
    """A signal came while nothing but a copy was going on."""


class _Signals:
    """Lets the first Ctrl-C, SIGTERM or SIGHUP ask for a graceful end, and the second for one at once."""

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask, self._stopping = ask, False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> _Signals:
        if threading.current_thread() is threading.main_thread():
            numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            self._before = {number: signal.signal(number, self._handle) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """Let a signal stop what is done inside, by a :class:`_Stopped`."""
        self._stopping = True
        try:
            yield
        finally:
            self._stopping = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._ask()
        if self._stopping:
            raise _Stopped
