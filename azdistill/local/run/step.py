"""One step of a run: its key, the cache, an attempt of its own, and the commit of what it wrote.

A step has succeeded when its command ended with 0, every declared output is there, and the manifest is on disk. Until
that, nothing another step or run could see has changed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from azdistill.errors import Interrupted, MachineError, UserError
from azdistill.local.cache.entries import METRICS, Entry
from azdistill.local.cache.key import ResultKey, confirm, installed_changed, key_of, places_of, result_key
from azdistill.local.outputs import manifest as outputs
from azdistill.local.outputs import value_outputs
from azdistill.local.outputs.manifest import Manifest
from azdistill.local.plan.selection import missing
from azdistill.local.plan.steps import PlannedStep, StepOutput, Text
from azdistill.local.run.attempt import (
    Attempt,
    LogWriter,
    finished,
    make_room,
    new_attempt,
    outputs_of,
    settle,
    strange,
)
from azdistill.local.run.context import PlanContext, RunContext
from azdistill.local.run.prepare import PreparedStep, prepare
from azdistill.local.run.result import (
    Result,
    failed,
    for_want_of_room,
    is_passing,
    is_worth_another_attempt,
    pause_before,
    settled,
    stopped_by,
)
from azdistill.local.runners.base import Cancellation, Ended
from azdistill.local.store.durable_files import is_full
from azdistill.local.store.events import Event, Hear
from azdistill.local.store.machine_errors import FULL
from azdistill.trees import Stat, outwait, stamps

Results = Mapping[str, Result]
#: Name of an input -> what stat says of all that it holds.
Stamps = Mapping[str, Mapping[str, Stat]]
#: How often the inputs of a step are read again because they were changed before its command was started.
_READINGS = 3
_NOT_KEPT = "its result is of this run only, not cached"


class StepRunner:
    """Runs the steps of one run, several of them at a time; ``hear`` is told what happens to each, from its thread."""

    def __init__(self, context: RunContext, hear: Hear) -> None:
        self._context, self._hear = context, hear

    def run(self, step: PlannedStep, results: Results, room: int = 1) -> Result:
        """Run ``step``, or find it in the cache; ``results`` holds what the steps before it came to.

        ``room``: how many trials of a sweep step may run at a time.
        """
        try:
            return self._run(settled(step, results, self._context.plan), results, room)
        except Interrupted:
            return Result("canceled")
        except Exception as error:  # noqa: BLE001 - a defect of ours: told at the end of the run, with its traceback
            return stopped_by(step, error)

    def _run(self, step: PlannedStep, results: Results, room: int) -> Result:
        context = self._context
        if step.trial_of is None:
            self._hear(Event.of("step_reading", step.name))
        for retries_left in range(0 if step.sweep else context.retries, -1, -1):
            result = self._run_once(step, results, room)
            if not (retries_left and result.again):
                break
            if not self._wait(step, context.retries - retries_left, result):
                return Result("canceled", result.seconds, result.exit_code, "canceled")
        return result

    def _run_once(self, step: PlannedStep, results: Results, room: int, readings: int = _READINGS) -> Result:
        """What the cache has, or one attempt, of what the inputs hold then; they may be read so many times again."""
        context = self._context
        work = self._read(step, results, readings)
        if reused := _reuse(context, step, work.key):
            return reused
        if step.name in context.plan.given:
            raise missing(context.plan, [step.name])
        result = self._fly(work, room, patient=readings > 0)
        return result or self._run_once(step, results, room, readings - 1)

    def _fly(self, work: _Work, room: int, *, patient: bool) -> Result | None:
        """Execute a step, unless another run is at it and leaves its result in the cache."""
        context, step = self._context, work.step
        if not may_reuse(context, step) or step.exclusive:
            return self._execute(work, room, patient)

        def tell(name: str) -> None:
            self._hear(Event.of("step_waiting", step.name, run=name))

        run_id, asked = context.log.run_id, context.cancellation.asked
        with context.cache.flights.join(work.key.digest, run_id, tell, asked) as turn:
            if turn == "canceled":
                return Result("canceled")
            return _reuse(context, step, work.key) or self._execute(work, room, patient)

    def _execute(self, work: _Work, room: int, patient: bool) -> Result | None:
        return self._run_trials(work.step, work, room) if work.step.sweep else self._attempt(work, patient=patient)

    def _read(self, step: PlannedStep, results: Results, readings: int) -> _Work:
        """The step with its key, and with what stat said of its inputs before they were hashed for that."""
        before = _stamps(step, results)
        outwait(stat for found in before.values() for stat in found.values())
        try:
            return _Work(step, results, result_key(self._context, step, results), before)
        except (OSError, UserError) as error:
            # What was replaced just now is missing for a moment, or is a file where a folder was.
            passing = isinstance(error, OSError) or error.code == "AZD345"
            if not (passing and readings) or _stamps(step, results) == before:
                raise
        return self._read(step, results, readings - 1)

    def _run_trials(self, step: PlannedStep, work: _Work, room: int) -> Result:
        """The trials of a sweep step, and the best one's outputs as its own."""
        # Imported here: few pipelines have a sweep.
        from azdistill.local.sweep.search import Search
        from azdistill.local.sweep.trial import hand_over

        def run_trial(trial: PlannedStep, cancellation: Cancellation, hear: Hear) -> Result:
            return StepRunner(replace(self._context, cancellation=cancellation), hear).run(trial, work.results)

        attempt, started = self._begin(work), time.monotonic()
        self._tell_start(step, attempt)
        with self._log(step, attempt) as log:
            best = Search(
                self._context,
                step,
                work.results,
                work.key.digest,
                run_trial=run_trial,
                hear=self._hear,
                say=lambda line: log.feed(f"{line}\n".encode()),
                room=room,
            ).run()
            if isinstance(best, Result):
                log.note(best.error)
                return replace(best, seconds=time.monotonic() - started)
            places, before = attempt.make_places(step), outputs.look_at(step.in_place)
            is_whole = best.result.manifest.matches(best.result.outputs, self._context.hashes.file)
            hand_over(best, places, frozenset(step.standing), attempt.metrics)
            changed = self._confirm(work, attempt, log)
            if not is_whole:
                log.note("what the best trial had written was changed after it had ended: this result is not cached")
                confirm(attempt.folder, unchanged=False)
            keeps = may_reuse(self._context, step) and is_whole and not changed
            return self._commit(step, work, attempt, places, keeps, time.monotonic() - started, before)

    def _attempt(self, work: _Work, *, patient: bool) -> Result | None:
        """One attempt; none, of which nothing is left, where its inputs were changed before it could start and it is
        ``patient``.
        """
        attempt = self._begin(work)
        try:
            return self._run_command(work.step, work, attempt, patient)
        except MachineError as error:
            if not is_passing(error):
                raise
            return Result("failed", error=error.message, failure=error, again=True)
        except OSError as error:
            if error.errno in FULL:
                attempt.drop_outputs(work.step)
            raise

    def _begin(self, work: _Work) -> Attempt:
        attempt = new_attempt(self._context.log.folder, work.step.name)
        work.key.write(attempt.folder, reusable=may_reuse(self._context, work.step), stamps=work.stamps)
        return attempt

    def _tell_start(self, step: PlannedStep, attempt: Attempt) -> None:
        self._hear(Event.of("step_started", step.name, attempt=attempt.number, log=str(attempt.log)))

    def _log(self, step: PlannedStep, attempt: Attempt) -> LogWriter:
        """The log of an attempt, every line of which is told as well."""
        return LogWriter(attempt.log, lambda line: self._hear(Event.of("line", step.name, text=line)))

    def _wait(self, step: PlannedStep, retried: int, result: Result) -> bool:
        """Wait before the next attempt of a step; False where the run was canceled meanwhile."""
        seconds = pause_before(retried)
        self._hear(Event.of("step_retried", step.name, error=result.error, seconds=seconds))
        self._hear(Event.of("line", step.name, text=f"{result.error}: trying again in {seconds:g} s"))
        return not self._context.cancellation.asked.wait(seconds)

    def _run_command(self, step: PlannedStep, work: _Work, attempt: Attempt, patient: bool) -> Result | None:
        context = self._context
        prepared = prepare(context, step, work.results, attempt)
        changed_before = work.changed()
        if changed_before and patient:
            attempt.discard()
            return None
        self._tell_start(step, attempt)
        with self._log(step, attempt) as log:
            for name, maker in work.altered().items():
                log.note(f"input '{name}' is not what step '{maker}' had written: it was changed after that had ended")
            started = time.monotonic()
            in_place = outputs.look_at(step.in_place)
            try:
                ended = context.runner.run(prepared.job, log.feed, context.cancellation)
            finally:
                # What it had for itself goes now, and the room that it took comes back.
                was_full = is_full(attempt.folder)
                attempt.restrict(step)
                broken_metrics = settle(attempt.metrics)
            self._take_what_was_logged(step, prepared, attempt, ended, log)
            changed = self._confirm(work, attempt, log, changed_before)
            if failure := self._judge(step, prepared, ended, broken_metrics):
                if was_full and ended.returncode:
                    failure = for_want_of_room(step, failure, removed=attempt.drop_outputs(step))
                log.note(failure.error)
                return failure
            for name in outputs.untouched(step.in_place, in_place):
                log.note(f"output '{name}' was there already and is as it was: this step wrote nothing to it")
            keeps = may_reuse(self._context, step) and not changed
            return self._commit(step, work, attempt, prepared.places, keeps, time.monotonic() - started, in_place)

    def _confirm(self, work: _Work, attempt: Attempt, log: LogWriter, before: list[str] | None = None) -> list[str]:
        """The inputs that were changed since they were stamped, ``before`` the command was started or later; what is
        installed for it and was changed since the run began.

        What was made of them belongs to no key. The run goes on with it, and nobody else ever takes it.
        """
        changed, installed = before or work.changed(), installed_changed(self._context, work.step)
        confirm(attempt.folder, unchanged=not (changed or installed))
        if changed:
            names, were = ", ".join(map(repr, changed)), "was" if len(changed) == 1 else "were"
            log.note(f"input {names} {were} changed while this step read it: {_NOT_KEPT}")
        elif installed:
            log.note(f"{', '.join(installed)} was changed since the run began: {_NOT_KEPT}")
        return [*changed, *installed]

    def _take_what_was_logged(
        self, step: PlannedStep, prepared: PreparedStep, attempt: Attempt, ended: Ended, log: LogWriter
    ) -> None:
        """Add what a step logged to MLflow to its metrics: they are listed, compared, and there when it is reused."""
        tracking = self._context.tracking
        to_run = tracking is not None and prepared.logs_to_run and not ended.canceled
        attempt.append_logged(tracking.logged(step.name) if tracking and to_run else [])
        for line in strange(attempt.metrics):
            log.note(line)
        value_outputs.take_logged(step, prepared.places, attempt.metrics)
        if not ended.returncode:
            attempt.fill_artifacts(step, prepared.places, follow=not self._context.containers)

    def _judge(self, step: PlannedStep, prepared: PreparedStep, ended: Ended, broken_metrics: str) -> Result | None:
        """The failure that an attempt ended in; None when it has succeeded."""
        if ended.canceled:
            return Result("canceled", ended.seconds, ended.returncode, "canceled")
        if ended.timed_out:
            limit = "limits.trial_timeout" if step.trial_of else "limits.timeout"
            return failed(ended, f"the command was ended after {limit} of {step.timeout:g} s")
        if ended.returncode:
            error = f"the command ended with exit code {ended.returncode}"
            return replace(failed(ended, error), again=is_worth_another_attempt(ended.returncode))
        kinds = {name: output.kind for name, output in step.outputs.items()}
        needed = {name: path for name, path in prepared.places.items() if not step.outputs[name].store}
        if absent := outputs.missing(needed, kinds):
            names = ", ".join(map(repr, absent))
            return failed(ended, f"the command ended with exit code 0 but did not write output {names}")
        outputs_made = {name: path for name, path in prepared.places.items() if name not in step.standing}
        visible = None
        if containers := self._context.containers:
            container = containers.of(prepared.job)
            visible = [prepared.job.folder, *container.read, *container.linked.values(), *container.write]
        error = broken_metrics or outputs.stray(outputs_made, visible)
        error = error or value_outputs.wrong(step, prepared.places)
        return failed(ended, error) if error else None

    def _commit(
        self,
        step: PlannedStep,
        work: _Work,
        attempt: Attempt,
        places: Mapping[str, Path],
        keeps: bool,
        seconds: float,
        before: outputs.Seen,
    ) -> Result:
        """Make what a step wrote its result; ``keeps``: in the cache, where other runs find it."""
        committed = {name: path for name, path in places.items() if name not in step.standing}
        manifest = outputs.record(committed, step.in_place, before)
        # Of a result that goes into the cache the entry's manifest is what counts.
        manifest.write(attempt.folder, durable=not keeps)
        digest = None
        if keeps:
            about = {
                "fields": work.key.fields,
                "run_id": self._context.log.run_id,
                "step": step.name,
                "seconds": seconds,
                "outputs": str(attempt.outputs),
            }
            entry = self._context.cache.commit(work.key.digest, manifest, attempt.outputs, attempt.metrics, about)
            if entry:
                # For people who look around in the run's folder; nothing reads it.
                attempt.outputs.symlink_to(os.path.relpath(entry.folder / "outputs", attempt.folder))
                digest, committed, manifest = entry.folder.name, entry.outputs, entry.manifest
            else:
                manifest.write(attempt.folder)
        every = {**committed, **step.standing}
        return Result("completed", seconds, 0, "", every, manifest, attempt.metrics, digest)


@dataclass(frozen=True, slots=True)
class _Work:
    """A step that has to be run. ``stamps``: what stat said of its inputs before they were hashed for the key."""

    step: PlannedStep
    results: Results
    key: ResultKey
    stamps: Stamps

    def changed(self) -> list[str]:
        """The inputs that are not what they were when they were stamped."""
        now = _stamps(self.step, self.results)
        return [name for name, stamp in self.stamps.items() if now[name] != stamp]

    def altered(self) -> dict[str, str]:
        """The inputs that are not what the steps that made them had written, and these steps."""
        made = {name: bound for name, bound in self.step.inputs.items() if isinstance(bound, StepOutput)}
        manifests = {name: self.results[bound.step].manifest for name, bound in made.items()}
        return {
            name: bound.step
            for name, bound in made.items()
            if bound.output in manifests[name].outputs
            and self.key.content(name) not in (None, manifests[name].content(bound.output))
        }


def find(context: RunContext, step: PlannedStep, results: Results) -> Result | None:
    """The step's result from the cache, or from this run before it was resumed; nothing is run."""
    return _reuse(context, step, key_of(context, step, results))


def may_reuse(context: PlanContext, step: PlannedStep) -> bool:
    """Whether the cache may answer for a step, and keep what it makes."""
    if step.name in context.plan.given:
        return step.deterministic
    return context.use_cache and step.deterministic and not context.plan.force_rerun


def reusable(context: PlanContext, step: PlannedStep, key: ResultKey) -> Entry | None:
    """The cache entry that answers for a step, if what it wrote in place is there still as well."""
    return context.cache.find(key.digest, step.in_place) if may_reuse(context, step) else None


def _reuse(context: RunContext, step: PlannedStep, key: ResultKey) -> Result | None:
    if entry := reusable(context, step, key):
        # An entry is called by the digest of its key.
        return _reused(step, entry.manifest, entry.outputs, entry.metrics, entry.folder.name)
    if not context.log.resumed:
        return None
    # What an earlier attempt in this run came to, before the run was resumed.
    before = finished(context.log.folder, step, key, context.hashes.file)
    if not before:
        return None
    attempt, manifest = before
    places = outputs_of(attempt, list(manifest.outputs))
    return _reused(step, manifest, places, attempt / METRICS, key.digest if may_reuse(context, step) else None)


def _reused(
    step: PlannedStep, manifest: Manifest, places: Mapping[str, Path], metrics: Path, digest: str | None
) -> Result:
    """The result of a step that need not run."""
    for name in step.standing:
        make_room(step, name)
    return Result("cached", 0.0, None, "", {**places, **step.standing}, manifest, metrics, digest)


def _stamps(step: PlannedStep, results: Results) -> Stamps:
    """What stat says of the data of a step that counts; what it writes to itself may change."""
    data = {name: bound for name, bound in step.inputs.items() if not isinstance(bound, Text)}
    places = {name: places_of(step, name, results) for name in data if name not in step.cache_ignore}
    own = set(step.standing.values())
    return {
        # Stamps of other places are named by the place that they are of.
        name: {
            f"{spelt}:{key}" if spelt else key: stat for spelt, at in lie.items() for key, stat in stamps(at).items()
        }
        for name, lie in places.items()
        if lie[""] not in own
    }
