"""A run of a workspace with everything that a local MLflow store keeps of a local run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from azdistill.cloud.jobs.follow import get_job
from azdistill.cloud.jobs.job import Job, JobStep
from azdistill.cloud.jobs.outputs import Outputs
from azdistill.cloud.jobs.storage import Blob, Container, Place
from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.errors import AzdistillError

#: As the tracking of local runs: larger files stay where they are.
_COPY_UP_TO = 5 * 1024 * 1024
_MOST_FILES, _MOST_PAGES = 1000, 1000
_ARTIFACTS = "workspaceartifactstore"
_BINDING = re.compile(r"\$\{\{\s*parent\.inputs\.([A-Za-z0-9_.-]+)\s*\}\}")
#: The service's own logs, and what a download is checked against.
_NOT_KEPT = ("system_logs/", "logs/azureml/", "azureml-logs/", "outputs/azdistill/")


@dataclass(frozen=True, slots=True)
class Logged:
    """Everything that was logged to a run; ``metrics`` with every value: (value, milliseconds since 1970, step)."""

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, list[tuple[float, int, int]]] = field(default_factory=dict)

    @property
    def latest(self) -> dict[str, float]:
        """The last value of each metric."""
        return {name: max(values, key=lambda v: (v[2], v[1]))[0] for name, values in self.metrics.items() if values}


class Mlflow:
    """Reads one workspace's MLflow. Raises what azure-core raises."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        address = str(connection.workspace["properties"].get("mlFlowTrackingUri") or "")
        # azureml://<host>/mlflow/v1.0/subscriptions/... is https on the same host.
        self._base = "https://" + address.partition("://")[2].rstrip("/")

    def logged(self, run_id: str) -> Logged:
        """What was logged to a run; nothing where MLflow does not know it. Asked of the run, as searches miss some."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            run = self._call("runs/get", {"run_id": run_id})["run"]
        except ResourceNotFoundError:
            return Logged()
        data = run.get("data") or {}
        latest = {str(metric["key"]): metric for metric in data.get("metrics") or []}
        return Logged(
            params={str(pair["key"]): str(pair.get("value", "")) for pair in data.get("params") or []},
            tags={str(pair["key"]): str(pair.get("value", "")) for pair in data.get("tags") or []},
            metrics={key: self._history(run_id, key) or [_point(metric)] for key, metric in latest.items()},
        )

    def _history(self, run_id: str, key: str) -> list[tuple[float, int, int]]:
        params, values = {"run_id": run_id, "metric_key": key}, []
        for _ in range(_MOST_PAGES):
            page = self._call("metrics/get-history", params)
            values += [_point(metric) for metric in page.get("metrics") or []]
            token = page.get("next_page_token")
            if not token:
                break
            params = {**params, "page_token": str(token)}
        return values

    def _call(self, verb: str, params: dict[str, str]) -> Any:
        return self._connection.rest.call("GET", f"/api/2.0/mlflow/{verb}", params=params, base=self._base) or {}


def _point(metric: dict[str, Any]) -> tuple[float, int, int]:
    return float(metric["value"]), int(metric.get("timestamp") or 0), int(metric.get("step") or 0)


@dataclass(frozen=True, slots=True)
class PulledRun:
    """One run of a job: a step's, or the pipeline's, as a step without a name."""

    step: JobStep
    logged: Logged
    params: dict[str, str]
    tags: dict[str, str]
    #: Local file -> folder that it has in the run.
    artifacts: dict[Path, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pulled:
    """A job: the pipeline's run first, then those of its steps."""

    job: Job
    workspace: str
    runs: tuple[PulledRun, ...]


def pull(connection: Connection, name: str, folder: Path) -> Pulled:
    """Everything of the job ``name``; small files of it are put into ``folder``."""
    job = get_job(connection, name)
    with explain("looking up MLflow"):
        mlflow = Mlflow(connection)
    parent = _run(connection, mlflow, job, JobStep("", job.name, job.status, started=job.started, ended=job.ended))
    steps = [step for step in job.steps.values() if step.run_id and not step.group]
    runs = [parent, *(_run(connection, mlflow, job, step) for step in steps)]
    with explain(f"fetching the files of {name}"):
        return Pulled(job, connection.workspace_id, tuple(_with_files(connection, job, run, folder) for run in runs))


def _run(connection: Connection, mlflow: Mlflow, job: Job, step: JobStep) -> PulledRun:
    with explain(f"reading what was logged to {step.run_id}"):
        logged = mlflow.logged(step.run_with_results)
    params = {**_inputs(job, step.name), **logged.params}
    tags = {
        "azdistill.azure_run": step.run_id,
        "azdistill.workspace": connection.workspace_name,
        "azdistill.status": "cached" if step.reused else step.status.lower(),
        **({"azdistill.step": step.name, "azdistill.cached": str(step.reused).lower()} if step.name else {}),
    }
    if not step.name:
        tags |= {"azdistill.run_id": job.name, "azdistill.studio_url": job.studio_url, **job.tags}
    return PulledRun(step, logged, params, tags)


def _inputs(job: Job, step: str) -> dict[str, str]:
    """Inputs of the pipeline, or of a step of it, as text: what a local run has as parameters."""
    properties = job.body.get("properties") or {}
    inputs = {name: _text(value) for name, value in (properties.get("inputs") or {}).items()}
    if not step:
        return {name: text for name, text in inputs.items() if text is not None}
    node = (properties.get("jobs") or {}).get(step) or {}
    literals: dict[str, str] = {}
    for name, value in (node.get("inputs") or {}).items():
        text = _text(value)
        binding = _BINDING.fullmatch((text or "").strip())
        text = inputs.get(binding[1]) if binding else text
        # Paths of data are no parameters of a step.
        if text is not None and "${{" not in text and not (isinstance(value, Mapping) and value.get("uri")):
            literals[name] = text
    return literals


def _text(value: Any) -> str | None:
    if isinstance(value, Mapping):
        value = value.get("value") if value.get("value") is not None else value.get("uri")
    return None if value is None else str(value)


def _with_files(connection: Connection, job: Job, run: PulledRun, folder: Path) -> PulledRun:
    places = [(Place(_ARTIFACTS, f"ExperimentRun/dcid.{run.step.run_id}"), "")]
    if not run.step.name:
        places += _small_outputs(connection, job)
    artifacts: dict[Path, str] = {}
    for place, prefix in places:
        container = Container(connection, place.datastore)
        for name, blob in _worth_copying(place, container.blobs(place.path)):
            target = folder / run.step.run_id / (prefix or ".") / (name or Path(place.path).name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(b"".join(container.read(blob)))
            parts = (prefix, Path(name).parent.as_posix())
            artifacts[target] = "/".join(part for part in parts if part not in ("", "."))
    return replace(run, artifacts=artifacts)


def _small_outputs(connection: Connection, job: Job) -> list[tuple[Place, str]]:
    """Places of the pipeline's outputs that are files and folders (a model stays where it is)."""
    declared = (job.body.get("properties") or {}).get("outputs") or {}
    places: list[tuple[Place, str]] = []
    for name, output in declared.items() if job.has_ended else ():
        kind = (output or {}).get("jobOutputType") or (output or {}).get("job_output_type") or ""
        if str(kind).lower() not in ("uri_file", "uri_folder"):
            continue
        try:
            places.append((Outputs(connection, job).of_pipeline(name)[0].place, name))
        except AzdistillError as error:
            if error.code not in ("AZD435", "AZD438"):
                raise
    return places


def _worth_copying(place: Place, blobs: list[Blob]) -> Iterator[tuple[str, Blob]]:
    for blob in blobs[:_MOST_FILES]:
        name = blob.name.removeprefix(place.path).lstrip("/")
        if blob.size <= _COPY_UP_TO and not name.startswith(_NOT_KEPT) and ".." not in Path(name).parts:
            yield name, blob
