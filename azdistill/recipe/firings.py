"""When a schedule fires: the next firings of a trigger, reckoned as Azure ML does, and what is wrong with one.

Azure ML fires schedules through Logic Apps, whose documents ("Schedules for recurring triggers") say:

- without ``start_time`` the first run starts when the schedule is made, later ones by the schedule;
- a ``start_time`` in the past is where reckoning starts, and what is past is discarded;
- with a pattern (``schedule:``) or a cron expression nothing fires before ``start_time``;
- a local time that summer time skips fires as much later (02:30 at 03:30), one that occurs twice fires the first time.

Days, weeks and months keep the local time; minutes and hours are elapsed time. The weeks of ``interval: 2`` and more
are counted from the week of the start, Monday first. A day that a month does not have is skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from azdistill.errors import Severity
from azdistill.recipe.cron import parse, recurrence_like
from azdistill.recipe.schedule import WEEKDAYS, Schedule
from azdistill.recipe.zones import zone_of

#: How far ahead firings are looked for: leap days are up to eight years apart.
HORIZON = timedelta(days=9 * 366)
#: Some month has no such day.
_SHORT = 29
_STEPS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1)}


@dataclass(frozen=True)
class Firing:
    """One firing: ``utc``, the same moment in the schedule's zone, and what is unusual about it."""

    utc: datetime
    local: datetime
    note: str = ""

    def __str__(self) -> str:
        remark = f"  ({self.note})" if self.note else ""
        return f"{self.utc:%a %Y-%m-%d %H:%M} UTC   {self.local:%a %Y-%m-%d %H:%M %z}{remark}"

    def as_json(self) -> dict[str, str]:
        """The object that ``--json`` prints for this firing."""
        return {"utc": self.utc.isoformat(), "local": self.local.isoformat(), "note": self.note}


def next_firings(schedule: Schedule, *, now: datetime, created: datetime | None = None, count: int = 5) -> list[Firing]:
    """The next ``count`` firings after ``now``; fewer where the schedule ends first.

    ``created`` is when the schedule was made (None: it is made now, and an omitted start fires at once).
    """
    return list(islice(firings(schedule, now=now, created=created), count))


def firings(schedule: Schedule, *, now: datetime, created: datetime | None = None) -> Iterator[Firing]:
    """Every firing after ``now``, in order, within :data:`HORIZON`; see :func:`next_firings`."""
    zone = zone_of(schedule.time_zone).info
    creation, now = (created or now).astimezone(zone), now.astimezone(zone)
    end = schedule.end_time and _moment(schedule.end_time, zone).utc
    if schedule.start_time is None and created is None:
        yield Firing(now.astimezone(UTC), now, "when the schedule is made: it has no start_time")
    start = schedule.start_time or creation.replace(tzinfo=None)
    since = max(now, _moment(start, zone).local if schedule.start_time else creation)
    for firing in _regular(schedule, start, since, zone):
        if end and firing.utc > end:
            return
        if firing.utc > now or (firing.utc == now and created is None and schedule.start_time):
            yield firing


def _regular(schedule: Schedule, start: datetime, since: datetime, zone: ZoneInfo) -> Iterator[Firing]:
    """The firings at and after ``since`` that the trigger itself says, whatever happens when the schedule is made."""
    if schedule.frequency in _STEPS:
        step = _STEPS[schedule.frequency] * (schedule.interval or 1)
        yield from _elapsed(_moment(start, zone).utc, step, since, zone)
        return
    last = since.replace(tzinfo=None) + HORIZON
    times = _times(schedule, start)
    # A day earlier, since a time that summer time moved may belong to the day before.
    day = max(start.date(), since.date() - timedelta(days=1))
    fits = _days(schedule, start.date())
    while day < last.date():
        if fits(day):
            day_firings = (_moment(datetime.combine(day, moment), zone) for moment in times)
            # A time that was moved may meet one that stands there anyway: the later of two, without a note, is it.
            at = {firing.utc: firing for firing in day_firings}
            yield from (at[moment] for moment in sorted(at) if moment >= since.astimezone(UTC))
        day += timedelta(days=1)


def _elapsed(start: datetime, step: timedelta, since: datetime, zone: ZoneInfo) -> Iterator[Firing]:
    elapsed = max(timedelta(), since.astimezone(UTC) - start)
    number = -(-elapsed // step)
    while number * step < elapsed + HORIZON:
        moment = start + number * step
        yield Firing(moment, moment.astimezone(zone))
        number += 1


def _times(schedule: Schedule, start: datetime) -> list[time]:
    if schedule.type == "cron":
        cron = parse(schedule.expression or "")
        return [time(hour, minute) for hour in cron.hours for minute in cron.minutes]
    if schedule.schedule is None:
        return [start.time().replace(microsecond=0)]
    pattern = schedule.schedule
    hours, minutes = pattern.listed("hours") or [start.hour], pattern.listed("minutes") or [start.minute]
    return [time(hour, minute) for hour in sorted(set(hours)) for minute in sorted(set(minutes))]


def _days(schedule: Schedule, start: date) -> Callable[[date], bool]:
    """Whether a day is one of the schedule's."""
    if schedule.type == "cron":
        weekdays = {(day - 1) % 7 for day in parse(schedule.expression or "").weekdays}
        return lambda day: day.weekday() in weekdays
    interval, pattern = schedule.interval or 1, schedule.schedule
    named = {WEEKDAYS.index(word) for word in (pattern.listed("week_days") if pattern else [])}
    numbers = set(pattern.listed("month_days")) if pattern else set()
    if schedule.frequency == "day":
        return lambda day: (day - start).days % interval == 0
    if schedule.frequency == "week":
        monday = start - timedelta(days=start.weekday())
        days = named or {start.weekday()}
        return lambda day: (day - monday).days // 7 % interval == 0 and day.weekday() in days

    def of_month(day: date) -> bool:
        months = (day.year - start.year) * 12 + day.month - start.month
        fits = day.weekday() in named if named else day.day in (numbers or {start.day})
        return months % interval == 0 and fits

    return of_month


def _moment(naive: datetime, zone: ZoneInfo) -> Firing:
    """A local time as a moment, and what summer time did to it."""
    local = naive.replace(tzinfo=zone)
    utc = local.astimezone(UTC)
    local_time = utc.astimezone(zone)
    if local_time.replace(tzinfo=None) != naive:
        return Firing(utc, local_time, f"{naive:%H:%M} does not exist that day: the clocks go forward")
    twice = local.replace(fold=1).utcoffset() != local.utcoffset()
    return Firing(utc, local_time, f"the first {naive:%H:%M} of two: the clocks go back" if twice else "")


@dataclass(frozen=True)
class Finding:
    """One thing to say about a schedule; ``path`` leads to the key it is about."""

    code: str
    severity: Severity
    path: tuple[str, ...]
    message: str
    hint: str = ""


def findings(schedule: Schedule, now: datetime | None = None) -> list[Finding]:
    """Everything to say about ``schedule`` at ``now``, errors and warnings."""
    now = now or datetime.now(UTC)
    problems = [*_ignored_fields(schedule, now), *_other_zone(schedule, now), *_short_months(schedule)]
    return problems if any(finding.severity == "error" for finding in problems) else [*problems, *_never(schedule, now)]


def _ignored_fields(schedule: Schedule, moment: datetime) -> Iterator[Finding]:
    if schedule.type != "cron" or not schedule.expression:
        return
    cron = parse(schedule.expression)
    if cron.any_day:
        return
    _, _, days, months, _ = schedule.expression.split()
    full = {f"DAYS ({days})": len(cron.days) == 31, f"MONTHS ({months})": len(cron.months) == 12}
    ignored = " and ".join(field for field in full if not full[field])
    every_weekday = len(cron.weekdays) == 7
    firing = "every day" if every_weekday else "every week on the days it names"
    message = f"Azure ML ignores {ignored} of a cron expression: '{schedule.expression}' would fire {firing}"
    if recurrence := recurrence_like(cron, moment.astimezone(zone_of(schedule.time_zone).info), schedule.time_zone):
        hint = f"this recurrence says the same:\n{recurrence}"
    elif every_weekday:
        hint = (
            "no single recurrence has months at uneven distances; make a schedule of frequency month for each of them"
        )
    else:
        hint = "no recurrence joins days of the month, or months, with days of the week; choose one of them"
    yield Finding("AZD260", "error", ("expression",), message, hint)


def _other_zone(schedule: Schedule, moment: datetime) -> Iterator[Finding]:
    zone = zone_of(schedule.time_zone)
    if zone.differs(moment):
        message = f"Azure ML knows {zone.name} as '{zone.windows}', whose clock ({zone.iana}) differs from it at times"
        zone_name = zone.same_clock(moment)
        hint = f"'{zone_name}' has the same clock for the year to come" if zone_name else "UTC is the same everywhere"
        yield Finding("AZD263", "warning", ("time_zone",), message, hint)


def _short_months(schedule: Schedule) -> Iterator[Finding]:
    path, days = _days_of_month(schedule)
    late = sorted(day for day in days if day >= _SHORT)
    # Where all days are named, one that is missing is no firing that was meant.
    if late and len(days) < 31:
        message = f"months without day {', '.join(map(str, late))} are skipped: nothing fires in their place"
        yield Finding("AZD262", "warning", path, message, "every month has day 28 and those before")


def _days_of_month(schedule: Schedule) -> tuple[tuple[str, ...], set[int]]:
    """The days on which a monthly schedule fires, and the key that says so."""
    pattern = schedule.schedule
    if schedule.frequency != "month" or (pattern and pattern.week_days is not None):
        return (), set()
    if pattern and pattern.month_days is not None:
        return ("schedule", "month_days"), set(pattern.listed("month_days"))
    return ("start_time",), {schedule.start_time.day} if schedule.start_time else set()


def _never(schedule: Schedule, moment: datetime) -> Iterator[Finding]:
    # As if it had been made before: what it says counts, not that it fires when it is made.
    if next_firings(schedule, now=moment, created=moment, count=1):
        return
    if schedule.end_time:
        yield Finding("AZD261", "error", ("end_time",), f"nothing fires before end_time ({schedule.end_time})")
    else:
        yield Finding("AZD261", "error", ("schedule",), "this schedule never fires: no month it names has such a day")
