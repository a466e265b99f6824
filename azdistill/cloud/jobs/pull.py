"""A run of a workspace with everything that a local MLflow store keeps of a local run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azdistill.cloud.jobs.follow import get_job
from azdistill.cloud.jobs.job import Job, JobStep
from azdistill.cloud.jobs.mlflow_rest import Logged, Mlflow
from azdistill.cloud.jobs.storage import Blob, Container, Place
from azdistill.cloud.workspace.errors import explain
from azdistill.errors import AzdistillError

if TYPE_CHECKING:
    from azdistill.cloud.workspace.connect import Connection

#: As the tracking of local runs: larger files stay where they are.
_COPY_UP_TO = 5 * 1024 * 1024
_MOST_FILES = 1000
_ARTIFACTS = "workspaceartifactstore"
_BINDING = re.compile(r"\$\{\{\s*parent\.inputs\.([A-Za-z0-9_.-]+)\s*\}\}")
#: The service's own logs, and what a download is checked against.
_NOT_KEPT = ("system_logs/", "logs/azureml/", "azureml-logs/", "outputs/azdistill/")


@dataclass(frozen=True, slots=True)
class PulledRun:
    """One run of a job: the pipeline's (``step`` is empty) or a step's. Times are seconds since 1970."""

    run_id: str
    step: str
    status: str
    started: float | None
    ended: float | None
    logged: Logged
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
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
    mlflow = _mlflow(connection)
    parent = _run(connection, mlflow, job, JobStep("", job.name, job.status, started=job.started, ended=job.ended))
    steps = [step for step in job.steps.values() if step.run_id and not step.group]
    runs = [parent, *(_run(connection, mlflow, job, step) for step in steps)]
    with explain(f"fetching the files of {name}"):
        kept = [_with_files(connection, job, run, folder) for run in runs]
    return Pulled(job, connection.workspace_id, tuple(kept))


def _mlflow(connection: Connection) -> Mlflow:
    with explain("looking up MLflow"):
        return Mlflow(connection)


def _run(connection: Connection, mlflow: Mlflow, job: Job, step: JobStep) -> PulledRun:
    with explain(f"reading what was logged to {step.run_id}"):
        logged = mlflow.logged(step.run_with_results)
    literals = _inputs(job, step.name)
    tags = {
        "azdistill.azure_run": step.run_id,
        "azdistill.workspace": connection.workspace_name,
        "azdistill.status": "cached" if step.reused else step.status.lower(),
        **({"azdistill.step": step.name, "azdistill.cached": str(step.reused).lower()} if step.name else {}),
    }
    if not step.name:
        tags |= {"azdistill.run_id": job.name, "azdistill.studio_url": job.studio_url, **job.tags}
    return PulledRun(
        step.run_id, step.name, step.status, step.started, step.ended, logged, {**literals, **logged.params}, tags
    )


def _inputs(job: Job, step: str) -> dict[str, str]:
    """Inputs of the pipeline, or of a step of it, as text: what a local run has as parameters."""
    properties = job.body.get("properties") or {}
    given = {name: _text(value) for name, value in (properties.get("inputs") or {}).items()}
    if not step:
        return {name: text for name, text in given.items() if text is not None}
    node = (properties.get("jobs") or {}).get(step) or {}
    found: dict[str, str] = {}
    for name, value in (node.get("inputs") or {}).items():
        text = _text(value)
        bound = _BINDING.fullmatch((text or "").strip())
        text = given.get(bound[1]) if bound else text
        # Paths of data are no parameters of a step.
        if text is not None and "${{" not in text and not (isinstance(value, Mapping) and value.get("uri")):
            found[name] = text
    return found


def _text(value: Any) -> str | None:
    if isinstance(value, Mapping):
        value = value.get("value") if value.get("value") is not None else value.get("uri")
    return None if value is None else str(value)


def _with_files(connection: Connection, job: Job, run: PulledRun, folder: Path) -> PulledRun:
    places = [(Place(_ARTIFACTS, f"ExperimentRun/dcid.{run.run_id}"), "")]
    if not run.step:
        places += _small_outputs(connection, job)
    kept: dict[Path, str] = {}
    for place, prefix in places:
        container = Container(connection, place.datastore)
        for name, blob in _kept(place, container.blobs(place.path)):
            target = folder / run.run_id / (prefix or ".") / (name or Path(place.path).name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(b"".join(container.read(blob)))
            kept[target] = "/".join(part for part in (prefix, Path(name).parent.as_posix()) if part not in ("", "."))
    return PulledRun(run.run_id, run.step, run.status, run.started, run.ended, run.logged, run.params, run.tags, kept)


def _small_outputs(connection: Connection, job: Job) -> list[tuple[Place, str]]:
    """Places of the pipeline's outputs that are files and folders (a model stays where it is)."""
    from azdistill.cloud.jobs.outputs import Outputs

    declared = (job.body.get("properties") or {}).get("outputs") or {}
    wanted = [name for name, out in declared.items() if _kind(out) in ("uri_file", "uri_folder")]
    found: list[tuple[Place, str]] = []
    for name in wanted if job.has_ended else ():
        try:
            (output,) = Outputs(connection, job).of_pipeline(name)
        except AzdistillError as error:
            if error.code not in ("AZD435", "AZD438"):
                raise
            continue
        found.append((output.place, name))
    return found


def _kind(output: Any) -> str:
    return str((output or {}).get("jobOutputType") or (output or {}).get("job_output_type") or "").lower()


def _kept(place: Place, blobs: list[Blob]) -> Iterator[tuple[str, Blob]]:
    for blob in blobs[:_MOST_FILES]:
        name = blob.name.removeprefix(place.path).lstrip("/")
        if blob.size <= _COPY_UP_TO and not name.startswith(_NOT_KEPT) and ".." not in Path(name).parts:
            yield name, blob
