"""What a workspace's region offers: sizes, their prices, and the quota of cores that is left."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.errors import AzdistillError
from azdistill.sizing.skus import Sku

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
    return Region(str(connection.workspace["location"]), sizes, quotas, silent)


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
    location = connection.workspace["location"]
    with explain(f"{doing} of {location}"):
        return list(
            connection.rest.listed(f"/subscriptions/{connection.subscription_id}/{_PROVIDER}/{location}/{kind}")
        )


def _quota(usage: dict[str, Any]) -> Quota:
    limit = int(usage.get("limit", -1))
    family = (usage.get("name") or {}).get("value") or ""
    return Quota(str(family), int(usage.get("currentValue") or 0), None if limit < 0 else limit)
