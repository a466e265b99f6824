"""Resources of one kind: put, get, list, patch, delete, where making and deleting may take a while."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..messages import ArmError, Request, Response, not_found
from .common import listing, merged

if TYPE_CHECKING:
    from ..store import Store
    from ..workspace import Workspace


class Collection:
    """The handlers of one kind at ``{ws}/<kind>/{name}``; subclasses say what is special about it.

    ``kind`` is its segment of the path and its key in the store, ``label`` what messages call it; with ``slow`` putting
    and deleting are long-running operations; ``created`` is the status that making one is answered with.
    """

    kind = ""
    label = ""
    slow = False
    created = 201

    def __init__(self, ws: Workspace) -> None:
        self.ws = ws
        self.install(ws.routes.add)

    def install(self, add: Callable[..., None]) -> None:
        """Add the routes."""
        add("GET", f"{{ws}}/{self.kind}", self.list)
        add("GET", f"{{ws}}/{self.kind}/{{name}}", self.get)
        add("PUT", f"{{ws}}/{self.kind}/{{name}}", self.put)
        add("PATCH", f"{{ws}}/{self.kind}/{{name}}", self.patch)
        add("DELETE", f"{{ws}}/{self.kind}/{{name}}", self.delete)

    # What subclasses may say ---------------------------------------------------------------------------------------

    def key(self, request: Request) -> str:
        """The key of a request's resource in the store."""
        return request.params["name"]

    def admit(self, request: Request, body: dict[str, Any], old: dict[str, Any] | None) -> None:
        """Raise what the service would answer to a body that it does not take."""

    def completed(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        """The body with what the service adds."""
        return body

    def shown(self, resource: dict[str, Any]) -> dict[str, Any]:
        """A resource as a GET answers it."""
        return resource

    def stored(self, request: Request, resource: dict[str, Any]) -> None:
        """What follows when a resource was put."""

    def may_delete(self, request: Request, resource: dict[str, Any]) -> None:
        """Raise what the service would answer to a deletion that it refuses."""

    def deleted(self, request: Request) -> None:
        """What follows when a resource is gone."""

    def selected(self, request: Request) -> list[dict[str, Any]]:
        """The resources that a list holds."""
        return list(self.resources(request).values())

    # The handlers ----------------------------------------------------------------------------------------------------

    def resources(self, request: Request) -> dict[str, dict[str, Any]]:
        """The store's resources of this kind."""
        assert request.store is not None
        return request.store[self.kind]

    def list(self, request: Request) -> Response:
        """A page of them."""
        with self.ws.lock:
            found = self.selected(request)
            for one in found:
                self.ws.operations.look(one["id"])
            return listing(request, [self.shown(one) for one in found], self.ws.settings)

    def get(self, request: Request) -> Response:
        """One of them."""
        with self.ws.lock:
            resource = self.find(request)
            self.ws.operations.look(resource["id"])
            return Response(self.shown(self.find(request)))

    def find(self, request: Request) -> dict[str, Any]:
        """The resource that a request names, or 404."""
        found = self.resources(request).get(self.key(request))
        if found is None:
            raise not_found(self.label, self.key(request))
        return found

    def put(self, request: Request) -> Response:
        """Make or replace one."""
        return self._write(request, request.json())

    def patch(self, request: Request) -> Response:
        """Change a part of one."""
        resource = self.find(request)
        kept = {field: value for field, value in resource.items() if field not in ("id", "name", "type", "systemData")}
        return self._write(request, merged(kept, request.json()))

    def delete(self, request: Request) -> Response:
        """Delete one; what is not there is answered with 204."""
        with self.ws.lock:
            resource = self.resources(request).get(self.key(request))
            if resource is None:
                return Response(status=204)
            self.may_delete(request, resource)
            headers = self._start_deleting(request, resource)
            return Response(status=202 if headers else 200, headers=headers)

    def _start_deleting(self, request: Request, resource: dict[str, Any]) -> dict[str, str]:
        def gone() -> None:
            if left := self.ws.settings.deletion_states.get(self.kind):
                resource["properties"]["provisioningState"] = left
                return
            self.resources(request).pop(self.key(request), None)
            self.deleted(request)

        if not self.slow:
            gone()
            return {}
        resource["properties"]["provisioningState"] = "Deleting"
        return self.ws.operations.start(resource["id"], gone)

    def _write(self, request: Request, body: dict[str, Any]) -> Response:
        with self.ws.lock:
            old = self.resources(request).get(self.key(request))
            if old is not None and self.slow and self.ws.operations.busy(old["id"]):
                raise ArmError(409, "Conflict", f"{self.label} '{self.key(request)}' is being changed.")
            self.admit(request, body, old)
            resource = self.store(request, self.completed(request, body))
            headers = self._provision(resource, "Updating" if old else "Creating") if self.slow else {}
            self.stored(request, resource)
            return Response(self.shown(resource), 200 if old else self.created, headers)

    def store(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Put a body into the store."""
        store: Store | None = request.store
        assert store is not None
        return store.put(self.kind, self.key(request), body)

    def _provision(self, resource: dict[str, Any], state: str) -> dict[str, str]:
        error = self.ws.settings.provisioning_errors.get(self.kind)

        def over() -> None:
            resource["properties"]["provisioningState"] = "Failed" if error else "Succeeded"

        resource["properties"]["provisioningState"] = state
        return self.ws.operations.start(resource["id"], over, error)
