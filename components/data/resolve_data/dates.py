"""The moment that a reference is resolved for, and its parts as they stand in paths."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from common.step import BadConfig

#: What stands in braces -> how strftime writes it.
PARTS = {"yyyy": "%Y", "MM": "%m", "dd": "%d", "HH": "%H", "mm": "%M"}
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def moment_of(as_of: str, offset: str | None, started: datetime) -> datetime:
    """``as_of`` (ISO 8601, UTC where it has no zone; or ``now``) moved by ``offset``, in UTC. Raises BadConfig."""
    text = as_of.strip()
    try:
        moment = started if text == "now" else datetime.fromisoformat(text)
    except ValueError:
        raise BadConfig(f"as_of '{as_of}' is no moment: write it as 2026-12-01T09:00:00Z, or 'now'") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC) + _span(offset)


def _span(offset: str | None) -> timedelta:
    if not offset:
        return timedelta()
    match = re.fullmatch(r"([+-]?\d{1,6})([mhd])", offset.strip())
    if not match:
        raise BadConfig(f"offset '{offset}' is no span: write a number and m, h or d, such as -1d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def filled(path: str, moment: datetime) -> str:
    """``path`` with the parts of ``moment`` in the place of what stands in braces. Raises BadConfig."""

    def part(match: re.Match[str]) -> str:
        if match[1] not in PARTS:
            parts = ", ".join(f"{{{name}}}" for name in PARTS)
            raise BadConfig(f"{{{match[1]}}} in '{path}' is no part of a date; known: {parts}")
        return moment.strftime(PARTS[match[1]])

    return re.sub(r"\{([^{}]*)\}", part, path)
