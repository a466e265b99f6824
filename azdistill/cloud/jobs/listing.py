"""The pipeline runs of a workspace, newest first."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from azdistill.cloud.jobs.job import iso, moment
from azdistill.cloud.jobs.run_history import list_jobs
from azdistill.cloud.workspace.errors import explain
from azdistill.errors import UserError

if TYPE_CHECKING:
    from azdistill.cloud.workspace.connect import Connection

_UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


@dataclass(frozen=True, slots=True)
class Listed:
    """A run as the list of jobs tells of it."""

    name: str
    status: str
    experiment: str
    display_name: str
    created: float | None
    tags: dict[str, str]
    studio_url: str

    def as_json(self) -> dict[str, Any]:
        """What ``azdistill runs --azure --json`` prints for a run."""
        return {**asdict(self), "created": iso(self.created)}


def list_runs(connection: Connection, *, experiment: str | None = None, since: float | None = None) -> Iterator[Listed]:
    """The workspace's pipeline runs, as they are asked for page by page; ``since`` is in seconds since 1970."""
    with explain(f"listing the runs of {connection.workspace_name}"):
        for job in list_jobs(connection, jobType="Pipeline"):
            run = _listed(connection, job)
            if since is not None and run.created is not None and run.created < since:
                return
            if experiment in (None, run.experiment):
                yield run


def moment_since(text: str, now: float | None = None) -> float:
    """The moment that ``7d``, ``12h``, ``30m``, ``2w`` or a date names. UserError AZD447 for anything else."""
    span = re.fullmatch(r"(\d+)\s*([mhdw])", text.strip())
    if span:
        return (time.time() if now is None else now) - int(span[1]) * _UNITS[span[2]]
    date = moment(text.strip())
    if date is None:
        raise UserError(f"'{text}' is no span of time", code="AZD447", hint="write 7d, 12h, 30m, 2w or 2026-01-31")
    return date


def _listed(connection: Connection, job: dict[str, Any]) -> Listed:
    properties = job.get("properties") or {}
    name = str(job.get("name") or "")
    studio = ((properties.get("services") or {}).get("Studio") or {}).get("endpoint")
    return Listed(
        name=name,
        status=str(properties.get("status") or ""),
        experiment=str(properties.get("experimentName") or ""),
        display_name=str(properties.get("displayName") or ""),
        created=moment((job.get("systemData") or {}).get("createdAt")),
        tags={str(key): str(value) for key, value in (properties.get("tags") or {}).items()},
        studio_url=str(studio or connection.studio_url(name)),
    )
