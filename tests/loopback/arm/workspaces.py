"""The workspace itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..messages import ArmError, Request, Response
from .common import listing

if TYPE_CHECKING:
    from ..store import Store
    from ..workspace import Workspace


def install(ws: Workspace) -> None:
    """Add the routes."""

    def all_of_them(request: Request) -> Response:
        found = [described(ws, store) for store in ws.stores.values() if "/workspaces/" in store.scope]
        return listing(request, found, ws.settings)

    def change(request: Request) -> Response:
        assert request.store is not None
        request.store["changed"].setdefault("workspace", {}).update(request.json().get("properties") or {})
        return Response(described(ws, request.store))

    def subscription(_: Request) -> Response:
        return Response(_subscription(ws))

    def group(request: Request) -> Response:
        if request.params["group"].lower() != ws.group.lower():
            message = f"Resource group '{request.params['group']}' could not be found."
            raise ArmError(404, "ResourceGroupNotFound", message)
        id_ = f"/subscriptions/{ws.subscription_id}/resourceGroups/{ws.group}"
        return Response({"id": id_, "name": ws.group, "location": ws.location, "properties": {}})

    ws.routes.add("GET", "/subscriptions", lambda request: listing(request, [_subscription(ws)], ws.settings))
    ws.routes.add("GET", "{sub}", subscription)
    ws.routes.add("GET", "{sub}/resourceGroups/{group}", group)
    ws.routes.add("GET", "{ws}", lambda request: Response(described(ws, request.store)))
    ws.routes.add("PATCH", "{ws}", change)
    scopes = ("{sub}", "{sub}/resourceGroups/{group}")
    for scope in scopes:
        ws.routes.add("GET", f"{scope}/providers/Microsoft.MachineLearningServices/workspaces", all_of_them)


def _subscription(ws: Workspace) -> dict[str, Any]:
    names = {"displayName": "Loopback", "state": "Enabled", "tenantId": ws.tenant_id}
    return {"id": f"/subscriptions/{ws.subscription_id}", "subscriptionId": ws.subscription_id, **names}


def described(ws: Workspace, store: Store | None) -> dict[str, Any]:
    """A workspace as a GET answers it."""
    assert store is not None
    name = store.scope.rpartition("/")[2]
    group = store.scope.partition("/providers/")[0]
    properties = {
        "friendlyName": name,
        "description": "A workspace on loopback",
        "workspaceId": ws.guid,
        "tenantId": ws.tenant_id,
        "provisioningState": "Succeeded",
        "discoveryUrl": f"{ws.url}/discovery/workspaces/{ws.guid}",
        "mlFlowTrackingUri": f"azureml://{ws.url.removeprefix('https://')}/mlflow/v1.0{store.scope}",
        "storageAccount": f"{group}/providers/Microsoft.Storage/storageAccounts/loopback",
        "keyVault": f"{group}/providers/Microsoft.Keyvault/vaults/loopback",
        "applicationInsights": f"{group}/providers/Microsoft.insights/components/loopback",
        "containerRegistry": f"{group}/providers/Microsoft.ContainerRegistry/registries/loopback",
        "hbiWorkspace": False,
        "publicNetworkAccess": "Enabled",
        "v1LegacyMode": False,
        "systemDatastoresAuthMode": "identity" if ws.identity_storage else "accesskey",
        **store["changed"].get("workspace", {}),
    }
    return {
        "id": store.scope,
        "name": name,
        "type": "Microsoft.MachineLearningServices/workspaces",
        "location": ws.location,
        "kind": "Default",
        "sku": {"name": "Basic", "tier": "Basic"},
        "tags": {},
        "identity": {"type": "SystemAssigned", "tenantId": ws.tenant_id, "principalId": ws.guid},
        "properties": properties,
    }
