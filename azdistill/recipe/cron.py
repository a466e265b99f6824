"""Cron expressions as Azure ML reads them: NCronTab's five fields, of which it heeds three.

Azure ML takes ``MINUTES HOURS DAYS MONTHS DAYS-OF-WEEK`` and ignores DAYS and MONTHS (they count as ``*``), so that a
monthly schedule would run every day (how-to-schedule-pipeline-job, "Limitations"). Such an expression is therefore no
schedule; :func:`recurrence_like` writes the recurrence that says the same, where there is one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

_MONTHS = [
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
]
_DAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
#: Name, lowest and highest value, and the words that stand for values, of each field.
FIELDS: tuple[tuple[str, int, int, list[str]], ...] = (
    ("minutes", 0, 59, []),
    ("hours", 0, 23, []),
    ("days", 1, 31, []),
    ("months", 1, 12, _MONTHS),
    ("days of the week", 0, 6, _DAYS),
)


@dataclass(frozen=True)
class Cron:
    """The values that each field allows; a field that allows every value is full."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]

    @property
    def any_day(self) -> bool:
        """Whether DAYS and MONTHS allow everything, as Azure ML takes them."""
        return len(self.days) == 31 and len(self.months) == 12


def parse(expression: str) -> Cron:
    """The fields of ``expression``. ValueError says which field cannot be read, and why."""
    fields = expression.split()
    if len(fields) != len(FIELDS):
        raise ValueError(_wrong_count(expression, len(fields)))
    return Cron(*(_field(text, *about) for text, about in zip(fields, FIELDS, strict=True)))


def _wrong_count(expression: str, count: int) -> str:
    if expression.startswith("@"):
        return f"'{expression}' is a shorthand that Azure ML does not know; it takes five fields"
    extra = "; Azure ML has no field for seconds or years" if count in (6, 7) else ""
    return (
        f"'{expression}' has {count} field{'s' * (count != 1)}, not five: minutes hours days months days-of-week{extra}"
    )


def _field(text: str, name: str, low: int, high: int, words: list[str]) -> tuple[int, ...]:
    parts = (_part(part, name, low, high, words) for part in text.split(","))
    return tuple(sorted(set[int]().union(*parts)))


def _part(part: str, name: str, low: int, high: int, words: list[str]) -> set[int]:
    span, slash, step = part.partition("/")
    if slash and not (step.isdecimal() and int(step) > 0):
        raise ValueError(f"{name} '{part}': a step is a whole number above 0")
    first, dash, last = span.partition("-")
    if span == "*":
        start, end = low, high
    else:
        start = _value(first, part, name, low, high, words)
        end = _value(last, part, name, low, high, words) if dash else high if slash else start
    if end < start:
        raise ValueError(f"{name} '{part}' runs backwards; write it as two ranges, or as a list")
    return set(range(start, end + 1, int(step) if slash else 1))


def _value(text: str, part: str, name: str, low: int, high: int, words: list[str]) -> int:
    word = text.casefold()
    named = [at for at, full in enumerate(words) if len(word) >= 3 and full.startswith(word)]
    if named:
        return named[0] + low
    if not re.fullmatch(r"\d{1,4}", text):
        odd = " (Azure ML knows none of L, W, # and ?)" if re.search(r"[LW#?]", text) else ""
        raise ValueError(f"{name} '{part}' is no value, list, range or step{odd}")
    if not low <= int(text) <= high:
        sunday = "; Sunday is 0" if words is _DAYS and int(text) == 7 else ""
        raise ValueError(f"{name} '{part}' is outside {low} to {high}{sunday}")
    return int(text)


def recurrence_like(cron: Cron, moment: datetime, time_zone: str) -> str | None:
    """YAML of the recurrence that fires as ``cron`` would with all its fields; None where no single one does.

    ``moment`` is local time in the zone: where only some months are meant, it starts with the first that is not over.
    """
    if len(cron.weekdays) != 7:
        return None
    # How many months lie between one and the next, the year round.
    months = cron.months
    gaps = {(later - month - 1) % 12 + 1 for month, later in zip(months, months[1:] + months[:1], strict=True)}
    if len(gaps) != 1:
        return None
    interval = gaps.pop()
    lines = ["schedule:", "  type: recurrence", "  frequency: month", f"  interval: {interval}"]
    if interval > 1:
        month = next((month for month in months if month >= moment.month), months[0])
        year = moment.year if month >= moment.month else moment.year + 1
        lines.append(f'  start_time: "{year}-{month:02d}-01T00:00:00"')
    if time_zone != "UTC":
        lines.append(f"  time_zone: {time_zone}")
    lines += ["  schedule:", f"    hours: {list(cron.hours)}", f"    minutes: {list(cron.minutes)}"]
    return "\n".join([*lines, f"    month_days: {list(cron.days)}"])
