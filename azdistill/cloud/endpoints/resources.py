"""Endpoints, deployments and connections as Resource Manager keeps them: get, put, delete, wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from azdistill import redact
from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.cloud.workspace.rest import part
from azdistill.errors import ServiceError

Say = Callable[[str], None]
#: Seconds between two looks at something that takes a while: short at first, then patient.
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 15.0
#: Seconds between two lines that say what is being waited for.
_SAY_EVERY = 30.0
#: The service gives up by itself long before.
_MOST_SECONDS = 3 * 3600.0
_ENDED = ("Succeeded", "Failed", "Canceled")
_FAILED = ("Failed", "Canceled")
#: Seconds in which what had failed before may still say so, though its removal has begun.
_GRACE = 60.0


class Resources:
    """What a workspace holds of one teacher's endpoint."""

    def __init__(self, connection: Connection, say: Say) -> None:
        self.connection, self.say = connection, say

    def path(self, kind: str, name: str) -> str:
        """The path of one of a kind: onlineEndpoints, serverlessEndpoints, connections."""
        return f"{self.connection.workspace_id}/{kind}/{part(name)}"

    def deployment(self, endpoint: str, name: str) -> str:
        """The path of a deployment of an online endpoint."""
        return f"{self.path('onlineEndpoints', endpoint)}/deployments/{part(name)}"

    def get(self, path: str) -> dict[str, Any] | None:
        """The resource; None where there is none."""
        with explain(f"looking up {_called(path)}"):
            body: dict[str, Any] | None = self.connection.rest.find(path)
        return body

    def put(self, path: str, body: Mapping[str, Any]) -> None:
        """Make or replace it; what takes a while is not waited for."""
        with explain(f"making {_called(path)}"):
            self.connection.rest.call("PUT", path, body=body)

    def delete(self, path: str) -> None:
        """Remove it and wait until it is gone; what is not there is gone. ServiceError AZD476 where it stays."""
        from azure.core.exceptions import ResourceNotFoundError

        before = self.get(path)
        if before is None:
            return
        with explain(f"removing {_called(path)}"):
            try:
                self.connection.rest.call("DELETE", path)
            except ResourceNotFoundError:
                return
        is_over = _Removal(state(before))
        if (remaining := self._poll(path, f"removing {_called(path)}", is_over)) is not None:
            message = f"{_called(path)} could not be removed: the service ended with {state(remaining)}"
            raise ServiceError(message, code="AZD476", hint="Azure ML studio shows why; then try again")

    def settled(self, path: str) -> dict[str, Any] | None:
        """The resource once nothing is being done to it any more; None where there is none, or none any more."""
        return self._poll(path, f"waiting for {_called(path)}", lambda body: body is None or state(body) in _ENDED)

    def listed(self, kind: str) -> list[dict[str, Any]]:
        """All of one kind in the workspace: onlineEndpoints, serverlessEndpoints, connections."""
        with explain(f"listing {kind}"):
            return self.connection.rest.listed(f"{self.connection.workspace_id}/{kind}")

    def deployments(self, endpoint: str) -> list[dict[str, Any]]:
        """The deployments of an online endpoint; none of one that is gone meanwhile."""
        from azure.core.exceptions import ResourceNotFoundError

        with explain(f"listing the deployments of {endpoint}"), suppress(ResourceNotFoundError):
            return self.connection.rest.listed(f"{self.path('onlineEndpoints', endpoint)}/deployments")
        return []

    def key(self, path: str) -> str:
        """The endpoint's key. It is hidden from all text from here on."""
        with explain(f"asking for the key of {_called(path)}"):
            pair = self.connection.rest.call("POST", f"{path}/listKeys")
        value = str(pair["primaryKey"])
        for key in (value, str(pair.get("secondaryKey") or "")):
            redact.register(key)
        return value

    def logs(self, endpoint: str, deployment: str, lines: int = 30) -> list[str]:
        """The end of what a deployment's server printed; empty where the service has nothing to tell."""
        body = {"containerType": "InferenceServer", "tail": lines}
        with explain(f"reading the log of {deployment}"):
            answer = self.connection.rest.call("POST", f"{self.deployment(endpoint, deployment)}/getLogs", body=body)
        return str((answer or {}).get("content") or "").splitlines()[-lines:]

    def _poll(self, path: str, doing: str, is_over: Callable[[dict[str, Any] | None], bool]) -> dict[str, Any] | None:
        started = reported = time.monotonic()
        pause = _FIRST_WAIT
        while not is_over(body := self.get(path)):
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_WAIT)
            moment = time.monotonic()
            if moment - reported > _SAY_EVERY:
                reported = moment
                self.say(f"{doing}: {state(body).lower()}, {(moment - started) / 60:.0f} min so far")
            if moment - started > _MOST_SECONDS:
                raise ServiceError(f"no end of {doing} after {_MOST_SECONDS / 3600:g} hours", code="AZD476")
        return body


class _Removal:
    """Tells whether a removal is over: the thing is gone, or its state has settled again."""

    def __init__(self, before: str) -> None:
        self._before, self._begun, self._since = before, False, time.monotonic()

    def __call__(self, body: dict[str, Any] | None) -> bool:
        if body is None:
            return True
        current = state(body)
        if current not in _ENDED:
            self._begun = True
            return False
        if self._begun or (current in _FAILED and current != self._before):
            return True
        return current in _FAILED and time.monotonic() - self._since > _GRACE


def state(resource: Mapping[str, Any] | None) -> str:
    """The provisioning state, as the service calls it."""
    properties = (resource or {}).get("properties") or {}
    # Connections have none: they are there at once.
    return str(properties.get("provisioningState") or "Succeeded")


def _called(path: str) -> str:
    kind, name = path.split("/")[-2:]
    return f"the {'endpoint' if kind.endswith('Endpoints') else kind.removesuffix('s')} {name}"
