"""Names, tags and expiry: how azdistill finds what it made again, and tells it from what others made."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Any

from azdistill.errors import UserError

#: The tag that makes an endpoint, deployment or connection ours: the endpoint's name.
OWNER = "azdistill.endpoint"
EXPIRES = "azdistill.expires"
TEACHER = "azdistill.teacher"
#: What a deployment was made from: the sha256 of its settings.
SPEC = "azdistill.spec"
VERSION = "azdistill.version"
#: The only deployment of an endpoint of ours.
DEPLOYMENT = "teacher"
#: A connection's name has 33 characters at most, and ours is ``azdistill-<endpoint>``.
_LONGEST = 23
_PREFIX = "azdistill-"
_UNITS = {"m": 1 / 60, "h": 1.0, "d": 24.0}
#: Longer than this is no longer "for a while".
_MOST_HOURS = 24.0 * 90


def endpoint_name(teacher: str, workspace_id: str) -> str:
    """The same teacher in the same workspace has the same name; it differs among workspaces, as a region wants it."""
    digest = hashlib.sha256(workspace_id.lower().encode()).hexdigest()[:6]
    slug = re.sub(r"[^a-z0-9]+", "-", teacher.lower()).strip("-")[: _LONGEST - len("azd--") - len(digest)]
    return f"azd-{slug.strip('-')}-{digest}"


def checked_name(name: str) -> str:
    """``name``, or UserError AZD481 where the service would refuse it."""
    if len(name) <= _LONGEST and re.fullmatch(r"[A-Za-z](?:-?[A-Za-z0-9]){2,}", name):
        return name
    raise UserError(
        f"'{name}' cannot be an endpoint's name",
        code="AZD481",
        hint=f"3 to {_LONGEST} letters, digits and single dashes, the first a letter and the last no dash",
    )


def connection_name(endpoint: str) -> str:
    """The connection that holds the endpoint's key."""
    return f"{_PREFIX}{endpoint}"


def tags_of(endpoint: str, teacher: str, expires: str) -> dict[str, str]:
    """The tags of everything that is made for an endpoint."""
    return {OWNER: endpoint, TEACHER: teacher, EXPIRES: expires, VERSION: version("azdistill")}


def tags(resource: Mapping[str, Any] | None) -> dict[str, str]:
    """The tags of a resource; a connection keeps them in its metadata."""
    if not resource:
        return {}
    metadata = (resource.get("properties") or {}).get("metadata")
    return {**(metadata if isinstance(metadata, dict) else {}), **(resource.get("tags") or {})}


def is_ours(resource: Mapping[str, Any] | None) -> bool:
    """Whether azdistill made it."""
    return OWNER in tags(resource)


def now() -> datetime:
    """The time, in one place."""
    return datetime.now(UTC)


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


def expires(hours: float) -> str:
    """The moment ``hours`` from now as our tags write it: UTC, whole seconds."""
    return (now() + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
