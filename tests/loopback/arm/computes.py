"""Compute clusters and instances, the sizes that the region has, and the quota that is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..messages import ArmError, Request, Response
from .common import listing

if TYPE_CHECKING:
    from ..workspace import Workspace


def install(ws: Workspace) -> None:
    """Add the routes, and a cluster called ``cpu-cluster``."""
    add_compute(ws, "cpu-cluster")

    def find(request: Request) -> dict[str, Any]:
        assert request.store is not None
        compute = request.store["computes"].get(request.params["name"])
        if compute is None:
            message = f"The compute '{request.params['name']}' could not be found in workspace."
            raise ArmError(404, "ComputeNotFound", message)
        return compute

    ws.routes.add("GET", "{ws}/computes", lambda request: listing(request, ws.store["computes"].values(), ws.settings))
    ws.routes.add("GET", "{ws}/computes/{name}", lambda request: Response(find(request)))


def add_compute(ws: Workspace, name: str, size: str = "STANDARD_DS3_V2", **settings: Any) -> dict[str, Any]:
    """Let the workspace have a cluster; see ``Workspace.add_compute``."""
    scale = {"minNodeCount": settings.pop("min_nodes", 0), "maxNodeCount": settings.pop("max_nodes", 4)}
    properties = {
        "vmSize": size,
        "vmPriority": settings.pop("priority", "Dedicated"),
        "scaleSettings": {**scale, "nodeIdleTimeBeforeScaleDown": "PT120S"},
        "allocationState": "Steady",
    }
    body = {
        "location": ws.location,
        "properties": {
            "computeType": settings.pop("type", "AmlCompute"),
            "computeLocation": ws.location,
            "provisioningState": settings.pop("state", "Succeeded"),
            "properties": {**properties, **settings},
        },
    }
    return ws.store.put("computes", name, body)
