"""Sends a prepared pipeline to a workspace."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from azdistill.cloud.jobs import recent
from azdistill.cloud.submit.preview_kinds import allowed
from azdistill.cloud.submit.sdk_job import pipeline_job
from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.cloud.workspace.quiet import hushed
from azdistill.errors import ServiceError, SpecError

if TYPE_CHECKING:
    from azdistill.cloud.submit.prepare import Prepared


@dataclass(frozen=True)
class Submitted:
    """A job in a workspace."""

    name: str
    studio_url: str
    fingerprint: str


def make_name(prepared: Prepared, now: datetime | None = None) -> str:
    """A new name for a run: what it is, when it was submitted (UTC), and four characters that tell two apart."""
    words = prepared.pipeline.experiment_name or prepared.pipeline.display_name or "pipeline"
    base = re.sub(r"[^a-z0-9-]+", "-", words.lower()).strip("-")[:40] or "pipeline"
    when = (now or datetime.now(UTC)).strftime("%Y%m%d-%H%M%S")
    return f"{base}-{when}-{secrets.token_hex(2)}"


def submit(
    connection: Connection, prepared: Prepared, *, name: str | None = None, tags: Mapping[str, str] | None = None
) -> Submitted:
    """Upload what the pipeline needs, then create the job: one PUT, under a ``name`` that is known before.

    Killed or failing on the way, it leaves files that a later submit finds by their content, and no job. SpecError for
    inputs that only a schedule fills in.
    """
    if prepared.unfired:
        raise SpecError(prepared.unfired)
    name = name or make_name(prepared)
    _build_images(connection, prepared.profile.image_build_compute)
    for last in (False, True):
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
            if last:
                raise
            time.sleep(_PAUSE)
    url = connection.studio_url(name)
    recent.remember(connection, name, experiment=prepared.pipeline.experiment_name or "", studio_url=url)
    return Submitted(name, url, prepared.fingerprint)


#: Errors that may pass, beside those after which azure-core asks again by itself: a conflict with an upload of ours
#: whose answer was lost, a busy blob service, a connection that was cut.
PASSING = ("AZD405", "AZD406", "AZD407", "AZD408")
_PAUSE = 2.0


def _create(connection: Connection, prepared: Prepared, name: str, tags: Mapping[str, str]) -> None:
    job: Any = pipeline_job(prepared, connection.cloud)
    job.name = name
    job.tags = {**(job.tags or {}), **prepared.tags(), **tags}
    with explain(f"submitting {name}"), hushed(), allowed(prepared.pipeline.jobs):
        connection.ml_client.jobs.create_or_update(job)


def arrived(connection: Connection, name: str) -> bool:
    """Whether the workspace has the job ``name``; False too where it does not say."""
    from azure.core.exceptions import AzureError

    path = f"{connection.workspace_id}/jobs/{name}"
    try:
        return bool(connection.rest.call("GET", path, api_version="2024-01-01-preview"))
    except AzureError:
        return False


def _build_images(connection: Connection, compute: str | None) -> None:
    """Let the workspace build its images on ``compute``, for one whose registry cannot be reached by ACR tasks."""
    if compute is None or connection.workspace.get("properties", {}).get("imageBuildCompute") == compute:
        return
    body = {"properties": {"imageBuildCompute": compute}}
    with explain(f"letting the workspace build images on {compute}"):
        connection.rest.call("PATCH", connection.workspace_id, body=body)
