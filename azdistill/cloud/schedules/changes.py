"""Changes to schedules that exist: enable, disable, trigger, delete."""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from azdistill.aml.expressions import TRIGGER_TIME, fill
from azdistill.cloud.schedules import resource
from azdistill.cloud.schedules.request import SCHEDULE
from azdistill.cloud.schedules.resource import TRIGGER_API, Stored, path_of
from azdistill.cloud.submit.submit import PASSING, arrived, stamped
from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.cloud.workspace.quiet import hushed
from azdistill.errors import ServiceError, UserError, did_you_mean


@dataclass(frozen=True)
class Triggered:
    """A run that was started by hand; ``how`` says by which way."""

    name: str
    how: str
    studio_url: str


def enable(
    connection: Connection, name: str, *, enabled: bool, foreign_hint: str = "change it where it was made"
) -> bool:
    """Let a schedule fire, or not; whether that was a change."""
    stored = resource.mine(resource.get(connection, name), foreign_hint)
    if stored.enabled == enabled:
        return False
    body = copy.deepcopy(dict(stored.body))
    body["properties"]["isEnabled"] = enabled
    body["properties"].pop("provisioningState", None)
    doing = f"{'enabling' if enabled else 'disabling'} the schedule {stored.name}"
    resource.write(connection, stored.name, body, doing)
    return True


def delete(connection: Connection, name: str) -> None:
    """Disable, then delete, then wait until it is gone. What a killed one left is deleted by the next."""
    # An enabled schedule is not deleted by the service.
    enable(connection, name, enabled=False, foreign_hint="delete it where it was made")
    doing = f"deleting the schedule {name}"
    with explain(doing):
        connection.rest.call("DELETE", path_of(connection, name), api_version=resource.API)
    resource.wait(lambda: resource.find(connection, name) is None, doing)


def trigger(connection: Connection, name: str, sets: Mapping[str, str], now: datetime) -> Triggered:
    """Start what the schedule starts, now.

    The service's own call does it as it stands; with ``sets`` it takes no part, and the schedule's job is submitted
    afresh with these inputs in the place of its own. Where the answer is lost, the run is looked for: ServiceError
    AZD453, which says that there may be one, where none is found.
    """
    stored = resource.get(connection, name)
    if sets:
        return _submit(connection, stored, sets, now)
    before = set(resource.names_of(connection, stored))
    try:
        job = _fire(connection, name, now)
    except ServiceError as error:
        if error.code not in _LOST:
            raise
        started = _started_since(connection, stored, before)
        if started is None:
            doubt = "the schedule may have been triggered all the same, no new run of it is listed so far"
            hint = f"azdistill schedule show {name} lists its runs: look there before triggering it again"
            raise ServiceError(f"{error.message}; {doubt}", code="AZD453", hint=hint) from error
        job = started
    return Triggered(job, "by the schedule itself", connection.studio_url(job))


#: A service that failed, or whose answer did not come: what was asked for may have been done.
_LOST = ("AZD407", "AZD408")
#: How often the runs are looked at after that; a new one may not be listed at once.
_LOOKS = 3


def _fire(connection: Connection, name: str, now: datetime) -> str:
    """Ask once: each request that arrives starts a run."""
    doing = f"triggering the schedule {name}"
    with explain(doing):
        body = {"scheduleTime": now.astimezone(UTC).isoformat()}
        path = f"{path_of(connection, name)}/trigger"
        answer = connection.rest.call("POST", path, api_version=TRIGGER_API, body=body, once=True) or {}
    job = str(answer.get("submissionId") or "")
    if not job:
        raise ServiceError(f"no run was named while {doing}", code="AZD407")
    return job


def _started_since(connection: Connection, stored: Stored, before: set[str]) -> str | None:
    for look in range(_LOOKS):
        if look:
            time.sleep(resource.POLL)
        with contextlib.suppress(ServiceError):
            if started := [name for name in resource.names_of(connection, stored) if name not in before]:
                return started[-1]
    return None


def _submit(connection: Connection, stored: Stored, sets: Mapping[str, str], now: datetime) -> Triggered:
    definition = (stored.properties.get("action") or {}).get("jobDefinition") or {}
    inputs = list(definition.get("inputs") or {})
    for name in sets:
        if name not in inputs:
            message = f"--set {name}: the schedule's pipeline has no input '{name}'"
            raise UserError(message, code="AZD361", hint=did_you_mean(name, inputs))
    moment = now.astimezone(UTC)
    doing = f"submitting what {stored.name} starts"
    with explain(doing), hushed():
        job: Any = connection.ml_client.schedules.get(stored.name).create_job
        _set_inputs(job, sets, f"{moment:%Y-%m-%dT%H:%M:%SZ}")
        job.name = stamped(stored.name[:40], moment)
        job.display_name = f"{stored.name}-{moment:%Y%m%dT%H%M%SZ}"
        job.tags = {**(job.tags or {}), SCHEDULE: stored.name, "azdistill.triggered": "by hand"}
    try:
        with explain(doing), hushed():
            connection.ml_client.jobs.create_or_update(job)
    except ServiceError as error:
        if error.code not in PASSING or not arrived(connection, job.name):
            raise
    return Triggered(job.name, "as a fresh submission, with its inputs changed", connection.studio_url(job.name))


def _set_inputs(job: Any, sets: Mapping[str, str], moment: str) -> None:
    """Put values into the inputs of the SDK's job, whose own way of assigning keeps only the types of nodes."""
    for name, declared in job.inputs.items():
        data: Any = declared._data
        if name in sets and hasattr(data, "path"):
            data.path = sets[name]
        elif name in sets:
            declared._data = sets[name]
        elif isinstance(data, str):
            declared._data = fill(data, {TRIGGER_TIME: moment})
