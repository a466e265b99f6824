"""What :class:`MLClient` does in a workspace: azure-ai-ml's client, with distillations and evaluations on top."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from azdistill.client.evaluation import Models, Origin
from azdistill.client.headline import verdict_of_tags
from azdistill.client.job import DistillationJob
from azdistill.client.progress import say
from azdistill.cloud.jobs import distilled_models
from azdistill.cloud.jobs.distilled_models import MODEL_TAG
from azdistill.cloud.jobs.download import read
from azdistill.cloud.jobs.follow import FollowListener, Job, JobStep, follow, get_job
from azdistill.cloud.jobs.job import ENDED
from azdistill.cloud.jobs.outputs import Outputs
from azdistill.cloud.submit.prepare import Submission, prepare, prepare_mapping
from azdistill.cloud.submit.submit import submit
from azdistill.cloud.workspace.connect import CONFIG, Connection, Where, config_at, connect
from azdistill.cloud.workspace.errors import explain
from azdistill.cloud.workspace.quiet import hushed
from azdistill.errors import RunFailed, ServiceError, UserError, did_you_mean
from azdistill.recipe.refer import Weights


class Workspace:
    """A workspace (or registry) and the real client for it, which is made when it is first used."""

    def __init__(self, connection: Connection, client: Any = None, **options: Any) -> None:
        self.connection, self._client, self._options = connection, client, options
        self.jobs = Jobs(self)
        self.models = WorkspaceModels(self)

    @classmethod
    def of(
        cls,
        credential: Any,
        subscription: str | None,
        group: str | None,
        name: str | None,
        registry: str | None,
        *,
        cloud: str | None = None,
        **options: Any,
    ) -> Workspace:
        """As azure-ai-ml's constructor; what is left out is found as :func:`connect` finds it."""
        if registry and not name:
            # A registry has no workspace around it: the two parts only say who pays.
            where = Where(subscription or "-", group or "-", "-", cloud=cloud)
            connection = connect(where, credential=credential)
            return cls(connection, connection.registry_client(registry), **options)
        return cls(connect(Where(subscription, group, name, cloud=cloud), credential=credential), **options)

    @classmethod
    def from_config(
        cls,
        credential: Any,
        path: str | os.PathLike[str] | None,
        file_name: str | None,
        *,
        cloud: str | None = None,
        **options: Any,
    ) -> Workspace:
        """As azure-ai-ml's ``from_config``: ``path`` is config.json, or a folder to look for it in and above."""
        if path is None and file_name is None:
            return cls(connect(Where(cloud=cloud), credential=credential), **options)
        where = _config(Path(path or ".").expanduser().absolute(), file_name)
        return cls(connect(replace(where, cloud=cloud), credential=credential), **options)

    @property
    def ml_client(self) -> Any:
        """The real client."""
        if self._client is None:
            self._client = self.connection.make_client(**self._options) if self._options else self.connection.ml_client
        return self._client


def _config(start: Path, file_name: str | None) -> Where:
    if start.is_file():
        return config_at(start)
    names = (file_name, f".azureml/{file_name}") if file_name else CONFIG
    for folder in (start, *start.parents):
        for name in names:
            if (folder / name).is_file():
                return config_at(folder / name)
    raise UserError(
        f"{start} and the folders above it hold no {' or '.join(names)}",
        code="AZD411",
        hint="download it from the workspace's page in Azure ML studio",
    )


class Jobs:
    """``ml_client.jobs``: azure-ai-ml's operations, of which ``create_or_update`` takes a DistillationJob too."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def create_or_update(self, job: Any, **kwargs: Any) -> Any:
        """Submit ``job``: a DistillationJob, the path of a recipe or pipeline, or any job of azure-ai-ml.

        Returns at once, with azure-ai-ml's own job. What is wrong with a distillation is raised before anything is
        uploaded.
        """
        if isinstance(job, DistillationJob):
            built = job.to_pipeline()
            prepared = prepare_mapping(built.mapping, Path.cwd(), source="DistillationJob", reading=built.reading)
            for text in [*map(str, [*built.warnings, *prepared.warnings]), *built.notes]:
                say(text)
            return self._get(self.submit(prepared, {MODEL_TAG: job.model_name}))
        if isinstance(job, str | Path):
            return self._get(self.submit(prepare(job), {}))
        with hushed():
            return self._real.create_or_update(job, **kwargs)

    def submit(self, prepared: Submission, tags: dict[str, str]) -> str:
        """Send a prepared pipeline; the name of its job."""
        sent = submit(self._workspace.connection, prepared, tags=tags)
        say(f"{sent.name}: {sent.studio_url}")
        return sent.name

    def _get(self, name: str) -> Any:
        with explain(f"looking up the run {name}"), hushed():
            return self._real.get(name)

    @property
    def _real(self) -> Any:
        return self._workspace.ml_client.jobs

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._real, name)


class WorkspaceModels(Models):
    """``ml_client.models``: azure-ai-ml's operations, and ``evaluate``."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace

    def _makers(self) -> dict[str, list[str]]:
        return distilled_models.makers(self._connection)

    def _settings(self, runs: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
        return _settings_of(get_job(self._connection, runs[0])) if runs else ({}, {})

    def _distilled(self, name: str, runs: Sequence[str], models: Sequence[str], until: float | None) -> Origin:
        if not runs:
            asset = distilled_models.registered(self._connection, name)
            if asset is None:
                hint = did_you_mean(name, models) or "jobs.create_or_update(DistillationJob(...)) makes one"
                raise UserError(f"no run makes a model '{name}', and none is registered", code="AZD490", hint=hint)
            return Origin(Weights("path", asset), {}, {})
        job = get_job(self._connection, runs[0])
        job = _completed(job, name) if job.has_ended else self._ended(job.name, f"the run that makes {name}", until)
        return Origin(distilled_models.distilled(job), *_settings_of(job))

    def _measure(self, name: str, mapping: dict[str, Any], until: float | None) -> bytes:
        prepared = prepare_mapping(mapping, Path.cwd(), source="models.evaluate")
        run = self._workspace.jobs.submit(prepared, {"azdistill.evaluates": name})
        job = self._ended(run, f"the job that measures {name}", until)
        return read(self._connection, Outputs(self._connection, job).of_pipeline("report")[0], "comparison.json")

    def _ended(self, run: str, what: str, until: float | None) -> Job:
        say(f"waiting for {what}: {run}")
        timeout = None if until is None else max(until - time.monotonic(), 0.0)
        try:
            job = follow(self._connection, run, FollowLines(), logs=False, timeout=timeout)
        except ServiceError as error:
            if error.code != "AZD443":
                raise
            hint = f'call it again to wait on, or look at jobs.get("{run}").status'
            raise ServiceError(f"{what} has not ended in time: {run}", code="AZD493", hint=hint) from error
        return _completed(job, what)

    @property
    def _connection(self) -> Connection:
        return self._workspace.connection

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._workspace.ml_client.models, name)


def _completed(job: Job, what: str) -> Job:
    if job.status == "Completed":
        return job
    step = job.failed_step
    why = f"step '{step.name}': {step.error}" if step else job.error
    hint = f'jobs.stream("{job.name}"), or `azdistill logs --run {job.name}`'
    raise RunFailed(f"{what} is {job.status} ({job.name}): {why}", code="AZD496", hint=hint)


def _settings_of(job: Job) -> tuple[dict[str, Any], dict[str, Any]]:
    return distilled_models.inputs_of(job), distilled_models.where_of(job, "evaluate")


class FollowLines(FollowListener):
    """Tells how a job on Azure goes."""

    def step_changed(self, step: JobStep) -> None:
        took = f" in {step.seconds:.0f} s" if step.status in ENDED and step.seconds is not None else ""
        say(f"  {step.name}: {step.status}{' (reused)' if step.reused else ''}{took}")

    def trouble(self, text: str) -> None:
        say(f"  still waiting: {text}")

    def ended(self, job: Job) -> None:
        say(f"{job.name}: {job.status}")
        if line := verdict_of_tags(job.tags):
            say(line)
