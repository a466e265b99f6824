"""The workspace itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..messages import Request, Response
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

    ws.routes.add("GET", "{ws}", lambda request: Response(described(ws, request.store)))
    ws.routes.add("PATCH", "{ws}", change)
    scopes = ("{sub}", "{sub}/resourceGroups/{group}")
    for scope in scopes:
        ws.routes.add("GET", f"{scope}/providers/Microsoft.MachineLearningServices/workspaces", all_of_them)


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
