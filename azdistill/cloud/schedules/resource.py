"""Schedules as the workspace holds them, by REST, and the runs that they started. A schedule is read whole, and written
back as it was but for what changes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from azdistill.cloud.jobs.run_history import History, created, list_jobs
from azdistill.cloud.schedules.request import FINGERPRINT, OWNER, SCHEDULE, SUMMARY
from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.cloud.workspace.rest import parsed_time, part
from azdistill.errors import ServiceError, UserError, did_you_mean
from azdistill.recipe.firings import Firing, next_firings
from azdistill.recipe.schedule import Schedule

API = "2023-06-01-preview"
TRIGGER_API = "2024-01-01-preview"
#: Runs that are shown.
SHOWN = 5
#: Seconds between looks at a schedule that is being changed, and until giving up.
POLL, PATIENCE = 2.0, 180.0


@dataclass(frozen=True)
class Stored:
    """A schedule of the workspace; ``body`` is what the service said."""

    name: str
    body: Mapping[str, Any]

    @property
    def properties(self) -> Mapping[str, Any]:
        """The resource's properties."""
        return dict(self.body.get("properties") or {})

    @property
    def enabled(self) -> bool:
        """Whether it fires."""
        return self.properties.get("isEnabled") is not False

    @property
    def tags(self) -> dict[str, str]:
        """Its tags."""
        return dict(self.properties.get("tags") or {})

    @property
    def ours(self) -> bool:
        """Whether azdistill made it."""
        return self.tags.get(OWNER) == "schedule"

    @property
    def fingerprint(self) -> str:
        """What it was made from."""
        return self.tags.get(FINGERPRINT, "")

    @property
    def summary(self) -> dict[str, Any]:
        """What it said when it was applied; empty where azdistill did not make it."""
        try:
            summary = json.loads((self.properties.get("properties") or {}).get(SUMMARY) or "{}")
        except ValueError:
            return {}
        return summary if isinstance(summary, dict) else {}

    @property
    def created(self) -> datetime | None:
        """When it was made."""
        return parsed_time(created(self.body))

    @property
    def schedule(self) -> Schedule | None:
        """Its trigger as a recipe says it; None for one that cannot be read so (of another tool, or too new)."""
        try:
            return Schedule.model_validate(trigger_words(self.properties.get("trigger") or {}))
        except ValueError:
            return None


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


def trigger_words(trigger: Mapping[str, Any]) -> dict[str, Any]:
    """A trigger of the service in the words of YAML, without what it leaves open."""
    pattern = trigger.get("schedule") or {}
    keys = {"hours": "hours", "minutes": "minutes", "week_days": "weekDays", "month_days": "monthDays"}
    words = {
        "type": str(trigger.get("triggerType", "")).lower(),
        **{key: trigger.get(key) for key in ("expression", "frequency", "interval")},
        "schedule": {word: pattern[key] for word, key in keys.items() if pattern.get(key)},
        "start_time": trigger.get("startTime"),
        "end_time": trigger.get("endTime"),
        "time_zone": trigger.get("timeZone") or "UTC",
    }
    return {key: value for key, value in words.items() if value not in (None, {}, [])}


def path_of(connection: Connection, name: str = "") -> str:
    """The ARM path of a schedule, or of all of them."""
    return f"{connection.workspace_id}/schedules" + (f"/{part(name)}" if name else "")


def find(connection: Connection, name: str) -> Stored | None:
    """The schedule called ``name``; None where there is none."""
    with explain(f"reading the schedule {name}"):
        body = connection.rest.find(path_of(connection, name), api_version=API)
    return Stored(name, body) if body is not None else None


def get(connection: Connection, name: str) -> Stored:
    """As :func:`find`; UserError AZD452, with the nearest name, where there is none."""
    stored = find(connection, name)
    if stored is None:
        hint = did_you_mean(name, [each.name for each in every(connection)]) or "there is none in this workspace"
        raise UserError(f"there is no schedule '{name}' in {connection.workspace_name}", code="AZD452", hint=hint)
    return stored


def every(connection: Connection) -> list[Stored]:
    """Every schedule of the workspace, disabled ones too."""
    with explain("listing schedules"):
        bodies = connection.rest.listed(path_of(connection), api_version=API, params={"listViewType": "All"})
    return [Stored(str(body.get("name")), body) for body in bodies]


def write(connection: Connection, name: str, body: Mapping[str, Any], doing: str) -> None:
    """Write a schedule and wait until the service has taken it over."""
    with explain(doing):
        connection.rest.call("PUT", path_of(connection, name), api_version=API, body={"properties": body["properties"]})
    wait_until_settled(connection, name, doing)


def wait_until_settled(connection: Connection, name: str, doing: str) -> None:
    """Wait until the last change of a schedule is done. ServiceError AZD453 where that failed."""

    def is_settled() -> bool:
        state = str(get(connection, name).properties.get("provisioningState") or "Succeeded")
        if state in ("Failed", "Canceled"):
            raise ServiceError(f"the workspace ended with {state} while {doing}", code="AZD453")
        return state == "Succeeded"

    wait(is_settled, doing)


def wait(is_done: Callable[[], bool], doing: str) -> None:
    """Wait until ``is_done``. ServiceError AZD453 after :data:`PATIENCE`."""
    until = time.monotonic() + PATIENCE
    while not is_done():
        if time.monotonic() > until:
            message = f"still not done after {PATIENCE:.0f} s: {doing}"
            raise ServiceError(message, code="AZD453", hint="`azdistill schedule list` shows what has become of it")
        time.sleep(POLL)


def mine(stored: Stored, force_hint: str) -> Stored:
    """``stored``, or UserError AZD454 where azdistill did not make it."""
    if not stored.ours:
        message = f"the schedule {stored.name} was not made by azdistill (it has no tag {OWNER}: schedule)"
        raise UserError(message, code="AZD454", hint=force_hint)
    return stored


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
