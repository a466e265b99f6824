"""What is wrong with a schedule that is well formed: it would fire at other times than it says, or never."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from azdistill.errors import Severity
from azdistill.recipe.cron import parse, recurrence_like
from azdistill.recipe.firings import next_firings
from azdistill.recipe.schedule import Schedule
from azdistill.recipe.zones import zone_of

#: Some month has no such day.
_SHORT = 29


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
    found = [*_ignored_fields(schedule, now), *_other_zone(schedule, now), *_short_months(schedule)]
    return found if any(finding.severity == "error" for finding in found) else [*found, *_never(schedule, now)]


def _ignored_fields(schedule: Schedule, now: datetime) -> Iterator[Finding]:
    if schedule.type != "cron":
        return
    cron = parse(schedule.expression or "")
    if cron.any_day:
        return
    _, _, days, months, _ = (schedule.expression or "").split()
    ignored = " and ".join(
        f"{name} ({text})"
        for name, text, full in (("DAYS", days, len(cron.days) == 31), ("MONTHS", months, len(cron.months) == 12))
        if not full
    )
    same = recurrence_like(cron, now.astimezone(zone_of(schedule.time_zone).info), schedule.time_zone)
    hint = f"this recurrence says the same:\n{same}" if same else _no_recurrence(len(cron.weekdays) != 7)
    message = f"Azure ML ignores {ignored} of a cron expression: '{schedule.expression}' would fire "
    yield Finding("AZD260", "error", ("expression",), message + _really(cron.weekdays), hint)


def _really(weekdays: tuple[int, ...]) -> str:
    return "every day" if len(weekdays) == 7 else "every week on the days it names"


def _no_recurrence(by_weekday: bool) -> str:
    if by_weekday:
        return "no recurrence joins days of the month, or months, with days of the week; choose one of them"
    return "no single recurrence has months at uneven distances; make a schedule of frequency month for each of them"


def _other_zone(schedule: Schedule, now: datetime) -> Iterator[Finding]:
    zone = zone_of(schedule.time_zone)
    if zone.differs(now):
        message = f"Azure ML knows {zone.asked} as '{zone.windows}', whose clock ({zone.iana}) differs from it at times"
        same = zone.same_clock(now)
        hint = f"'{same}' has the same clock for the year to come" if same else "UTC is the same everywhere"
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


def _never(schedule: Schedule, now: datetime) -> Iterator[Finding]:
    # As if it had been made before: what it says counts, not that it fires when it is made.
    if next_firings(schedule, now=now, created=now, count=1):
        return
    if schedule.end_time:
        yield Finding("AZD261", "error", ("end_time",), f"nothing fires before end_time ({schedule.end_time})")
    else:
        yield Finding("AZD261", "error", ("schedule",), "this schedule never fires: no month it names has such a day")
