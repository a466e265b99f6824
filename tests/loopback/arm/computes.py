"""Compute clusters and instances, the sizes that the region has, and the quota that is left."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..messages import ArmError, Request, Response, not_found
from .collection import Collection
from .common import listing

if TYPE_CHECKING:
    from ..workspace import Workspace

LOCATION = "{sub}/providers/Microsoft.MachineLearningServices/locations/{location}"
SIZES = {
    "Standard_DS3_v2": ("standardDSv2Family", 4, 0, 14),
    "Standard_E4s_v3": ("standardESv3Family", 4, 0, 32),
    "Standard_F4s_v2": ("standardFSv2Family", 4, 0, 8),
    "Standard_NC4as_T4_v3": ("Standard NCASv3_T4 Family", 4, 1, 28),
    "Standard_NC24ads_A100_v4": ("StandardNCADSA100v4Family", 24, 1, 220),
    "Standard_NC48ads_A100_v4": ("StandardNCADSA100v4Family", 48, 2, 440),
    "Standard_NC96ads_A100_v4": ("StandardNCADSA100v4Family", 96, 4, 880),
    "Standard_ND96asr_v4": ("standardNDASv4_A100Family", 96, 8, 900),
    "Standard_ND96amsr_A100_v4": ("standardNDAMSv4_A100Family", 96, 8, 1900),
    "Standard_NC40ads_H100_v5": ("StandardNCADSH100v5Family", 40, 1, 320),
    "Standard_NC80adis_H100_v5": ("StandardNCADSH100v5Family", 80, 2, 640),
    "Standard_ND96isr_H100_v5": ("standardNDSH100v5Family", 96, 8, 1900),
    "Standard_ND96isr_H200_v5": ("standardNDSH200v5Family", 96, 8, 1850),
}
"""Sizes of this region: quota family, virtual CPUs, GPUs, memory in GiB."""


class Quota:
    """What the subscription may still take in the region, in virtual CPUs by family."""

    def __init__(self, ws: Workspace) -> None:
        self._ws = ws
        ws.routes.add("GET", LOCATION + "/usages", self.usages)
        ws.routes.add("GET", LOCATION + "/quotas", self.usages)
        ws.routes.add("GET", LOCATION + "/vmSizes", self.sizes)

    def need(self, size: str, count: int) -> None:
        """Raise what the service answers where the quota does not hold so many nodes of a size."""
        family, cpus = self._size(size)[:2]
        left = self._limit(family) - self._ws.settings.usage.get(family, 0)
        if cpus * count > left:
            message = f"Not enough quota available for {size} in SubscriptionId {self._ws.subscription_id}."
            more = f" Current usage/limit: {self._ws.settings.usage.get(family, 0)}/{self._limit(family)}."
            raise ArmError(400, "OutOfQuota", message + more + f" Additional needed: {cpus * count}.")

    def usages(self, request: Request) -> Response:
        """Usage and limit of every family."""
        families = dict.fromkeys(family for family, *_ in SIZES.values())
        return listing(request, [self._usage(request, one) for one in families], self._ws.settings)

    def sizes(self, request: Request) -> Response:
        """The sizes of the region."""
        return Response({"value": [_described(size, *known) for size, known in SIZES.items()]})

    def _size(self, size: str) -> tuple[str, int, int, int]:
        for name, known in SIZES.items():
            if name.lower() == size.lower():
                return known
        message = f"The VM size '{size}' is not available in region {self._ws.location}."
        raise ArmError(400, "InvalidVMSize", message)

    def _limit(self, family: str) -> int:
        return self._ws.settings.quota.get(family, self._ws.settings.default_quota)

    def _usage(self, request: Request, family: str) -> dict[str, Any]:
        id_ = f"{request.path}/{family.replace(' ', '')}"
        text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", family)
        return {
            "id": id_,
            "type": "Microsoft.MachineLearningServices/vmFamily/dedicatedCores/usages",
            "unit": "Count",
            "currentValue": self._ws.settings.usage.get(family, 0),
            "limit": self._limit(family),
            "name": {"value": family, "localizedValue": f"{text} vCPUs"},
        }


def _described(size: str, family: str, cpus: int, gpus: int, memory: int) -> dict[str, Any]:
    return {
        "name": size,
        "family": family,
        "vCPUs": cpus,
        "gpus": gpus,
        "osVhdSizeMB": 1047552,
        "maxResourceVolumeMB": 64000,
        "memoryGB": float(memory),
        "lowPriorityCapable": True,
        "premiumIO": True,
        "supportedComputeTypes": ["AmlCompute", "ComputeInstance"],
    }


class Computes(Collection):
    """Computes of a workspace; ``cpu-cluster`` is there from the start."""

    kind, label, slow = "computes", "Compute", True

    def install(self, add: Callable[..., None]) -> None:
        """Add the routes."""
        for action in ("start", "stop", "restart", "listNodes", "listKeys"):
            add("POST", f"{{ws}}/computes/{{name}}/{action}", self._nothing)
        super().install(add)

    def find(self, request: Request) -> dict[str, Any]:
        """The compute, or the error that this kind has."""
        found = self.resources(request).get(self.key(request))
        if found is None:
            error = not_found(self.label, self.key(request))
            raise ArmError(404, "ComputeNotFound", error.message)
        return found

    def admit(self, request: Request, body: dict[str, Any], old: dict[str, Any] | None) -> None:
        """Refuse a size that the region has not."""
        size = ((body.get("properties") or {}).get("properties") or {}).get("vmSize")
        if size:
            self.ws.quota.need(size, 0)

    def _nothing(self, request: Request) -> Response:
        self.find(request)
        return Response({"nodes": []})


def add_compute(ws: Workspace, name: str, size: str = "STANDARD_DS3_V2", **settings: Any) -> dict[str, Any]:
    """Let the workspace have a cluster; see ``Workspace.add_compute``."""
    scale = {"minNodeCount": settings.pop("min_nodes", 0), "maxNodeCount": settings.pop("max_nodes", 4)}
    kind, state = settings.pop("type", "AmlCompute"), settings.pop("state", "Succeeded")
    properties: dict[str, Any] = {"vmSize": size}
    if kind == "AmlCompute":
        properties["vmPriority"] = settings.pop("priority", "Dedicated")
        properties["scaleSettings"] = {**scale, "nodeIdleTimeBeforeScaleDown": "PT120S"}
        properties["allocationState"] = "Steady"
    body = {
        "location": ws.location,
        "properties": {
            "computeType": kind,
            "computeLocation": ws.location,
            "provisioningState": state,
            "properties": {**properties, **settings},
        },
    }
    return ws.store.put("computes", name, body)
