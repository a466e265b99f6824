"""Sends a prepared pipeline to a workspace, and resubmits a run that failed or was canceled."""

from __future__ import annotations

import contextlib
import copy
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from azdistill.cloud.jobs import recent
from azdistill.cloud.jobs.follow import get_job
from azdistill.cloud.jobs.job import Job
from azdistill.cloud.jobs.run_history import JOBS_VERSION, job_path
from azdistill.cloud.submit.prepare import Submission
from azdistill.cloud.submit.sdk_job import allowed, pipeline_job
from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.cloud.workspace.quiet import hushed
from azdistill.errors import ServiceError, SpecError, UserError

#: Errors that may pass, beside those after which azure-core asks again by itself: a conflict with an upload of ours
#: whose answer was lost, a busy blob service, a connection that was cut.
PASSING = ("AZD405", "AZD406", "AZD407", "AZD408")
_PAUSE = 2.0

RESUMED_FROM = "azdistill.resumed_from"
#: What the service adds to a job; it is refused, or means another run, in a new one.
_ADDED = ("status", "services", "isArchived", "componentId", "notificationSetting", "parentJobName", "priority")
_STAMP = re.compile(r"-\d{8}-\d{6}-[0-9a-f]{4}$")
#: Where the service puts an output unless it is told: the run's own folder, which is no place for another run.
_OWN_FOLDER = re.compile(r"/paths/(?:azureml|dataset)/[^/$]+/[^/]+/?$")


@dataclass(frozen=True)
class Submitted:
    """A job in a workspace."""

    name: str
    studio_url: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Resumed:
    """The new run. ``reuses`` names the steps of the old one that had completed; none where it was ``forced``, as Azure
    need not reuse what ran with force_rerun. The new run itself goes without it.
    """

    name: str
    studio_url: str
    experiment: str
    reuses: tuple[str, ...]
    forced: bool


def make_name(prepared: Submission, now: datetime | None = None) -> str:
    """A new name for a run: what it is, when it was submitted (UTC), and four characters that tell two apart."""
    words = prepared.pipeline.experiment_name or prepared.pipeline.display_name or "pipeline"
    base = re.sub(r"[^a-z0-9-]+", "-", words.lower()).strip("-")[:40] or "pipeline"
    return stamped(base, now)


def stamped(base: str, now: datetime | None = None) -> str:
    """``base`` with the time (UTC) and four characters that tell two runs apart."""
    return f"{base}-{now or datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def submit(
    connection: Connection, prepared: Submission, *, name: str | None = None, tags: Mapping[str, str] | None = None
) -> Submitted:
    """Upload what the pipeline needs, then create the job: one PUT, under a ``name`` that is known before.

    Killed or failing on the way, it leaves files that a later submit finds by their content, and no job. SpecError for
    inputs that only a schedule fills in.
    """
    if prepared.unfired:
        raise SpecError(prepared.unfired)
    name = name or make_name(prepared)
    _build_images(connection, prepared.profile.image_build_compute)
    for is_last in (False, True):
        try:
            _create(connection, prepared, name, tags or {})
            break
        except ServiceError as error:
            if error.code not in PASSING:
                raise
            # The job may be there all the same: its answer was lost, not the request. If not, what was uploaded is
            # found again, and the name is still free.
            if arrived(connection, name):
                break
            if is_last:
                raise
            time.sleep(_PAUSE)
    url = connection.studio_url(name)
    recent.remember(connection, name, experiment=prepared.pipeline.experiment_name or "", studio_url=url)
    return Submitted(name, url, prepared.fingerprint)


def _create(connection: Connection, prepared: Submission, name: str, tags: Mapping[str, str]) -> None:
    job: Any = pipeline_job(prepared, connection.cloud)
    job.name = name
    job.tags = {**(job.tags or {}), **prepared.tags(), **tags}
    with explain(f"submitting {name}"), hushed(), allowed(prepared.pipeline.jobs):
        connection.ml_client.jobs.create_or_update(job)


def arrived(connection: Connection, name: str) -> Any:
    """The job ``name`` where it is there though its answer was lost; None too where the workspace does not say."""
    from azure.core.exceptions import AzureError

    with contextlib.suppress(AzureError):
        return connection.rest.find(job_path(connection, name), api_version=JOBS_VERSION)
    return None


def _build_images(connection: Connection, compute: str | None) -> None:
    """Let the workspace build its images on ``compute``, for one whose registry cannot be reached by ACR tasks."""
    if compute is None or connection.workspace.get("properties", {}).get("imageBuildCompute") == compute:
        return
    body = {"properties": {"imageBuildCompute": compute}}
    with explain(f"letting the workspace build images on {compute}"):
        connection.rest.call("PATCH", connection.workspace_id, body=body)


def resume(connection: Connection, name: str) -> Resumed:
    """Submit the run ``name`` again. UserError AZD430 where there is none, AZD436 where it completed, AZD441 where it
    goes on, or is no pipeline.
    """
    from azure.core.exceptions import AzureError

    job = get_job(connection, name)
    _refuse(job)
    properties = job.body.get("properties") or {}
    forced = bool((properties.get("settings") or {}).get("force_rerun"))
    new_name = renamed(job.name)
    body = {"properties": body_again(properties, job.name)}
    with explain(f"submitting {job.name} again"):
        # A pipeline's steps may act for its submitter: the service wants a token of theirs with it, as from the SDK.
        token = connection.credential.get_token(f"{connection.cloud.machine_learning}/.default").token
        headers = {"x-azureml-token": token}
        try:
            path = job_path(connection, new_name)
            created = connection.rest.call("PUT", path, api_version=JOBS_VERSION, body=body, headers=headers)
        except AzureError:
            created = arrived(connection, new_name)
            if created is None:
                raise
    finished = tuple(step.name for step in job.steps.values() if step.status == "Completed" and not step.group)
    experiment = str(created["properties"].get("experimentName") or "")
    return Resumed(new_name, connection.studio_url(new_name), experiment, () if forced else finished, forced)


def body_again(properties: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What was submitted, out of what the service says of it; steps that did not change may be reused."""
    again: dict[str, Any] = copy.deepcopy({key: value for key, value in properties.items() if key not in _ADDED})
    if not again.get("jobs") and properties.get("componentId"):
        # A pipeline that is a registered component has its steps there only.
        again["componentId"] = properties["componentId"]
    again["tags"] = {**(again.get("tags") or {}), RESUMED_FROM: name}
    again["properties"] = {
        key: value for key, value in (again.get("properties") or {}).items() if not key.lower().startswith("azureml.")
    }
    settings = again.get("settings") or {}
    again["settings"] = {key: value for key, value in settings.items() if key not in ("force_rerun", "forceRerun")}
    for output in (again.get("outputs") or {}).values():
        if isinstance(output, dict) and _OWN_FOLDER.search(str(output.get("uri") or "")):
            output.pop("uri")
    if again.get("displayName") == name:
        again.pop("displayName")
    return {key: value for key, value in again.items() if value is not None}


def renamed(name: str, now: datetime | None = None) -> str:
    """A new name of the same kind."""
    return stamped(_STAMP.sub("", name)[:60], now)


def _refuse(job: Job) -> None:
    properties = job.body.get("properties") or {}
    if job.status == "Completed":
        hint = f"azdistill download {job.name}"
        raise UserError(f"the run {job.name} completed: there is nothing to resume", code="AZD436", hint=hint)
    if not job.has_ended:
        hint = f"azdistill status {job.name} --wait, or azdistill cancel {job.name} first"
        raise UserError(f"the run {job.name} goes on ({job.status})", code="AZD441", hint=hint)
    if properties.get("jobType") != "Pipeline":
        message = f"the run {job.name} is no pipeline ({properties.get('jobType') or 'a step'})"
        raise UserError(message, code="AZD441", hint="name the pipeline's run: azdistill runs --azure lists them")
