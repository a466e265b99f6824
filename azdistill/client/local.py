"""``MLClient.local(folder)``: the client whose workspace is a folder on this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azdistill import aml, compile
from azdistill.aml.models import Pipeline
from azdistill.client.evaluation import Models, Origin
from azdistill.client.headline import columns
from azdistill.client.job import DistillationJob
from azdistill.client.progress import Lines, say
from azdistill.errors import Interrupted, RunFailed, UserError, did_you_mean, raise_errors
from azdistill.local import (
    Finished,
    Home,
    Options,
    RunState,
    StepState,
    Tracker,
    TrackingListener,
    list_runs,
    run_pipeline,
    tracking_uri,
)
from azdistill.permissions import copy_out
from azdistill.recipe.refer import Weights
from azdistill.redact import redact

#: A run's status in the words of Azure ML. ``lost``: the process that ran it is gone.
_STATUSES = {
    **{"running": "Running", "completed": "Completed", "failed": "Failed"},
    **{"canceled": "Canceled", "lost": "NotResponding"},
}
#: So many lines of a log's end are searched for what went wrong, and so many are told.
_LAST_LINES, _REASON_LINES = 200, 4


@dataclass(frozen=True)
class LocalJob:
    """A run on this machine, with the names that a job of Azure ML has. ``studio_url`` is the run's folder."""

    name: str
    status: str
    display_name: str
    experiment_name: str
    studio_url: str
    error: str = ""
    outputs: dict[str, str] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict, repr=False)
    metrics: dict[str, float] = field(default_factory=dict, repr=False)
    steps: dict[str, str] = field(default_factory=dict, repr=False)

    @property
    def model_name(self) -> str | None:
        """The name of the model that this run makes; None where it makes none."""
        return self.inputs.get("model_name")


def _job(run: RunState) -> LocalJob:
    failed = next((_why(name, step) for name, step in run.steps.items() if step.status == "failed"), "")
    return LocalJob(
        name=run.run_id,
        status=_STATUSES[run.status],
        display_name=run.pipeline,
        experiment_name=run.experiment,
        studio_url=run.folder.absolute().as_uri(),
        error=failed or run.error,
        outputs=dict(run.outputs),
        inputs=dict(run.params),
        metrics=dict(run.metrics),
        steps={name: step.status for name, step in run.steps.items()},
    )


def _why(name: str, step: StepState) -> str:
    """What went wrong in a step: its own words, where its log ends with an error of ours."""
    try:
        lines = Path(step.log or "").read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
    except OSError:
        lines = []
    begins = next((number for number, line in enumerate(lines) if re.match(r"error\[", line)), None)
    reason = [step.error] if begins is None else lines[begins : begins + _REASON_LINES]
    text = "\n  ".join(line.rstrip() for line in reason if not line.startswith("[azdistill] "))
    return redact(f"step '{name}': {text}" + (f"\n  log: {step.log}" if step.log else ""))


class LocalJobs:
    """``jobs`` of a client on this machine."""

    def __init__(self, home: Home, tracking: bool) -> None:
        self._home, self._tracking = home, tracking

    def create_or_update(self, job: DistillationJob | str | Path, **_: Any) -> LocalJob:
        """Run ``job`` (a DistillationJob, or the path of a recipe or pipeline) to its end, with its progress on stderr.

        What is wrong with it is raised before anything runs (UserError); how the run itself ended is in the job's
        ``status`` and ``error``, as on Azure. Interrupted, where it was.
        """
        if isinstance(job, DistillationJob):
            built = job.to_pipeline()
            return self.run(built.pipeline(), "DistillationJob", [*map(str, built.warnings), *built.notes])
        if isinstance(job, str | Path):
            opened = compile.open_file(job)
            return self.run(opened.pipeline, str(job), [*map(str, opened.warnings), *opened.notes])
        raise needs_workspace(f"a {type(job).__name__} of azure-ai-ml", "give a DistillationJob or a pipeline's file")

    def run(self, pipeline: Pipeline, source: str, notes: Sequence[str]) -> LocalJob:
        """Check a pipeline and run it to its end."""
        problems = aml.check(pipeline)
        raise_errors(problems)
        for note in [*notes, *map(str, problems)]:
            say(note)
        finished = self._run(pipeline, source)
        if isinstance(finished.error, Interrupted):
            raise finished.error
        return _job(finished.state)

    def _run(self, pipeline: Pipeline, source: str) -> Finished:
        options = Options(home=self._home.root)
        if not self._tracking:
            return run_pipeline(pipeline, options, [Lines()])
        tracker = Tracker(self.tracking_uri, lambda text: say(f"warning: {text}"))
        tracked = TrackingListener(tracker, source, columns=columns)
        try:
            return run_pipeline(pipeline, options, [Lines(), tracked], tracked)
        finally:
            tracker.close()

    @property
    def tracking_uri(self) -> str:
        """Where MLflow keeps the runs: ``MLFLOW_TRACKING_URI``, or ``mlflow.db`` in the client's folder."""
        if os.environ.get("MLFLOW_TRACKING_URI"):
            return tracking_uri()
        return f"sqlite:///{self._home.root.parent / 'mlflow.db'}"

    def get(self, name: str) -> LocalJob:
        """The run of that name. UserError AZD495 where there is none."""
        return _job(self._run_of(name))

    def _run_of(self, name: str) -> RunState:
        runs = {run.run_id: run for run in list_runs(self._home)}
        if name not in runs:
            hint = did_you_mean(name, list(runs))
            raise UserError(f"there is no run '{name}' in {self._home.root}", code="AZD495", hint=hint)
        return runs[name]

    def list(self, **_: Any) -> list[LocalJob]:
        """All runs, newest first."""
        return [_job(run) for run in list_runs(self._home)]

    def stream(self, name: str) -> None:
        """Print the logs of a run's steps. A run here has ended before its job is known. RunFailed where it failed."""
        run = self._run_of(name)
        job = _job(run)
        for step_name, step in run.steps.items():
            text = Path(step.log).read_text(encoding="utf-8", errors="replace") if step.log else ""
            for line in text.splitlines():
                print(f"{step_name} | {line}", flush=True)
        print(f"{name}: {job.status}", flush=True)
        if job.status != "Completed":
            raise RunFailed(f"the run {name} is {job.status}: {job.error}", code="AZD496")

    def download(self, name: str, *, download_path: str | Path = ".", output_name: str | None = None, **_: Any) -> None:
        """Copy a run's outputs (or the one named) to ``download_path/named-outputs/<output>/``, as the SDK does."""
        job = self.get(name)
        for output in [output_name] if output_name else list(job.outputs):
            if output not in job.outputs:
                hint = did_you_mean(output, list(job.outputs))
                raise UserError(f"the run {name} has no output '{output}'", code="AZD495", hint=hint)
            source, target = Path(job.outputs[output]), Path(download_path) / "named-outputs" / output
            copy_out(source, target if source.is_dir() else target / source.name)

    def __getattr__(self, name: str) -> Any:
        raise _unknown(f"jobs.{name}")


class LocalModels(Models):
    """``models`` of a client on this machine."""

    def __init__(self, jobs: LocalJobs) -> None:
        self._jobs = jobs

    def _makers(self) -> dict[str, list[LocalJob]]:
        runs: dict[str, list[LocalJob]] = {}
        for job in self._jobs.list():
            if job.model_name:
                runs.setdefault(job.model_name, []).append(job)
        return runs

    def _settings(self, runs: Sequence[LocalJob]) -> tuple[dict[str, str], dict[str, str]]:
        return (runs[0].inputs if runs else {}), {}

    def _distilled(self, name: str, runs: Sequence[LocalJob], models: Sequence[str], until: float | None) -> Origin:
        maker = next((job for job in runs if "model" in job.outputs), None)
        if maker is None and runs:
            raise RunFailed(f"the run that makes {name} is {runs[0].status}: {runs[0].error}", code="AZD496")
        if maker is None:
            hint = did_you_mean(name, models) or "jobs.create_or_update(DistillationJob(...)) makes one"
            raise UserError(f"no run made a model '{name}'", code="AZD490", hint=hint)
        return Origin(Weights("path", maker.outputs["model"]), maker.inputs, {})

    def _measure(self, name: str, mapping: dict[str, Any], until: float | None) -> bytes:
        pipeline = aml.pipeline_from(mapping, Path.cwd(), "models.evaluate")
        job = self._jobs.run(pipeline, "models.evaluate", [])
        if job.status != "Completed":
            raise RunFailed(f"measuring {name} failed (run {job.name}): {job.error}", code="AZD496")
        return (Path(job.outputs["report"]) / "comparison.json").read_bytes()

    def __getattr__(self, name: str) -> Any:
        raise _unknown(f"models.{name}")


def needs_workspace(what: str, instead: str) -> UserError:
    """The error for what only a workspace can do."""
    return UserError(f"{what} needs a workspace, and this client works on a folder", code="AZD497", hint=instead)


def _unknown(name: str) -> Exception:
    if name.rpartition(".")[2].startswith("_"):
        # What copy, pickle and inspect look for is no wish of the user's.
        return AttributeError(name)
    return needs_workspace(f"ml_client.{name}", "use MLClient.from_config() or MLClient(credential, ...)")
