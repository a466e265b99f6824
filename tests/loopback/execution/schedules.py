"""Schedules that fire on the workspace's clock: each firing submits the job that the schedule holds."""

from __future__ import annotations

import copy
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..messages import ArmError
from . import firing
from .clock import Clock

if TYPE_CHECKING:
    from ..workspace import Workspace
    from .jobs import Jobs

_TRIGGER_TIME = "${{creation_context.trigger_time}}"


@dataclass
class _Plan:
    """What is known of a schedule: what fires next, and which trigger that was worked out of."""

    trigger: dict[str, Any]
    times: Iterator[datetime]
    next: datetime | None


class Schedules:
    """The schedules of a workspace. ``fired`` lists what they started: (schedule, time, job)."""

    def __init__(self, workspace: Workspace, jobs: Jobs) -> None:
        self._workspace, self._jobs, self._lock = workspace, jobs, threading.RLock()
        self._plans: dict[str, _Plan] = {}
        self.fired: list[tuple[str, datetime, str]] = []
        workspace.clock = self.clock = Clock(workspace.clock)
        self.clock.on_move = self._move
        workspace.on("schedule_put", self.put)
        workspace.on("schedule_deleted", lambda name: self._plans.pop(name, None))
        workspace.on("schedule_trigger", self.trigger)

    def put(self, name: str, resource: dict[str, Any]) -> None:
        """A schedule was made or changed. One that says no start fires as it is made, if it is enabled."""
        trigger = resource["properties"]["trigger"]
        firing.check(trigger)
        known = self._plans.get(name)
        if known and known.trigger == trigger:
            return
        times = firing.firings(trigger, self.clock.now)
        plan = self._plans[name] = _Plan(copy.deepcopy(trigger), times, next(times, None))
        if known and not trigger.get("startTime"):
            # Only making it fires at once; what follows is counted from the change.
            plan.next = next(times, None)
        self._move(self.clock.now)

    def trigger(self, name: str, time: str | None) -> str:
        """Fire once, now; the name of the job."""
        moment = datetime.fromisoformat(time.replace("Z", "+00:00")).astimezone(UTC) if time else self.clock.now
        return self._fire(name, moment)

    def _move(self, until: datetime) -> list[str]:
        """Fire everything that is due, in the order of time; disabled schedules let their times pass."""
        with self._lock:
            return list(self._due(until))

    def _due(self, until: datetime) -> Iterator[str]:
        while due := [(plan.next, name) for name, plan in self._plans.items() if plan.next and plan.next <= until]:
            moment, name = min(due)
            plan = self._plans[name]
            plan.next = next(plan.times, None)
            self.clock.now = max(self.clock.now, moment)
            if self._resource(name)["properties"].get("isEnabled", True):
                yield self._fire(name, moment)

    def _resource(self, name: str) -> dict[str, Any]:
        return self._workspace.store["schedules"][name]

    def _fire(self, name: str, moment: datetime) -> str:
        resource = self._resource(name)
        job = f"{name[:40]}_{uuid.uuid4().hex[:12]}"
        properties = self._definition(resource["properties"]["action"])
        self._filled(properties, job, moment)
        properties["displayName"] = f"{name}-{moment:%Y%m%dT%H%M%SZ}"
        properties["properties"] = {
            **(properties.get("properties") or {}),
            "azureml.scheduleid": resource["id"],
            "azureml.schedulename": name,
            "azureml.scheduletriggertime": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        }
        properties |= {"isScheduled": True, "scheduleId": resource["id"]}
        self._jobs.put(job, properties)
        self.fired.append((name, moment, job))
        return job

    def _definition(self, action: dict[str, Any]) -> dict[str, Any]:
        """The job that an action creates; one that copies another job takes from it what it does not say itself."""
        kind = action.get("actionType")
        if kind != "CreateJob":
            raise ArmError(400, "UserError", f"Actions of type {kind} are not fired in this workspace.")
        definition: dict[str, Any] = copy.deepcopy(action["jobDefinition"])
        source = definition.pop("sourceJobId", None)
        if source:
            original = self._workspace.store["jobs"].get(source.rpartition("/")[2])
            if original is None:
                raise ArmError(404, "NotFound", f"Job {source} was not found.")
            told = {key: value for key, value in definition.items() if value not in (None, {}, [])}
            definition = {**copy.deepcopy(original["properties"]), **told}
        return definition

    def _filled(self, properties: dict[str, Any], job: str, moment: datetime) -> None:
        """What the service puts in place of its two expressions."""
        for given in (properties.get("inputs") or {}).values():
            if isinstance((given or {}).get("value"), str):
                given["value"] = given["value"].replace(_TRIGGER_TIME, f"{moment:%Y-%m-%dT%H:%M:%SZ}")
        for given in (properties.get("outputs") or {}).values():
            if (given or {}).get("uri"):
                given["uri"] = given["uri"].replace("${{name}}", job)
