"""Sends a prepared pipeline to a workspace."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from azdistill.cloud import recent
from azdistill.cloud.connect import Connection
from azdistill.cloud.failures import explain
from azdistill.cloud.quiet import hushed

if TYPE_CHECKING:
    from azdistill.cloud.prepare import Prepared


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

    Killed or failing on the way, it leaves files that a later submit finds by their content, and no job.
    """
    job: Any = prepared.job()
    job.name = name or make_name(prepared)
    job.tags = {**(job.tags or {}), **prepared.tags(), **(tags or {})}
    with explain(f"submitting {job.name}"), hushed():
        created = connection.ml_client.jobs.create_or_update(job)
    experiment = str(created.experiment_name or "")
    recent.remember(connection, created.name, experiment=experiment, studio_url=connection.studio_url(created.name))
    return Submitted(created.name, connection.studio_url(created.name), prepared.fingerprint)
