"""Schedules: stored here; what fires them listens to the workspace's events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..messages import ArmError, Request, Response, invalid
from ..strict import problems_of_job
from .collection import Collection


class Schedules(Collection):
    """Schedules are enabled unless the body says otherwise, and listed so; see ``listViewType``."""

    kind, label, slow = "schedules", "Schedule", True

    def install(self, add: Callable[..., None]) -> None:
        """Add the routes."""
        super().install(add)
        add("POST", "{ws}/schedules/{name}/trigger", self.trigger)

    def selected(self, request: Request) -> list[dict[str, Any]]:
        """Enabled ones (the default), disabled ones, or all."""
        view = request.query.get("listViewType", "EnabledOnly")
        found = super().selected(request)
        if view == "All":
            return found
        return [one for one in found if bool(one["properties"]["isEnabled"]) is (view == "EnabledOnly")]

    def completed(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        """A schedule is enabled unless it says otherwise."""
        properties = body.get("properties", {})
        enabled = properties.get("isEnabled")
        return {**body, "properties": {**properties, "isEnabled": True if enabled is None else enabled}}

    def admit(self, request: Request, body: dict[str, Any], old: dict[str, Any] | None) -> None:
        """A schedule needs a trigger and an action, whose job is checked as a job is."""
        properties = body.get("properties") or {}
        for needed in ("trigger", "action"):
            if not properties.get(needed):
                raise ArmError(400, "UserError", f"The {needed} field is required.")
        expression = properties["trigger"].get("expression")
        if properties["trigger"].get("triggerType") == "Cron" and len(str(expression).split()) != 5:
            raise ArmError(400, "UserError", f"'{expression}' is no cron expression of five fields.")
        problems = problems_of_job(self.ws, properties["action"].get("jobDefinition") or {})
        if problems:
            raise invalid(f"The job of schedule {request.params['name']}", problems)

    def stored(self, request: Request, resource: dict[str, Any]) -> None:
        """Tell who fires schedules."""
        self.ws.emit("schedule_put", request.params["name"], resource)

    def may_delete(self, request: Request, resource: dict[str, Any]) -> None:
        """An enabled schedule is not deleted (documented; the wording is ours)."""
        if resource["properties"]["isEnabled"]:
            message = f"Cannot delete schedule {request.params['name']}: it is enabled. Disable it before deleting it."
            raise ArmError(400, "UserError", message)

    def deleted(self, request: Request) -> None:
        """Tell who fires schedules."""
        self.ws.emit("schedule_deleted", request.params["name"])

    def trigger(self, request: Request) -> Response:
        """Fire once; the first that answers the event with a job's name has done it."""
        self.find(request)
        answers = self.ws.emit("schedule_trigger", request.params["name"], request.json().get("scheduleTime"))
        job = next((answer for answer in answers if answer), None)
        if job is None:
            raise ArmError(400, "UserError", "Nothing fires schedules here: the workspace was made with execute=False.")
        return Response({"submissionId": job, "scheduleActionType": "CreateJob"})
