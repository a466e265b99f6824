"""What a workspace's region offers: sizes, their prices, and the quota of cores that is left."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date
from typing import Any

from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.errors import AzdistillError
from azdistill.sizing.skus import Sku

_PROVIDER = "providers/Microsoft.MachineLearningServices/locations"


@dataclass(frozen=True, slots=True)
class Quota:
    """Cores of one family: in use and allowed. ``limit`` is None where there is none."""

    family: str
    used: int
    limit: int | None

    @property
    def left(self) -> float:
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
        for family in (size.get("family"), sku.family):
            if family and (found := self.quotas.get(squeezed(str(family)))):
                return found
        return None

    def priced(self, sku: Sku) -> Sku:
        """The size at the region's price, where it tells one in USD for an hour of Linux."""
        prices = ((self.sizes or {}).get(sku.name.lower(), {}).get("estimatedVMPrices") or {}) if self.sizes else {}
        if prices.get("billingCurrency") != "USD" or prices.get("unitOfMeasure") != "OneHour":
            return sku
        found = {
            str(price.get("vmTier")): float(price["retailPrice"])
            for price in prices.get("values") or ()
            if price.get("osType") == "Linux" and price.get("retailPrice")
        }
        if "Standard" not in found:
            return sku
        low = found.get("LowPriority") or found.get("Spot")
        return sku.priced(found["Standard"], f"Azure, for {self.location}", date.today(), low_priority=low)


def squeezed(family: str) -> str:
    """A family's name as lists agree on it: they differ in case, spaces and underscores."""
    return re.sub(r"[^a-z0-9]", "", family.lower())


def find_region(connection: Connection) -> Region:
    """What the workspace's region offers. What may not be asked is left out and said in ``silent``."""
    location = str(connection.workspace["location"])
    base = f"/subscriptions/{connection.subscription_id}/{_PROVIDER}/{location}"
    sizes, no_sizes = _asked(connection, f"{base}/vmSizes", f"listing the sizes of {location}")
    usages, no_usages = _asked(connection, f"{base}/usages", f"reading the quota of {location}")
    return Region(
        location,
        None if sizes is None else {str(size["name"]).lower(): size for size in sizes},
        None if usages is None else {squeezed(quota.family): quota for quota in map(_quota, usages)},
        tuple(message for message in (no_sizes, no_usages) if message),
    )


def _asked(connection: Connection, path: str, doing: str) -> tuple[list[Any] | None, str]:
    """What is listed there; None, and why, where that may not be asked."""
    try:
        with explain(doing):
            return list(connection.rest.listed(path)), ""
    except AzdistillError as error:
        return None, error.message


def _quota(usage: dict[str, Any]) -> Quota:
    limit = int(usage.get("limit", -1))
    name = usage.get("name") or {}
    return Quota(str(name.get("value", "")), int(usage.get("currentValue", 0)), None if limit < 0 else limit)
