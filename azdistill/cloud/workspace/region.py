"""What a workspace has (computes, environments) and what its region offers: sizes, prices, the quota that is left."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any, TypeVar

from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.cloud.workspace.rest import part
from azdistill.errors import AzdistillError, ServiceError
from azdistill.sizing.skus import Sku

_COMPUTES = "2023-08-01-preview"
_ENVIRONMENTS = "2023-04-01-preview"
_PROVIDER = "providers/Microsoft.MachineLearningServices/locations"

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Quota:
    """Cores of one family of machines: in use and allowed. ``limit`` is None where there is none."""

    family: str
    used: int
    limit: int | None

    @property
    def free(self) -> float:
        return math.inf if self.limit is None else self.limit - self.used


@dataclass(frozen=True)
class Cluster:
    """A compute of the workspace."""

    name: str
    state: str
    size: str | None = None
    nodes: int | None = None
    low_priority: bool = False


@dataclass(frozen=True, slots=True)
class Region:
    """``sizes`` by lower-case name, as the service describes them; ``quotas`` by :func:`squeezed` family.

    Either is None where the service would not tell; ``silent`` then says why.
    """

    location: str
    sizes: dict[str, dict[str, Any]] | None
    quotas: dict[str, Quota] | None
    silent: tuple[str, ...] = ()

    def offers(self, sku: Sku) -> bool:
        """Whether the region offers the size; True where the service does not say."""
        return self.sizes is None or sku.name.lower() in self.sizes

    def quota(self, sku: Sku) -> Quota | None:
        """The quota that the size draws on; None where it is not known."""
        if self.quotas is None:
            return None
        size = (self.sizes or {}).get(sku.name.lower(), {})
        families = [squeezed(str(family)) for family in (size.get("family"), sku.family) if family]
        return next((self.quotas[family] for family in families if family in self.quotas), None)

    def priced(self, sku: Sku) -> Sku:
        """The size at the region's price, where it tells one in USD for an hour of Linux."""
        prices = (self.sizes or {}).get(sku.name.lower(), {}).get("estimatedVMPrices") or {}
        if prices.get("billingCurrency") != "USD" or prices.get("unitOfMeasure") != "OneHour":
            return sku
        rates = {
            str(price.get("vmTier")): float(price["retailPrice"])
            for price in prices.get("values") or ()
            if price.get("osType") == "Linux" and price.get("retailPrice")
        }
        if "Standard" not in rates:
            return sku
        low = rates.get("LowPriority") or rates.get("Spot")
        return sku.priced(rates["Standard"], f"Azure, for {self.location}", date.today(), low_priority=low)


def squeezed(family: str) -> str:
    """A family's name as lists agree on it: they differ in case, spaces and underscores."""
    return re.sub(r"[^a-z0-9]", "", family.lower())


def find_region(connection: Connection) -> Region:
    """What the workspace's region offers. What may not be asked is left out and said in ``silent``."""
    sizes, no_sizes = _or_why_not(sizes_of, connection)
    quotas, no_quotas = _or_why_not(quotas_of, connection)
    silent = tuple(message for message in (no_sizes, no_quotas) if message)
    return Region(connection.location, sizes, quotas, silent)


def _or_why_not(ask: Callable[[Connection], _T], connection: Connection) -> tuple[_T | None, str]:
    """What ``ask`` answers; None, and why, where that may not be asked."""
    try:
        return ask(connection), ""
    except AzdistillError as error:
        return None, error.message


def sizes_of(connection: Connection) -> dict[str, dict[str, Any]]:
    """The sizes that the workspace's region offers, by lower-case name."""
    return {str(size["name"]).lower(): size for size in _listed(connection, "vmSizes", "listing the sizes")}


def quotas_of(connection: Connection) -> dict[str, Quota]:
    """The quotas of the workspace's region, by :func:`squeezed` family."""
    usages = _listed(connection, "usages", "reading the quota")
    return {squeezed(quota.family): quota for quota in map(_quota, usages) if quota.family}


def _listed(connection: Connection, kind: str, doing: str) -> list[dict[str, Any]]:
    path = f"/subscriptions/{connection.subscription_id}/{_PROVIDER}/{connection.location}/{kind}"
    with explain(f"{doing} of {connection.location}"):
        return connection.rest.listed(path)


def _quota(usage: dict[str, Any]) -> Quota:
    family, limit = (usage.get("name") or {}).get("value") or "", usage.get("limit")
    # The service says -1 where there is no limit.
    cores = -1 if limit is None else int(float(limit))
    return Quota(str(family), int(usage.get("currentValue") or 0), cores if cores >= 0 else None)


class Facts:
    """Asks once for each thing."""

    def __init__(self, connection: Connection) -> None:
        self.connection, self._id = connection, connection.workspace_id

    def cluster(self, name: str) -> Cluster | None:
        """The compute ``name``; None where there is none."""
        body = self._get(f"computes/{part(name)}", f"looking up the compute {name}", _COMPUTES)
        return _cluster(body) if body else None

    def cluster_names(self) -> list[str]:
        """Names of all computes."""
        with explain("listing the computes of the workspace"):
            computes = self.connection.rest.listed(f"{self._id}/computes", api_version=_COMPUTES)
        return [str(compute["name"]) for compute in computes]

    @cached_property
    def quotas(self) -> dict[str, Quota]:
        """Quota by squeezed family; empty where the caller may not see it."""
        try:
            return quotas_of(self.connection)
        except ServiceError as error:
            if error.code not in ("AZD402", "AZD403", "AZD404"):
                raise
            return {}

    def environment_exists(self, reference: str) -> bool | None:
        """Whether ``azureml:NAME:VERSION`` (or ``@latest``) is registered; None where that cannot be told here."""
        match = re.fullmatch(r"azureml:([^:@/]+)(?::([^:@/]+)|@(\w+))", reference)
        if not match:
            return None
        path = f"environments/{part(match[1])}" + (f"/versions/{part(match[2])}" if match[2] else "")
        return self._get(path, f"looking up the environment {match[1]}", _ENVIRONMENTS) is not None

    def _get(self, path: str, doing: str, version: str) -> dict[str, Any] | None:
        with explain(doing):
            body: dict[str, Any] | None = self.connection.rest.find(f"{self._id}/{path}", api_version=version)
        return body


def _cluster(body: dict[str, Any]) -> Cluster:
    compute = body.get("properties", {})
    settings = compute.get("properties") or {}
    nodes = (settings.get("scaleSettings") or {}).get("maxNodeCount")
    return Cluster(
        name=str(body.get("name", "")),
        state=str(compute.get("provisioningState", "")),
        size=settings.get("vmSize"),
        nodes=int(nodes) if nodes is not None else None,
        low_priority=str(settings.get("vmPriority", "")).lower() == "lowpriority",
    )
