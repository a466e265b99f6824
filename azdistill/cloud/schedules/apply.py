"""Makes a workspace's schedule what a file says: no request where nothing changed, and a diff before any change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from azdistill import strict_json
from azdistill.cloud.schedules import resource
from azdistill.cloud.schedules.request import FINGERPRINT, OWNER, SCHEDULE, SUMMARY, DesiredSchedule
from azdistill.cloud.schedules.resource import Stored
from azdistill.cloud.submit.sdk_job import allowed, pipeline_job
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
    desired: DesiredSchedule
    stored: Stored | None
    lines: list[str] = field(default_factory=list)
    firings: list[Firing] = field(default_factory=list)

    @property
    def enabled(self) -> bool:
        """Whether the schedule fires after the change: what was disabled stays so."""
        return self.stored is None or self.stored.enabled


def plan(connection: Connection, desired: DesiredSchedule, now: datetime) -> Change:
    """Compare ``desired`` with the workspace. UserError AZD454 where a schedule of that name is somebody else's."""
    stored = resource.find(connection, desired.name)
    if stored is None:
        return Change("create", desired, None, differences(None, desired), next_firings(desired.schedule, now=now))
    resource.mine(stored, "give this one another name with --name")
    lines = differences(stored, desired)
    unchanged = stored.fingerprint == desired.fingerprint and not lines
    if not unchanged and not lines:
        lines = ["~ settings of the pipeline, or of the computes that it runs on"]
    firings = next_firings(desired.schedule, now=now, created=stored.created or now)
    return Change("none" if unchanged else "update", desired, stored, lines, firings)


def carry_out(connection: Connection, change: Change) -> None:
    """Upload what the job needs, then write the schedule: one PUT. Nothing is sent where nothing changes."""
    if change.kind == "none":
        return
    name = change.desired.name
    jobs = change.desired.prepared.pipeline.jobs
    with explain(f"making the schedule {name}"), hushed(), allowed(jobs):
        client = connection.ml_client
        schedule = _entity(connection, change)
        poller = client.schedules.begin_create_or_update(schedule, polling_interval=resource.POLL)
        poller.result(timeout=resource.PATIENCE)
    resource.wait_until_settled(connection, name, f"making the schedule {name}")


def _entity(connection: Connection, change: Change) -> Any:
    from azure.ai.ml.entities import JobSchedule

    desired = change.desired
    job: Any = pipeline_job(desired.prepared, connection.cloud)
    job.tags = {**(job.tags or {}), **desired.prepared.tags(), SCHEDULE: desired.name}
    return JobSchedule(
        name=desired.name,
        trigger=trigger_of(desired.schedule),
        create_job=job,
        description=desired.description or None,
        tags={**desired.tags, OWNER: "schedule", FINGERPRINT: desired.fingerprint},
        properties={SUMMARY: strict_json.dumps(desired.summary, sort_keys=True)},
        is_enabled=change.enabled,
    )


def trigger_of(schedule: Schedule) -> Any:
    """The SDK's trigger. Times go without an offset, the zone under its Windows name, days of the week capitalised."""
    from azure.ai.ml.entities import CronTrigger, RecurrencePattern, RecurrenceTrigger

    times: dict[str, Any] = {
        "start_time": schedule.start_time and schedule.start_time.isoformat(timespec="seconds"),
        "end_time": schedule.end_time and schedule.end_time.isoformat(timespec="seconds"),
        "time_zone": zone_of(schedule.time_zone).windows,
    }
    if schedule.type == "cron":
        return CronTrigger(expression=str(schedule.expression), **times)
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
        **times,
    )


def differences(stored: Stored | None, desired: DesiredSchedule) -> list[str]:
    """One line for each difference: ``-`` what is there, ``+`` what will be; empty where there is none."""
    new = words_of(desired.schedule)
    if stored is None:
        inputs = _flat("inputs", desired.summary["inputs"])
        return [f"+ {name}: {value}" for name, value in (*_flat("trigger", new), *inputs)]
    old = words_of(stored.schedule) if stored.schedule else dict(stored.properties.get("trigger") or {})
    return [
        *_compared("trigger", old, new),
        *_compared("inputs", stored.summary.get("inputs") or {}, desired.summary["inputs"]),
        *_steps(stored.summary.get("steps") or {}, desired.summary["steps"]),
        *_about(stored, desired),
    ]


def words_of(schedule: Schedule) -> dict[str, Any]:
    """A trigger in words that are equal where two triggers are, whichever way they were written."""
    words = schedule.model_dump(mode="json", exclude_none=True)
    words["time_zone"] = zone_of(schedule.time_zone).windows
    if pattern := schedule.schedule:
        names = ("hours", "minutes", "week_days", "month_days")
        words["schedule"] = {name: sorted(set(pattern.listed(name))) for name in names if pattern.listed(name)}
    return words


def _compared(head: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    before, after = dict(_flat(head, old)), dict(_flat(head, new))
    for name in [*before, *(name for name in after if name not in before)]:
        if before.get(name) == after.get(name):
            continue
        if name in before:
            yield f"- {name}: {before[name]}"
        if name in after:
            yield f"+ {name}: {after[name]}"


def _flat(head: str, words: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in words.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{head}.{name}", value)
        else:
            yield f"{head}.{name}", value


def _steps(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    yield from (f"- step {name}" for name in old if name not in new)
    for name, version in new.items():
        if name not in old:
            yield f"+ step {name}"
        elif old[name] != version:
            yield f"~ step {name}: its component, code, environment or settings changed"


def _about(stored: Stored, desired: DesiredSchedule) -> Iterator[str]:
    before = str(stored.properties.get("description") or "")
    if before != desired.description:
        yield f"~ description: {desired.description or '(none)'}"
    job = stored.tags.get("azdistill.fingerprint", "")
    if job != desired.fingerprint and not stored.summary:
        yield "~ the job: it was not applied by this version of azdistill, so what changed cannot be told"
