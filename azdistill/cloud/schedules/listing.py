"""What there is to know of schedules: when they fire next, and what became of the runs that they started."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from azdistill.cloud.jobs.run_history import History, created, list_jobs
from azdistill.cloud.schedules.desired import SCHEDULE
from azdistill.cloud.schedules.resource import Stored
from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.recipe.firings import Firing, next_firings

#: Runs that are shown.
SHOWN = 5


@dataclass(frozen=True)
class Fired:
    """A run that a schedule started; ``data`` is the hash of each input that it looked up."""

    name: str
    status: str
    display_name: str
    created: str
    by_hand: bool = False
    data: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The object that ``schedule show --json`` prints for this run."""
        return asdict(self)


def coming(stored: Stored, now: datetime, count: int = 5) -> list[Firing]:
    """The next firings of a schedule; none where it is disabled, or its trigger is not understood."""
    schedule = stored.schedule
    if schedule is None or not stored.enabled:
        return []
    return next_firings(schedule, now=now, created=stored.created or datetime.min.replace(tzinfo=UTC), count=count)


def runs_of(connection: Connection, stored: Stored, *, limit: int = SHOWN) -> list[Fired]:
    """The last runs of a schedule, newest first: those it fired, and those triggered by hand."""
    with explain(f"listing the runs of {stored.name}"):
        jobs = _jobs(connection, stored)
        newest = sorted(jobs.values(), key=created, reverse=True)[:limit]
        return [_fired(connection, job) for job in newest]


def names_of(connection: Connection, stored: Stored) -> list[str]:
    """The names of all runs of a schedule, oldest first."""
    with explain(f"listing the runs of {stored.name}"):
        return [str(job["name"]) for job in sorted(_jobs(connection, stored).values(), key=created)]


def _jobs(connection: Connection, stored: Stored) -> dict[str, dict[str, Any]]:
    queries = ({"scheduled": "true", "scheduleId": stored.name}, {"tag": f"{SCHEDULE}={stored.name}"})
    jobs = (job for query in queries for job in list_jobs(connection, **query))
    return {str(job["name"]): job for job in jobs if _belongs(job, stored.name)}


def _belongs(job: dict[str, Any], name: str) -> bool:
    properties = job.get("properties") or {}
    by_service = (properties.get("properties") or {}).get("azureml.schedulename") == name
    return by_service or (properties.get("tags") or {}).get(SCHEDULE) == name


def _fired(connection: Connection, job: dict[str, Any]) -> Fired:
    properties = job.get("properties") or {}
    by_hand = "azureml.schedulename" not in (properties.get("properties") or {})
    name = str(job["name"])
    return Fired(
        name=name,
        status=str(properties.get("status") or ""),
        display_name=str(properties.get("displayName") or name),
        created=created(job),
        by_hand=by_hand,
        data=_data(connection, name),
    )


def _data(connection: Connection, name: str) -> dict[str, str]:
    """Step -> the hash of what it looked up, as the step tagged its run; empty where none has got so far."""
    children = History(connection).children(name)
    tagged = ((_step(run), (run.get("tags") or {}).get("azdistill.data")) for run in children)
    return {step: str(digest) for step, digest in tagged if digest}


def _step(run: dict[str, Any]) -> str:
    return str((run.get("properties") or {}).get("azureml.moduleName") or run.get("displayName") or run.get("runId"))
