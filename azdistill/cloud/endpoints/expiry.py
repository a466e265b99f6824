"""How long something is kept, and when it ends."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from azdistill.errors import UserError

_UNITS = {"m": 1 / 60, "h": 1.0, "d": 24.0}
#: Longer than this is no longer "for a while".
_MOST_HOURS = 24.0 * 90


def hours_of(text: str) -> float:
    """Hours of ``90m``, ``8h`` or ``2d``. UserError AZD480."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([mhd])", text.strip().lower())
    hours = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if not 0 < hours <= _MOST_HOURS:
        raise UserError(
            f"'{text}' is no time to keep an endpoint for",
            code="AZD480",
            hint="write minutes, hours or days, 90 days at most: 90m, 8h, 2d",
        )
    return hours


def stamp(moment: datetime) -> str:
    """A moment as our tags write it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def expires(hours: float, now: datetime | None = None) -> str:
    """The stamp of ``hours`` from now."""
    return stamp((now or datetime.now(UTC)) + timedelta(hours=hours))


def moment_of(text: str | None) -> datetime | None:
    """The moment that a stamp says; None for what is no stamp."""
    try:
        moment = datetime.fromisoformat((text or "").replace("Z", "+00:00"))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
