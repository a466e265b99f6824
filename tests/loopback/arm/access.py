"""What the caller may do: permissions, role assignments; and Key Vault."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from ..messages import Request, Response, ServiceError

if TYPE_CHECKING:
    from ..workspace import Workspace

ROLES = {
    "f6c7c914-8db3-469d-8ca1-694a8f32e121": "AzureML Data Scientist",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
}


def install(ws: Workspace) -> None:
    """Add the routes."""
    where = "{scope...}/providers/Microsoft.Authorization"
    ws.routes.add("GET", f"{where}/permissions", lambda request: _permissions(ws))
    ws.routes.add("GET", f"{where}/roleAssignments", lambda request: _assignments(ws, request))
    ws.routes.add("GET", f"{where}/roleDefinitions/{{role}}", _definition)
    for path in ("/keyvault/{vault}/secrets/{name}", "/keyvault/{vault}/secrets/{name}/{version}"):
        ws.routes.add("GET", path, lambda request: _secret(ws, request), guard="vault")


def _permissions(ws: Workspace) -> Response:
    settings = ws.settings
    allowed = {"actions": settings.actions, "notActions": settings.not_actions}
    return Response({"value": [{**allowed, "dataActions": settings.data_actions, "notDataActions": []}]})


def _assignments(ws: Workspace, request: Request) -> Response:
    return Response({"value": [_assignment(ws, request, role) for role in ws.roles]})


def _assignment(ws: Workspace, request: Request, role: str) -> dict[str, Any]:
    scope = "/" + request.params["scope"].strip("/")
    definition = f"/subscriptions/{ws.subscription_id}/providers/Microsoft.Authorization/roleDefinitions/{role}"
    properties = {"roleDefinitionId": definition, "principalId": request.claims.get("oid"), "scope": scope}
    name = str(uuid.uuid5(uuid.NAMESPACE_URL, scope + role))
    id_ = f"{scope}/providers/Microsoft.Authorization/roleAssignments/{name}"
    return {"id": id_, "name": name, "type": "Microsoft.Authorization/roleAssignments", "properties": properties}


def _definition(request: Request) -> Response:
    role = request.params["role"]
    return Response({"id": request.path, "name": role, "properties": {"roleName": ROLES.get(role, "Custom")}})


def _secret(ws: Workspace, request: Request) -> Response:
    vault, name = request.params["vault"], request.params["name"]
    value = ws.vaults.get(vault, {}).get(name)
    if value is None:
        message = f"A secret with (name/id) {name} was not found in this key vault."
        raise ServiceError(404, "SecretNotFound", message)
    return Response({"value": value, "id": f"{request.base}/keyvault/{vault}/secrets/{name}/1"})
