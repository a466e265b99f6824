"""Registries: where they are, and that they have assets as a workspace has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..messages import ArmError, Request, Response
from .assets import KINDS, Assets

if TYPE_CHECKING:
    from ..store import Store
    from ..workspace import Workspace

DATA_PLANE = "/mferp/managementfrontend{registry}"


def install(ws: Workspace) -> None:
    """Add the routes, on ARM and on the address that discovery gives."""

    def discovery(request: Request) -> Response:
        store = _known(ws, request.params["name"])
        return Response(
            {
                "registryName": store.scope.rpartition("/")[2],
                "primaryRegion": ws.location,
                "primaryRegionResourceProviderUri": f"{ws.url}/",
                "regions": [ws.location],
                "subscriptionId": ws.subscription_id,
                "resourceGroup": ws.group,
                "tenantId": ws.tenant_id,
            }
        )

    ws.routes.add("GET", "/registrymanagement/v1.0/registries/{name}/discovery", discovery)
    ws.routes.add("GET", "{registry}", lambda request: Response(_described(ws, request.store)))
    for kind in KINDS:
        assets = Assets(ws, kind)
        assets.install(DATA_PLANE)
        assets.install("{registry}")


def _known(ws: Workspace, name: str) -> Store:
    store = ws.stores.get(ws.scope_path(name, registry=True).lower())
    if store is None:
        raise ArmError(404, "RegistryNotFound", f"Registry {name} was not found.")
    return store


def _described(ws: Workspace, store: Store | None) -> dict[str, Any]:
    assert store is not None
    details = [{"location": ws.location, "acrDetails": [], "storageAccountDetails": []}]
    return {
        "id": store.scope,
        "name": store.scope.rpartition("/")[2],
        "type": "Microsoft.MachineLearningServices/registries",
        "location": ws.location,
        "tags": {},
        "identity": {"type": "SystemAssigned"},
        "properties": {
            "discoveryUrl": f"{ws.url}/registrymanagement/v1.0/registries/{store.scope.rpartition('/')[2]}/discovery",
            "mlFlowRegistryUri": f"azureml://{ws.url.removeprefix('https://')}/mlflow/v2.0{store.scope}",
            "publicNetworkAccess": "Enabled",
            "regionDetails": details,
        },
    }
