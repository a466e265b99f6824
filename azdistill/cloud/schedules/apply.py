"""Makes a workspace's schedule what a file says: no request where nothing changed, and a diff before any change."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from azdistill import strict_json
from azdistill.cloud.schedules import resource
from azdistill.cloud.schedules.desired import FINGERPRINT, OWNER, SAID, SCHEDULE, Wanted
from azdistill.cloud.schedules.diff import differences
from azdistill.cloud.schedules.resource import Stored
from azdistill.cloud.submit.preview_kinds import allowed
from azdistill.cloud.submit.sdk_job import pipeline_job
from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.cloud.workspace.quiet import hushed
from azdistill.recipe.firings import Firing, next_firings
from azdistill.recipe.schedule import Schedule
from azdistill.recipe.zones import zone_of


@dataclass(frozen=True)
class Change:
    """What applying a file would do. ``lines`` is the diff; ``firings`` are the next ones as they will be."""

    kind: Literal["create", "update", "none"]
    wanted: Wanted
    stored: Stored | None
    lines: list[str] = field(default_factory=list)
    firings: list[Firing] = field(default_factory=list)

    @property
    def enabled(self) -> bool:
        """Whether the schedule fires after the change: what was disabled stays so."""
        return self.stored is None or self.stored.enabled


def plan(connection: Connection, wanted: Wanted, now: datetime) -> Change:
    """Compare ``wanted`` with the workspace. UserError AZD454 where a schedule of that name is somebody else's."""
    stored = resource.find(connection, wanted.name)
    if stored is None:
        return Change("create", wanted, None, differences(None, wanted), next_firings(wanted.schedule, now=now))
    resource.mine(stored, "give this one another name with --name")
    lines = differences(stored, wanted)
    same = stored.fingerprint == wanted.fingerprint and not lines
    if not same and not lines:
        lines = ["~ settings of the pipeline, or of the computes that it runs on"]
    firings = next_firings(wanted.schedule, now=now, created=stored.created or now)
    return Change("none" if same else "update", wanted, stored, lines, firings)


def carry_out(connection: Connection, change: Change) -> None:
    """Upload what the job needs, then write the schedule: one PUT. Nothing is sent where nothing changes."""
    if change.kind == "none":
        return
    name = change.wanted.name
    jobs = change.wanted.prepared.pipeline.jobs
    with explain(f"making the schedule {name}"), hushed(), allowed(jobs):
        client = connection.ml_client
        schedule = _entity(connection, change)
        poller = client.schedules.begin_create_or_update(schedule, polling_interval=resource.POLL)
        poller.result(timeout=resource.PATIENCE)
    resource.settled(connection, name, f"making the schedule {name}")


def _entity(connection: Connection, change: Change) -> Any:
    from azure.ai.ml.entities import JobSchedule

    wanted = change.wanted
    job: Any = pipeline_job(wanted.prepared, connection.cloud)
    job.tags = {**(job.tags or {}), **wanted.prepared.tags(), SCHEDULE: wanted.name}
    return JobSchedule(
        name=wanted.name,
        trigger=trigger_of(wanted.schedule),
        create_job=job,
        description=wanted.description or None,
        tags={**wanted.tags, OWNER: "schedule", FINGERPRINT: wanted.fingerprint},
        properties={SAID: strict_json.dumps(wanted.said, sort_keys=True)},
        is_enabled=change.enabled,
    )


def trigger_of(schedule: Schedule) -> Any:
    """The SDK's trigger. Times go without an offset, the zone under its Windows name, days of the week capitalised."""
    from azure.ai.ml.entities import CronTrigger, RecurrencePattern, RecurrenceTrigger

    about: dict[str, Any] = {
        "start_time": schedule.start_time and schedule.start_time.isoformat(timespec="seconds"),
        "end_time": schedule.end_time and schedule.end_time.isoformat(timespec="seconds"),
        "time_zone": zone_of(schedule.time_zone).windows,
    }
    if schedule.type == "cron":
        return CronTrigger(expression=str(schedule.expression), **about)
    pattern = schedule.schedule
    listed = pattern and RecurrencePattern(
        hours=pattern.listed("hours"),
        minutes=pattern.listed("minutes"),
        # The service's own words here and below; the SDK sends what it is given.
        week_days=[day.capitalize() for day in pattern.listed("week_days")] or None,
        month_days=pattern.listed("month_days") or None,
    )
    return RecurrenceTrigger(
        frequency=str(schedule.frequency).capitalize(),
        interval=schedule.interval or 1,
        schedule=listed or None,
        **about,
    )
