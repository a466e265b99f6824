"""When a schedule fires, worked out from what the service documents, with croniter and dateutil.

Cron days and months are read as ``*``. Times are local times of the schedule's zone. A start in the past gives its
pattern, not firings; without a start the schedule fires as it is made and goes on from there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

from croniter import croniter
from dateutil.relativedelta import relativedelta

from ..messages import ArmError

_ZONES = {
    "UTC": "UTC",
    "Hawaiian Standard Time": "Pacific/Honolulu",
    "Alaskan Standard Time": "America/Anchorage",
    "Pacific Standard Time": "America/Los_Angeles",
    "Mountain Standard Time": "America/Denver",
    "US Mountain Standard Time": "America/Phoenix",
    "Central Standard Time": "America/Chicago",
    "Central Standard Time (Mexico)": "America/Mexico_City",
    "Eastern Standard Time": "America/New_York",
    "SA Pacific Standard Time": "America/Bogota",
    "Atlantic Standard Time": "America/Halifax",
    "Newfoundland Standard Time": "America/St_Johns",
    "E. South America Standard Time": "America/Sao_Paulo",
    "Argentina Standard Time": "America/Buenos_Aires",
    "GMT Standard Time": "Europe/London",
    "Greenwich Standard Time": "Atlantic/Reykjavik",
    "W. Europe Standard Time": "Europe/Berlin",
    "Central Europe Standard Time": "Europe/Budapest",
    "Romance Standard Time": "Europe/Paris",
    "Central European Standard Time": "Europe/Warsaw",
    "GTB Standard Time": "Europe/Bucharest",
    "E. Europe Standard Time": "Europe/Chisinau",
    "FLE Standard Time": "Europe/Kiev",
    "South Africa Standard Time": "Africa/Johannesburg",
    "Egypt Standard Time": "Africa/Cairo",
    "Israel Standard Time": "Asia/Jerusalem",
    "Turkey Standard Time": "Europe/Istanbul",
    "Russian Standard Time": "Europe/Moscow",
    "Arab Standard Time": "Asia/Riyadh",
    "Arabian Standard Time": "Asia/Dubai",
    "Iran Standard Time": "Asia/Tehran",
    "Pakistan Standard Time": "Asia/Karachi",
    "India Standard Time": "Asia/Calcutta",
    "Nepal Standard Time": "Asia/Katmandu",
    "Bangladesh Standard Time": "Asia/Dhaka",
    "SE Asia Standard Time": "Asia/Bangkok",
    "China Standard Time": "Asia/Shanghai",
    "Singapore Standard Time": "Asia/Singapore",
    "Taipei Standard Time": "Asia/Taipei",
    "W. Australia Standard Time": "Australia/Perth",
    "Tokyo Standard Time": "Asia/Tokyo",
    "Korea Standard Time": "Asia/Seoul",
    "AUS Central Standard Time": "Australia/Darwin",
    "Cen. Australia Standard Time": "Australia/Adelaide",
    "E. Australia Standard Time": "Australia/Brisbane",
    "AUS Eastern Standard Time": "Australia/Sydney",
    "New Zealand Standard Time": "Pacific/Auckland",
}
_STEPS = {
    "minute": lambda n: relativedelta(minutes=n),
    "hour": lambda n: relativedelta(hours=n),
    "day": lambda n: relativedelta(days=n),
    "week": lambda n: relativedelta(weeks=n),
    "month": lambda n: relativedelta(months=n),
}
_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
#: A pattern that has given nothing for so many of its periods never will.
_BARREN = 100


def check(trigger: Mapping[str, Any]) -> None:
    """Refuse a trigger that the service could not fire."""
    zone_of(trigger)
    if trigger.get("triggerType") == "Cron":
        _cron(trigger)
    elif str(trigger.get("frequency", "")).lower() not in _STEPS or int(trigger.get("interval") or 0) < 1:
        raise ArmError(400, "UserError", "A recurrence needs a frequency and an interval of at least 1.")


def firings(trigger: Mapping[str, Any], created: datetime) -> Iterator[datetime]:
    """Every time (UTC) at which a schedule that was made at ``created`` fires, in order."""
    zone = zone_of(trigger)
    given, until = _moment(trigger.get("startTime"), zone), _moment(trigger.get("endTime"), zone)
    if given is None:
        yield created
    start = given or created
    for local in _times(trigger, start.astimezone(zone).replace(tzinfo=None)):
        moment = local.replace(tzinfo=zone).astimezone(UTC)
        if until and moment > until:
            return
        if moment >= start and (moment > created or (given is not None and moment == created)):
            yield moment


def zone_of(trigger: Mapping[str, Any]) -> ZoneInfo:
    """The zone of a trigger, which Azure knows by its Windows name."""
    name = trigger.get("timeZone") or "UTC"
    if name not in _ZONES:
        raise ArmError(400, "UserError", f"The time zone '{name}' is not valid.")
    return ZoneInfo(_ZONES[name])


def _moment(text: str | None, zone: ZoneInfo) -> datetime | None:
    if not text:
        return None
    local = datetime.fromisoformat(text.strip().replace(" ", "T"))
    return (local if local.tzinfo else local.replace(tzinfo=zone)).astimezone(UTC)


def _cron(trigger: Mapping[str, Any]) -> str:
    fields = str(trigger.get("expression") or "").split()
    if len(fields) != 5:
        raise ArmError(400, "UserError", f"The cron expression '{trigger.get('expression')}' is not valid.")
    expression = f"{fields[0]} {fields[1]} * * {fields[4]}"
    if not croniter.is_valid(expression):
        raise ArmError(400, "UserError", f"The cron expression '{trigger.get('expression')}' is not valid.")
    return expression


def _times(trigger: Mapping[str, Any], start: datetime) -> Iterator[datetime]:
    """Local times from ``start`` on, with no end."""
    if trigger.get("triggerType") == "Cron":
        following = croniter(_cron(trigger), start - timedelta(seconds=1))
        while True:
            yield following.get_next(datetime)
    step, interval = _STEPS[str(trigger["frequency"]).lower()], int(trigger["interval"])
    pattern = trigger.get("schedule") or {}
    if not pattern.get("hours") and not pattern.get("minutes"):
        yield from (start + step(interval * n) for n in count())
        return
    barren = 0
    for n in count():
        found = [time for time in _period(trigger, pattern, start + step(interval * n)) if time >= start]
        yield from found
        barren = 0 if found else barren + 1
        if barren > _BARREN:
            return


def _period(trigger: Mapping[str, Any], pattern: Mapping[str, Any], inside: datetime) -> Iterator[datetime]:
    """The times of a pattern in the day, week or month that holds a moment."""
    frequency = str(trigger["frequency"]).lower()
    midnight = inside.replace(hour=0, minute=0, second=0, microsecond=0)
    if frequency == "week":
        names = [str(day).lower() for day in pattern.get("weekDays") or [_DAYS[inside.weekday()]]]
        monday = midnight - timedelta(days=inside.weekday())
        days = [monday + timedelta(days=n) for n, name in enumerate(_DAYS) if name in names]
    elif frequency == "month":
        first = midnight.replace(day=1)
        wanted = sorted(int(day) for day in pattern.get("monthDays") or [inside.day])
        days = [first + timedelta(days=day - 1) for day in wanted]
        # A month without that day is passed over.
        days = [day for day in days if day.month == first.month]
    else:
        days = [midnight]
    for day in days:
        for hour in sorted(int(hour) for hour in pattern.get("hours") or [inside.hour]):
            for minute in sorted(int(minute) for minute in pattern.get("minutes") or [inside.minute]):
                yield day + timedelta(hours=hour, minutes=minute)
