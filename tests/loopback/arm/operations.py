"""Long-running operations: an answer at once, an address to poll, and a state that changes behind it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..messages import ArmError, Request, Response

if TYPE_CHECKING:
    from ..workspace import Workspace

PATH = "/subscriptions/{subscription}/providers/Microsoft.MachineLearningServices/locations/{location}"


@dataclass
class Operation:
    """One operation on a resource (``target``, an ARM id); it is over after so many ``polls``."""

    target: str
    polls: int
    finish: Callable[[], None]
    error: tuple[str, str] | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    done: bool = False

    @property
    def status(self) -> str:
        """As Azure-AsyncOperation answers it."""
        return "InProgress" if not self.done else "Failed" if self.error else "Succeeded"

    def poll(self) -> None:
        """Time passes."""
        self.polls -= 1
        if self.polls <= 0 and not self.done:
            self.done = True
            self.finish()


class Operations:
    """The operations of a server; looking at a resource is a poll of its operations too."""

    def __init__(self, ws: Workspace) -> None:
        self._ws = ws
        self.all: dict[str, Operation] = {}
        ws.routes.add("GET", PATH + "/mfeOperationsStatus/{id}", self._status)
        ws.routes.add("GET", PATH + "/mfeOperationResults/{id}", self._result)

    def start(self, target: str, finish: Callable[[], None], error: tuple[str, str] | None = None) -> dict[str, str]:
        """Begin an operation; returns the headers to answer with (none where it is over at once)."""
        operation = Operation(target.lower(), self._ws.settings.polls, finish, error)
        if operation.polls <= 0:
            operation.poll()
            if error:
                raise ArmError(400, *error)
            return {}
        self.all[operation.id] = operation
        path = PATH.format(subscription=self._ws.subscription_id, location=self._ws.location)
        query = "api-version=2024-01-01-preview"
        return {
            "Azure-AsyncOperation": f"{self._ws.url}{path}/mfeOperationsStatus/{operation.id}?{query}",
            "Location": f"{self._ws.url}{path}/mfeOperationResults/{operation.id}?{query}",
            "x-ms-async-operation-timeout": "PT1H",
            **self._soon(),
        }

    def look(self, target: str) -> None:
        """Someone asks for a resource."""
        with self._ws.lock:
            for operation in self.all.values():
                if operation.target == target.lower() and not operation.done:
                    operation.poll()

    def busy(self, target: str) -> bool:
        """Whether an operation on a resource is under way."""
        return any(one.target == target.lower() and not one.done for one in self.all.values())

    def _status(self, request: Request) -> Response:
        operation = self._polled(request)
        answer: dict[str, Any] = {"id": request.path, "name": operation.id, "status": operation.status}
        if operation.done and operation.error:
            code, message = operation.error
            answer["error"] = {"code": code, "message": message, "details": []}
        return Response(answer, headers=self._soon())

    def _result(self, request: Request) -> Response:
        operation = self._polled(request)
        if not operation.done:
            return Response(status=202, headers={"Location": request.url, **self._soon()})
        if operation.error:
            raise ArmError(400, *operation.error)
        return Response(status=200)

    def _polled(self, request: Request) -> Operation:
        operation = self.all.get(request.params["id"])
        if operation is None:
            raise ArmError(404, "OperationNotFound", f"No operation '{request.params['id']}'.")
        with self._ws.lock:
            operation.poll()
        return operation

    def _soon(self) -> dict[str, str]:
        return {"x-ms-retry-after-ms": str(self._ws.settings.poll_after_ms)}
