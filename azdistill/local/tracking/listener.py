"""Tells MLflow what a run does: a listener in front of :class:`azdistill.local.tracking.Tracker`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azdistill.aml.models import PRIMITIVES
from azdistill.local.outputs.manifest import Manifest, is_own, stray
from azdistill.local.plan.steps import Plan, Text
from azdistill.local.run.listener import Listener, Record, Tracking
from azdistill.local.store.events import Event, RunState, StepState
from azdistill.local.tracking import Columns, Tracker, first_logged

#: How long a step that logs to MLflow itself waits for its run id: a new store takes some seconds to be made.
_WAIT = 90.0
#: Stores that are files of this machine.
_FILES = ("sqlite:", "file:")
_CREDENTIALS = (
    "MLFLOW_TRACKING_USERNAME",
    "MLFLOW_TRACKING_PASSWORD",
    "MLFLOW_TRACKING_TOKEN",
    "MLFLOW_TRACKING_INSECURE_TLS",
)
#: Of models only paths, sizes and hashes are kept, however small their files are.
_COPIED = ("uri_file", "uri_folder", *PRIMITIVES)


class TrackingListener(Listener, Tracking):
    """A parent run for the pipeline, a child for each step that did something or was found in the cache.

    ``apart``: steps cannot see the whole machine, so an artifact that one names has to be its own.
    """

    def __init__(self, tracker: Tracker, source: str, *, apart: bool = False, columns: Columns = first_logged) -> None:
        self._tracker, self._source, self._apart = tracker, source, apart
        self._plan: Plan | None = None
        self._artifacts: dict[str, list[str]] = {}
        self._columns = columns
        self._step_tags: dict[str, str] = {}
        self._begun: set[str] = set()
        self._run_ids: dict[str, str] = {}
        #: Steps of this run that log to MLflow themselves.
        self._direct: set[str] = set()
        self._headline: set[str] = set()
        #: What the headline steps say of the whole pipeline.
        self._tags: dict[str, str] = {}

    def variables(self, step: str, uses_mlflow: bool) -> dict[str, str]:
        """The MLflow variables of a step. One that logs itself, to a store within its reach, gets its run's id and
        waits for it if it must.
        """
        assert self._plan
        variables = {"MLFLOW_TRACKING_URI": self._tracker.uri, "MLFLOW_EXPERIMENT_NAME": self._plan.experiment}
        # A container would make an empty store of its own where the files of one on this machine lie.
        if uses_mlflow and not (self._apart and self._tracker.uri.startswith(_FILES)):
            # A later attempt logs to the same run, and need not wait for MLflow again.
            run_id = self._run_ids.get(step) or self._tracker.ask("child_run_id", _WAIT, step=step)
            if run_id:
                self._run_ids[step] = run_id
            variables |= {name: os.environ[name] for name in _CREDENTIALS if name in os.environ}
            variables |= {"MLFLOW_RUN_ID": run_id} if run_id else {}
            self._direct.add(step)
        return variables

    def logged(self, step: str) -> list[Record]:
        records: list[Record] = self._tracker.ask("logged", _WAIT, step=step) or []
        return [record | {"logged": True} for record in records]

    def hear(self, event: Event, run: RunState) -> None:
        match event.kind:
            case "run_started" | "run_resumed":
                self._begin_run(run, event.fields["plan"])
            case "step_started":
                self._begin(event.step, {"azdistill.attempt": str(event.fields["attempt"])}, anew=True)
            case "record":
                self._record(event, event.fields["record"])
            case "trial_drawn":
                self._begin(event.step)
                tags = {"azdistill.trial": str(event.trial)}
                params = event.fields["hyperparameters"]
                self._tracker.send("step_started", step=event.name, params=params, tags=tags, parent=event.step)
            case "trial_ended":
                self._end(event.name, StepState(status=event.fields["status"], log=event.fields["log"]))
            case "sweep_ended":
                record = {"kind": "tag", "name": "azdistill.best_trial", "value": "true"}
                self._tracker.send("record", step=event.name, record=record)
            case "step_ended":
                self._end_step(event.step, run.steps[event.step])
            case "run_ended":
                self._end_run(run)

    def _begin_run(self, run: RunState, plan: Plan) -> None:
        self._plan, self._headline = plan, set(run.headline)
        tags = {
            "azdistill.run_id": run.run_id,
            "azdistill.pipeline": plan.name,
            "mlflow.source.name": self._source,
            "mlflow.source.type": "LOCAL",
        }
        names = {"name": run.run_id, "experiment": plan.experiment, "headline": list(run.headline)}
        self._tracker.send("run_started", params=plan.params, tags=tags, **names)

    def _record(self, event: Event, record: Record) -> None:
        step, kind, name, text = event.name, record["kind"], str(record.get("name")), str(record.get("value"))
        if event.trial is None:
            # The records of a cached step, which never starts, come first; MLflow keeps the first value of a parameter.
            self._begin(step)
            if kind == "tag":
                self._step_tags[name] = text
        if kind == "artifact":
            self._artifacts.setdefault(step, []).append(str(record.get("path")))
        if kind == "tag" and step in self._headline and name.startswith("azdistill."):
            self._tags[name] = text
        # The step's run has it already, and only the pipeline's may be without; from the cache neither has.
        known = bool(record.get("logged")) and step in self._direct
        is_complete = kind in ("metric", "param", "tag") and "name" in record and "value" in record
        if is_complete and (not known or step in self._headline):
            self._tracker.send("record", step=step, record=record, known=known)

    def _end_step(self, name: str, step: StepState) -> None:
        if step.status == "skipped" or (step.status == "canceled" and not step.attempts):
            return
        self._begin(name)
        self._end(name, step)

    def _end(self, name: str, step: StepState) -> None:
        """The end of a step, or of a trial."""
        tags = {"azdistill.status": step.status, "azdistill.cached": str(step.status == "cached").lower()}
        if step.key:
            tags["azdistill.cache_key"] = step.key
        files = {"outputs": _listed(step), "artifacts": self._files(name, step)}
        self._tracker.send("step_ended", step=name, status=step.status, tags=tags, **files)

    def _end_run(self, run: RunState) -> None:
        assert self._plan
        artifacts = []
        for name, path in run.outputs.items():
            # Of steps in two branches that make one output, either is of its type.
            source = self._plan.outputs[name]
            if self._plan.steps[source.step].outputs[source.output].kind in _COPIED:
                artifacts.append({"path": path, "folder": name if Path(path).is_dir() else ""})
        tags = {**self._tags, "azdistill.status": run.status, "azdistill.seconds": f"{run.seconds:.3f}"}
        if skipped := [f"{name} ({step.reason})" for name, step in run.steps.items() if step.reason]:
            tags["azdistill.skipped"] = ", ".join(skipped)
        measured = list(run.metrics)
        if not run.headline:
            # Where no step is the headline, those of all: they stand at the steps' runs, and at a sweep's trials.
            measured = [name for step in run.steps.values() for name in step.metrics]
        view = {"columns": self._columns(measured, self._step_tags), "compared": bool(run.headline)}
        self._tracker.send("run_ended", status=run.status, tags=tags, artifacts=artifacts, **view)

    def _begin(self, name: str, tags: Mapping[str, str] | None = None, *, anew: bool = False) -> None:
        """Let MLflow know a step, once; ``anew``: it begins another attempt."""
        if anew or name not in self._begun:
            self._begun.add(name)
            self._tracker.send("step_started", step=name, params=self._params(name), tags=tags or {})

    def _params(self, name: str) -> dict[str, str]:
        assert self._plan
        step = self._plan.steps[name]
        # Of a sweep they are the best trial's, known when it has ended.
        searched = step.sweep.space if step.sweep else ()
        texts = {key: bound for key, bound in step.inputs.items() if isinstance(bound, Text)}
        return {key: bound.text for key, bound in texts.items() if key not in searched}

    def _files(self, name: str, step: StepState) -> list[Mapping[str, str]]:
        files: list[Mapping[str, str]] = [{"path": step.log}] if step.log else []
        for path in self._artifacts.pop(name, []):
            current = _current_path(Path(path), step)
            # Its name is the step's to choose: one that is too long is no error of the run.
            if os.path.exists(current) and not (self._apart and is_foreign(current, step)):
                files.append({"path": str(current), "folder": current.name if current.is_dir() else ""})
        return files


def is_foreign(path: Path, step: StepState) -> bool:
    """Whether a path, or a link under it, leads to what is not of a step's own folder or outputs."""
    attempt = Path(step.log).parent if step.log else None
    own = [attempt, attempt / "outputs"] if attempt else []
    places = [*own, *map(Path, step.outputs.values())]
    return not any(is_own(path, place) for place in places) or bool(stray({"": path}, places))


def _current_path(path: Path, step: StepState) -> Path:
    """Where a file of a step is after its outputs were committed, or were found in the cache of an earlier run."""
    for name, output in step.outputs.items():
        attempt, marker, tail = str(path).partition(f"/outputs/{name}")
        if marker and "/attempts/" in attempt and (not tail or tail.startswith("/")):
            return Path(output + tail)
    return path


def _listed(step: StepState) -> dict[str, Any]:
    """Paths, sizes and hashes of a step's committed outputs."""
    listed: dict[str, Any] = {}
    for name, path in step.outputs.items():
        manifest = Manifest.read(Path(path).parents[1]) if len(Path(path).parents) > 1 else None
        files = manifest.outputs.get(name, {}) if manifest else {}
        rows = [{"path": key or name, "size": mark.size, "sha256": mark.sha256} for key, mark in files.items()]
        listed[name] = {"path": path, "files": rows[:1000]}
    return listed
