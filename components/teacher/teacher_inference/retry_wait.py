"""How long to wait before asking again: what the server's headers say, or else backoff with full jitter."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

#: Seconds: the first ceiling of the backoff, and the last.
FIRST_CEILING = 0.5
LAST_CEILING = 30.0
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def backoff(attempt: int) -> float:
    """Seconds before attempt number ``attempt`` + 1, drawn between 0 and a ceiling that doubles.

    "Full jitter" of Brooker, "Exponential backoff and jitter", AWS architecture blog, 2015.
    """
    return random.uniform(0, min(LAST_CEILING, FIRST_CEILING * 2**attempt))


def asked_wait(headers: Mapping[str, str], current_time: datetime | None = None) -> float | None:
    """Seconds that a refusing server asks to wait; None when it says nothing.

    ``retry-after-ms`` and ``Retry-After`` (seconds or a date) first; then the reset times of the limits that are used
    up (``x-ratelimit-reset-*`` of OpenAI and Azure, ``anthropic-ratelimit-*-reset``).
    """
    current_time = current_time or datetime.now(UTC)
    low = {name.lower(): value.strip() for name, value in headers.items()}
    if (ms := _number(low.get("retry-after-ms", ""))) is not None:
        return ms / 1000
    if (text := low.get("retry-after")) and (wait := _moment(text, current_time)) is not None:
        return wait
    return _longest(low, current_time, unsaid="0")


def nothing_left(headers: Mapping[str, str], current_time: datetime | None = None) -> float | None:
    """Seconds until a limit that is used up is reset: it says 0 of what remains. None where no limit says so."""
    return _longest(
        {name.lower(): value.strip() for name, value in headers.items()}, current_time or datetime.now(UTC), "1"
    )


def _longest(headers: dict[str, str], current_time: datetime, unsaid: str) -> float | None:
    """The longest wait for a limit that is used up; ``unsaid``: what remains of one that does not say so."""
    waits = [_moment(value, current_time) for name, value in headers.items() if _is_used_up(name, headers, unsaid)]
    seconds = [wait for wait in waits if wait is not None]
    return max(seconds) if seconds else None


def _is_used_up(name: str, headers: dict[str, str], unsaid: str) -> bool:
    if "ratelimit" not in name or "reset" not in name:
        return False
    remaining = headers.get(name.replace("reset", "remaining"), unsaid)
    return (_number(remaining) or 0.0) <= 0


def _moment(text: str, current_time: datetime) -> float | None:
    """Seconds from ``current_time``: of a number, a duration (``6m0s``), an HTTP date, an ISO date, or a Unix time."""
    number = _number(text)
    if number is not None:
        # Some services send the Unix time of the reset, in seconds or milliseconds.
        for unit in (1.0, 1000.0):
            if number / unit > 1e9 and number / unit < 1e10:
                return max(0.0, number / unit - current_time.timestamp())
        return max(0.0, number)
    parts = re.findall(r"([0-9.]+)(ms|[smhd])", text)
    if parts and "".join(map("".join, parts)) == text:
        return sum(float(count) * _UNITS[unit] for count, unit in parts)
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            moment = parse(text)
        except (ValueError, TypeError):
            continue
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (moment - current_time).total_seconds())
    return None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if value == value and abs(value) != float("inf") else None
