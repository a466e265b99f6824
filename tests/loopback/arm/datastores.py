"""Datastores: where blobs are, and what opens them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..messages import Request, Response, not_found
from .common import listing

if TYPE_CHECKING:
    from ..workspace import Workspace


def install(ws: Workspace) -> None:
    """Add the routes; the standard datastores are there from the start."""
    ws.routes.add("GET", "{ws}/datastores", lambda request: _list(ws, request))
    ws.routes.add("GET", "{ws}/datastores/{name}", lambda request: Response(_find(ws, request)))
    ws.routes.add("PUT", "{ws}/datastores/{name}", lambda request: _put(ws, request))
    ws.routes.add("DELETE", "{ws}/datastores/{name}", lambda request: _delete(ws, request))
    ws.routes.add("POST", "{ws}/datastores/{name}/listSecrets", lambda request: _secrets(ws, request))
    for name, container in (("workspaceblobstore", "azureml-blobstore"), ("workspaceartifactstore", "azureml")):
        add_datastore(ws, name, container, default=name == "workspaceblobstore")


def add_datastore(ws: Workspace, name: str, container: str, *, default: bool = False) -> dict[str, Any]:
    """Let the workspace have a blob datastore."""
    kind = "None" if ws.identity_storage else "Sas"
    properties = {
        "datastoreType": "AzureBlob",
        "containerName": container,
        "endpoint": "core.windows.net",
        "protocol": "https",
        "isDefault": default,
        "credentials": {"credentialsType": kind},
        "serviceDataAccessAuthIdentity": "None",
        "description": None,
        "tags": {},
        "properties": {},
    }
    return ws.store.put("datastores", name, {"properties": properties})


def _find(ws: Workspace, request: Request) -> dict[str, Any]:
    assert request.store is not None
    found = request.store["datastores"].get(request.params["name"])
    if found is None:
        raise not_found("Datastore", request.params["name"])
    return _addressed(ws, found)


def _addressed(ws: Workspace, datastore: dict[str, Any]) -> dict[str, Any]:
    # The SDK makes https://<account>.blob.<endpoint>/ of it, which so leads to this server.
    account = {"accountName": ws.blobs.account_host}
    return {**datastore, "properties": {**datastore["properties"], **account}}


def _list(ws: Workspace, request: Request) -> Response:
    assert request.store is not None
    found = [_addressed(ws, one) for one in request.store["datastores"].values()]
    if request.query.get("isDefault", "").lower() == "true":
        found = [one for one in found if one["properties"]["isDefault"]]
    return listing(request, found, ws.settings)


def _put(ws: Workspace, request: Request) -> Response:
    assert request.store is not None
    body = request.json()
    properties = {"isDefault": False, **(body.get("properties") or {})}
    # A key or signature is kept nowhere: what opens a datastore here is a signature made when it is asked for.
    kind = (properties.get("credentials") or {}).get("credentialsType", "None")
    properties["credentials"] = {"credentialsType": "None" if ws.identity_storage else kind}
    made = request.store.put("datastores", request.params["name"], {**body, "properties": properties})
    return Response(_addressed(ws, made), 201)


def _delete(ws: Workspace, request: Request) -> Response:
    _find(ws, request)
    assert request.store is not None
    del request.store["datastores"][request.params["name"]]
    return Response(status=200)


def _secrets(ws: Workspace, request: Request) -> Response:
    datastore = _find(ws, request)
    if datastore["properties"]["credentials"]["credentialsType"] == "None":
        return Response({"secretsType": "None"})
    return Response({"secretsType": "Sas", "sasToken": ws.blobs.sas()})
