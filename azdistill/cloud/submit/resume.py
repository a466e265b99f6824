"""Resubmits a run that failed or was canceled: finished steps and stored answers are reused."""

from __future__ import annotations

import copy
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from azdistill.cloud.jobs.follow import get_job
from azdistill.cloud.jobs.job import Job
from azdistill.cloud.jobs.run_history import JOBS_VERSION
from azdistill.cloud.workspace.errors import explain
from azdistill.cloud.workspace.rest import part
from azdistill.errors import UserError

if TYPE_CHECKING:
    from azdistill.cloud.workspace.connect import Connection

RESUMED_FROM = "azdistill.resumed_from"
#: What the service adds to a job; it is refused, or means another run, in a new one.
_ADDED = ("status", "services", "isArchived", "componentId", "notificationSetting", "parentJobName", "priority")
_STAMP = re.compile(r"-\d{8}-\d{6}-[0-9a-f]{4}$")
#: Where the service puts an output unless it is told: the run's own folder, which is no place for another run.
_OWN_FOLDER = re.compile(r"/paths/(?:azureml|dataset)/[^/$]+/[^/]+/?$")


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


def resume(connection: Connection, name: str) -> Resumed:
    """Submit the run ``name`` again. UserError AZD430 where there is none, AZD436 where it completed, AZD441 where it
    goes on, or is no pipeline.
    """
    job = get_job(connection, name)
    _refuse(job)
    properties = job.body.get("properties") or {}
    forced = bool((properties.get("settings") or {}).get("force_rerun"))
    fresh = renamed(job.name)
    body = {"properties": body_again(properties, job.name)}
    path = f"{connection.workspace_id}/jobs/{part(fresh)}"
    with explain(f"submitting {job.name} again"):
        # A pipeline's steps may act for its submitter: the service wants a token of theirs with it, as from the SDK.
        token = connection.credential.get_token(f"{connection.cloud.machine_learning}/.default").token
        headers = {"x-azureml-token": token}
        made = _put(connection, path, body, headers)
    finished = tuple(step.name for step in job.steps.values() if step.status == "Completed" and not step.group)
    experiment = str(made["properties"].get("experimentName") or "")
    return Resumed(fresh, connection.studio_url(fresh), experiment, () if forced else finished, forced)


def _put(connection: Connection, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Any:
    from azure.core.exceptions import AzureError, ResourceNotFoundError

    try:
        return connection.rest.call("PUT", path, api_version=JOBS_VERSION, body=body, headers=headers)
    except AzureError as error:
        # The run may be there all the same: its answer was lost, not the request.
        try:
            return connection.rest.call("GET", path, api_version=JOBS_VERSION)
        except ResourceNotFoundError:
            raise error from None
        except AzureError:
            raise error from None


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
    when = (now or datetime.now(UTC)).strftime("%Y%m%d-%H%M%S")
    return f"{_STAMP.sub('', name)[:60]}-{when}-{secrets.token_hex(2)}"


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
