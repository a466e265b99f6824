"""One step of a run: its key, the cache, an attempt of its own, and the commit of what it wrote.

A step has succeeded when its command ended with 0, every declared output is there, and the manifest is on disk. Until
that, nothing another step or run could see has changed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azdistill import snapshot
from azdistill.errors import AzdistillError, Interrupted, MachineError, UserError
from azdistill.local.cache.entries import METRICS, Cache, Entry, key_of
from azdistill.local.cache.hashes import Hashes
from azdistill.local.cache.key import key_fields
from azdistill.local.keyed import write_fields
from azdistill.local.outputs import artifacts, links, mlflow_files
from azdistill.local.outputs import manifest as outputs
from azdistill.local.outputs import value_outputs as values
from azdistill.local.outputs.manifest import Manifest
from azdistill.local.plan.bindings import Bound, Local, Made, Text
from azdistill.local.plan.selection import missing
from azdistill.local.plan.steps import Plan, PlannedStep
from azdistill.local.plan.threads import VARIABLE as THREADS
from azdistill.local.run import environment_variables, resume, retries, secrets, shell_safe_paths, wrapping
from azdistill.local.run.attempt import (
    Attempt,
    append_logged,
    make_places,
    make_room,
    redact_file,
    restrict_attempt,
    settle,
    strange,
)
from azdistill.local.run.interpreter import Interpreter
from azdistill.local.run.listener import Tracking
from azdistill.local.run.result import BRANCH, Result
from azdistill.local.run.skipping import settled, skipped
from azdistill.local.run.step_inputs import (
    Stamps,
    changed,
    render,
    secrets_of,
    shared,
    stamps_of,
    stores,
    take_code,
    text_of,
    uses_mlflow,
)
from azdistill.local.run.step_log import LogWriter
from azdistill.local.run.trial_events import TrialNews
from azdistill.local.runners.base import Cancellation, Ended, Job, Runner
from azdistill.local.store.durable_files import disk_errors
from azdistill.local.store.runs import RunLog
from azdistill.permissions import restrict

if TYPE_CHECKING:
    from azdistill.local.run.containers import Containers


@dataclass(slots=True)
class Executor:
    """Runs the steps of one run; used from several threads."""

    plan: Plan
    log: RunLog
    cache: Cache
    hashes: Hashes
    interpreter: Interpreter
    runner: Runner
    cancellation: Cancellation
    use_cache: bool = True
    variables: Mapping[str, str] = field(default_factory=dict)
    inherited: Mapping[str, str] = field(default_factory=environment_variables.passed_on)
    containers: Containers | None = None
    interpreters: Mapping[str, Interpreter] = field(default_factory=dict)
    threads: Mapping[str, int] = field(default_factory=dict)
    retries: int = 0
    tracking: Tracking = field(default_factory=Tracking)
    on_start: Callable[[str, Attempt], None] = lambda step, attempt: None
    on_line: Callable[[str, str], None] = lambda step, line: None
    on_trial: Callable[[TrialNews], None] = lambda news: None
    #: How many trials of a sweep step may run at a time.
    room: dict[str, int] = field(default_factory=dict)

    def execute(self, step: PlannedStep, results: Mapping[str, Result]) -> Result:
        """Run ``step``, or find it in the cache; ``results`` holds what the steps before it came to."""
        try:
            with disk_errors(f"step '{step.name}'"):
                return self._execute(settled(step, results, self.plan), results)
        except Interrupted:
            return Result("canceled")
        except AzdistillError as error:
            return Result("failed", error=error.message, failure=error)
        except Exception as error:  # noqa: BLE001 - a defect of ours: told at the end of the run, with its traceback
            return Result("failed", error=f"{type(error).__name__}: {error}", failure=error)

    def find(self, step: PlannedStep, results: Mapping[str, Result]) -> Result | None:
        """The step's result from the cache, or from this run before it was resumed; nothing is run."""
        return self._found(step, self.fields(step, results))

    def skip(self, step: PlannedStep, results: Mapping[str, Result]) -> Result | None:
        """What the step comes to without being run, where ``results`` tell that its branch is not taken."""
        try:
            told = skipped(step, results)
        except AzdistillError as error:
            return Result("failed", error=error.message, failure=error)
        return Result("skipped", reason=BRANCH, detail=told) if told else None

    def fields(self, step: PlannedStep, results: Mapping[str, Result]) -> dict[str, Any]:
        """What the step's result depends on: the fields of its key."""
        return self._fields(settled(step, results, self.plan), take_code(step), results)

    def may_reuse(self, step: PlannedStep) -> bool:
        """Whether the cache may answer for a step, and keep what it makes."""
        if step.name in self.plan.given:
            return step.deterministic
        return self.use_cache and step.deterministic and not self.plan.force_rerun

    def reusable(self, step: PlannedStep, fields: dict[str, Any]) -> Entry | None:
        """The cache entry that answers for a step, if what it has written in place is there still as well."""
        return self.cache.find(key_of(fields), step.in_place) if self.may_reuse(step) else None

    def _found(self, step: PlannedStep, fields: dict[str, Any]) -> Result | None:
        if entry := self.reusable(step, fields):
            return self._cached(step, entry.manifest, entry.outputs, entry.metrics, key_of(fields))
        return self._finished(step, fields) if self.log.resumed else None

    def _execute(self, step: PlannedStep, results: Mapping[str, Result]) -> Result:
        taken = take_code(step)
        # Before the key is taken: what is written where others may write as well, from here on, is not in it.
        seen = stamps_of(step, results, shared(step, self.plan))
        fields = self._fields(step, taken, results)
        if found := self._found(step, fields):
            return found
        if step.name in self.plan.given:
            raise missing(self.plan, [step.name])
        if step.sweep:
            return self._sweep(step, results, fields, seen)
        for left in range(self.retries, -1, -1):
            result = self._attempt_once(step, taken, results, fields, seen)
            if not (left and result.again):
                break
            if not self._waited(step, self.retries - left, result):
                return Result("canceled", result.seconds, result.exit_code, "canceled")
        return result

    def _sweep(self, step: PlannedStep, results: Mapping[str, Result], fields: dict[str, Any], seen: Stamps) -> Result:
        """The trials of a sweep step, and the best one's outputs as its own."""
        # Imported here: few pipelines have a sweep.
        from azdistill.local.sweep.handing import hand_over
        from azdistill.local.sweep.search import Search

        attempt, reusable, started = self._attempt(step), self.may_reuse(step), time.monotonic()
        write_fields(attempt.folder, fields, reusable=reusable)
        self.on_start(step.name, attempt)
        with LogWriter(attempt.log, lambda line: self.on_line(step.name, line)) as log:
            found = Search(self, step, results, key_of(fields), lambda line: log.feed(f"{line}\n".encode())).run()
            if not found.best:
                log.note(found.error)
                seconds = time.monotonic() - started
                return Result(found.status, seconds, found.exit_code, found.error, failure=found.failure)
            paths, before = make_places(step, attempt), outputs.look_at(step.in_place)
            hand_over(found.best, paths, frozenset(step.standing), attempt.metrics)
            kept = fields if reusable and stamps_of(step, results, seen.keys()) == seen else None
            return self._commit(step, attempt, paths, kept, time.monotonic() - started, before)

    def _attempt_once(
        self,
        step: PlannedStep,
        taken: snapshot.Snapshot,
        results: Mapping[str, Result],
        fields: dict[str, Any],
        seen: Stamps,
    ) -> Result:
        attempt, reusable = self._attempt(step), self.may_reuse(step)
        write_fields(attempt.folder, fields, reusable=reusable)
        taken.lay_out(attempt.snapshot)
        artifacts.make_folders(attempt.snapshot)
        wrapping.lay_out(step, attempt.snapshot)
        try:
            return self._try(step, attempt, taken, results, fields if reusable else None, seen)
        except MachineError as error:
            if not retries.passing(error):
                raise
            return Result("failed", error=error.message, failure=error, again=True)

    def _waited(self, step: PlannedStep, retried: int, result: Result) -> bool:
        """Wait before the next attempt of a step; False where the run was canceled meanwhile."""
        seconds = retries.pause(retried)
        self.log.append("step_retried", step=step.name, error=result.error, seconds=seconds)
        self.on_line(step.name, f"{result.error}: trying again in {seconds:g} s")
        return not self.cancellation.asked.wait(seconds)

    def _fields(self, step: PlannedStep, taken: snapshot.Snapshot, results: Mapping[str, Result]) -> dict[str, Any]:
        def content(bound: Bound) -> str:
            if isinstance(bound, Made):
                made = self.plan.steps[bound.step].outputs[bound.output]
                if not made.standing or made.store:
                    return "standing" if made.store else results[bound.step].contents[bound.output]
            try:
                # A place may hold more, or other things, than when the step that filled it had ended.
                return self._content(Path(text_of(bound, results)))
            except FileNotFoundError as error:
                name = next(name for name, other in step.inputs.items() if other is bound)
                gone = f"step '{step.name}': input '{name}': {error.filename} is not there any more"
                raise UserError(gone, code="AZD345") from None

        machine = self.containers.fingerprint(step) if self.containers else self._interpreter(step).fingerprint
        # What is executable is laid out so: a command may tell the difference.
        code = taken.hashes(self.hashes) | taken.executables()
        fields = key_fields(step, code, content, machine, self.hashes)
        # Their values may be secrets: names alone count.
        return fields | {"variables": sorted(self.variables)} if self.variables else fields

    def _interpreter(self, step: PlannedStep) -> Interpreter:
        """The interpreter of a step: its environment's own (``local.pythons``), or the run's."""
        return self.interpreters.get(step.trial_of or step.name, self.interpreter)

    def _finished(self, step: PlannedStep, fields: dict[str, Any]) -> Result | None:
        """What an earlier attempt in this run came to, before the run was resumed."""
        if not (found := resume.finished(self.log.folder, self.plan, step, fields, self.hashes.file)):
            return None
        attempt, manifest = found
        made = resume.places(attempt, list(manifest.outputs))
        key = key_of(fields) if self.may_reuse(step) else None
        return self._cached(step, manifest, made, attempt / METRICS, key)

    def _cached(
        self, step: PlannedStep, manifest: Manifest, made: Mapping[str, Path], metrics: Path, key: str | None
    ) -> Result:
        """The result of a step that need not run."""
        for name in step.standing:
            make_room(step, name)
        return Result("cached", 0.0, None, "", {**made, **step.standing}, manifest.contents(), metrics, key)

    def _content(self, path: Path) -> str:
        return self.hashes.tree(path) if path.is_dir() else self.hashes.file(path)

    def _attempt(self, step: PlannedStep) -> Attempt:
        folder = self.log.folder / "steps" / step.name / "attempts"
        folder.mkdir(parents=True, exist_ok=True)
        number = 1
        for tried in resume.attempts(self.log.folder, step.name):
            number = max(number, 1 + int(tried.name))
            # A runner that was killed has hidden nothing in what the step wrote, nor looked at its modes.
            restrict(tried)
            redact_file(tried / METRICS)
        (folder / str(number)).mkdir()
        return Attempt(number, folder / str(number), f"{self.log.run_id}.{step.name}.{number}")

    def _try(
        self,
        step: PlannedStep,
        attempt: Attempt,
        taken: snapshot.Snapshot,
        results: Mapping[str, Result],
        fields: dict[str, Any] | None,
        seen: Stamps,
    ) -> Result:
        paths = make_places(step, attempt)
        values.note_passed(step, attempt.metrics)
        job = self._job(step, attempt, taken, paths, results)
        self.on_start(step.name, attempt)
        with LogWriter(attempt.log, lambda line: self.on_line(step.name, line)) as log:
            watched = step.inputs.keys() - stores(step, self.plan)
            started, before = time.monotonic(), stamps_of(step, results, watched)
            in_place = outputs.look_at(step.in_place)
            try:
                ended = self.runner.run(job, log.feed, self.cancellation)
            finally:
                restrict_attempt(step, attempt)
                spoilt = settle(attempt.metrics)
            self._take_logged(step, job, attempt, ended)
            for line in strange(attempt.metrics):
                log.note(line)
            values.take_logged(step, paths, attempt.metrics)
            if not ended.returncode:
                artifacts.fill(step, attempt.snapshot, paths, follow=not self.containers)
            after = stamps_of(step, results, watched)
            failed = self._judge(step, job, ended, paths, spoilt) or changed(before, after, ended, seen)
            if failed:
                log.note(failed.error)
                return failed
            for name in outputs.untouched(step.in_place, in_place):
                log.note(f"output '{name}' was there already and is as it was: this step wrote nothing to it")
            # What it made of more than its key says is not kept for others.
            kept = fields if all(after[name] == files for name, files in seen.items()) else None
            return self._commit(step, attempt, paths, kept, time.monotonic() - started, in_place)

    def _job(
        self,
        step: PlannedStep,
        attempt: Attempt,
        taken: snapshot.Snapshot,
        paths: Mapping[str, Path],
        results: Mapping[str, Result],
    ) -> Job:
        texts = {name: text_of(bound, results) for name, bound in step.inputs.items()}
        places = {n: shell_safe_paths.word(text) for n, text in texts.items() if not isinstance(step.inputs[n], Text)}
        written = {name: shell_safe_paths.word(str(path)) for name, path in paths.items()}
        hidden = secrets.resolve(secrets_of(step))
        threads = self.threads.get(step.trial_of or step.name)
        variables = {
            **({THREADS: str(threads)} if threads else {}),
            **self.inherited,
            **({} if self.containers else {"PATH": self._interpreter(step).path(self.log.folder / "bin" / step.name)}),
            **environment_variables.azure(self.log.run_id, attempt.attempt_id, self.plan.experiment),
            **environment_variables.data(places, written),
            "AZDISTILL_METRICS_FILE": str(attempt.metrics),
            **resume.previous(attempt.folder),
            **self._tracked(step, attempt, uses_mlflow(step, taken)),
            **self.variables,
            **wrapping.variables(step, places, written, stores(step, self.plan)),
            **hidden,
            **step.environment_variables,
        }
        command = wrapping.command(step, render(step, texts, paths))
        job = Job(attempt.attempt_id, command, attempt.snapshot, variables, step.timeout)
        if not self.containers:
            return job
        attempt.metrics.touch()
        read = [*places.values(), *(texts[name] for name in places), *resume.previous(attempt.folder).values()]
        write = [attempt.outputs, *step.standing.values(), *([attempt.mlflow] if attempt.mlflow.is_dir() else [])]
        spelt = [shell_safe_paths.word(str(path)) for path in write]
        own = [name for name, bound in step.inputs.items() if isinstance(bound, Local)]
        data = [place for name in own for place in (places[name], texts[name])]
        return self.containers.keep(job, step, read, [*write, *spelt, attempt.metrics], data)

    def _tracked(self, step: PlannedStep, attempt: Attempt, uses_mlflow: bool) -> dict[str, str]:
        """The MLflow variables of a step; without a network it logs to files, which are read when it has ended.

        So does one whose outputs are values, which it may only log, a trial, whose primary metric is read while it
        runs, and one whose code does not name MLflow: a library may log all the same, and would to a run of its own.
        """
        own = bool(values.names(step)) or step.trial_of is not None
        apart = self.containers is not None and self.containers.network(step) != "host"
        files = apart or own
        found = self.tracking.variables(step.name, uses_mlflow and not files)
        if "MLFLOW_RUN_ID" in found and not files:
            return found
        if found or own:
            found.pop("MLFLOW_RUN_ID", None)
            attempt.mlflow.mkdir()
            # A store of files whose folder is there has no experiment until one is named.
            found |= {"MLFLOW_EXPERIMENT_NAME": self.plan.experiment, **mlflow_files.variables(attempt.mlflow)}
        return found

    def _take_logged(self, step: PlannedStep, job: Job, attempt: Attempt, ended: Ended) -> None:
        """Add what a step logged to MLflow to its metrics: they are listed, compared, and there when it is reused."""
        direct = "MLFLOW_RUN_ID" in job.environment and not ended.canceled
        append_logged(attempt, self.tracking.logged(step.name) if direct else [])

    def _judge(
        self, step: PlannedStep, job: Job, ended: Ended, paths: Mapping[str, Path], spoilt: str
    ) -> Result | None:
        """The failure that an attempt ended in; None when it has succeeded."""
        if ended.canceled:
            return Result("canceled", ended.seconds, ended.returncode, "canceled")
        if ended.timed_out:
            limit = "limits.trial_timeout" if step.trial_of else "limits.timeout"
            error = f"the command was ended after {limit} of {step.timeout:g} s"
            return Result("failed", ended.seconds, ended.returncode, error)
        if ended.returncode:
            error, again = f"the command ended with exit code {ended.returncode}", retries.worth(ended.returncode)
            return Result("failed", ended.seconds, ended.returncode, error, again=again)
        kinds = {name: output.kind for name, output in step.outputs.items()}
        needed = {name: path for name, path in paths.items() if not step.outputs[name].store}
        if absent := outputs.missing(needed, kinds):
            error = f"the command ended with exit code 0 but did not write output {', '.join(map(repr, absent))}"
            return Result("failed", ended.seconds, ended.returncode, error)
        made = {name: path for name, path in paths.items() if name not in step.standing}
        if error := spoilt or links.stray(made, self._seen(job)) or values.wrong(step, paths):
            return Result("failed", ended.seconds, ended.returncode, error)
        return None

    def _seen(self, job: Job) -> list[Path] | None:
        """The places of this machine that an attempt could see; None for all of them."""
        if not self.containers:
            return None
        container = self.containers.of(job)
        return [job.folder, *container.read, *container.linked.values(), *container.write]

    def _commit(
        self,
        step: PlannedStep,
        attempt: Attempt,
        paths: Mapping[str, Path],
        fields: dict[str, Any] | None,
        seconds: float,
        before: outputs.Seen,
    ) -> Result:
        made = {name: path for name, path in paths.items() if name not in step.standing}
        manifest = outputs.record(made, step.in_place, before)
        # Of a result that goes into the cache the entry's manifest is what counts.
        manifest.write(attempt.folder, durable=fields is None)
        key = None
        if fields is not None:
            about = {
                "fields": fields,
                "run_id": self.log.run_id,
                "step": step.name,
                "seconds": seconds,
                "outputs": str(attempt.outputs),
            }
            if entry := self.cache.commit(key_of(fields), manifest, attempt.outputs, attempt.metrics, about):
                # For people who look around in the run's folder; nothing reads it.
                attempt.outputs.symlink_to(os.path.relpath(entry.folder / "outputs", attempt.folder))
                key, made, manifest = entry.folder.name, entry.outputs, entry.manifest
            else:
                manifest.write(attempt.folder)
        return Result("completed", seconds, 0, "", {**made, **step.standing}, manifest.contents(), attempt.metrics, key)
