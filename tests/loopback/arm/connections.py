"""Connections: their secrets come out of ``listsecrets`` only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..messages import ArmError, Request, Response
from .collection import Collection


class Connections(Collection):
    """Connections of a workspace."""

    kind, label, created = "connections", "Connection", 200

    def install(self, add: Callable[..., None]) -> None:
        """Add the routes."""
        add("POST", "{ws}/connections/{name}/listsecrets", self.secrets)
        super().install(add)

    def admit(self, request: Request, body: dict[str, Any], old: dict[str, Any] | None) -> None:
        """A connection says how it authenticates and to what."""
        properties = body.get("properties") or {}
        for needed in ("authType", "category"):
            if not properties.get(needed):
                raise ArmError(400, "ValidationError", f"The {needed} field is required.")

    def completed(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        """What the service adds."""
        added = {"isSharedToAll": False, "metadata": {}, "sharedUserList": []}
        group = {"group": "ServerlessEndpoint" if body["properties"]["category"] == "Serverless" else "AzureAI"}
        return {**body, "properties": {**added, **group, **body["properties"]}}

    def selected(self, request: Request) -> list[dict[str, Any]]:
        """All, or those of a category."""
        category = request.query.get("category", "").lower()
        found = super().selected(request)
        return [one for one in found if category in ("", one["properties"]["category"].lower())]

    def shown(self, resource: dict[str, Any]) -> dict[str, Any]:
        """Without its secret."""
        return {**resource, "properties": {**resource["properties"], "credentials": None}}

    def secrets(self, request: Request) -> Response:
        """With its secret."""
        return Response(self.find(request))
