"""Virtual machine sizes: processors, memory, GPUs, and a price with its date.

The facts stand in ``skus.yml``, each with the page it was read from. A size that is not here works just as well in a
pipeline; what it holds and costs is then unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from functools import cache
from importlib.resources import files

import yaml
from pydantic import BaseModel, ConfigDict, Field

from azdistill.errors import UserError, did_you_mean


class Sku(BaseModel):
    """One size. ``gpu_memory_gib`` is of one GPU; the prices are for an hour of one machine."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: str = Field(pattern=r"^Standard_\w+$")
    vcpus: int = Field(gt=0)
    memory_gib: float = Field(gt=0)
    gpus: int = Field(default=0, ge=0)
    gpu: str | None = None
    gpu_memory_gib: float | None = Field(default=None, gt=0)
    price: float | None = Field(default=None, ge=0, description="null: unknown")
    low_priority_price: float | None = Field(default=None, ge=0, alias="low_priority")
    currency: str = "USD"
    as_of: date = Field(description="day of the price; of the entry where the price is unknown")
    source: str = Field(min_length=1)
    price_source: str | None = None
    interconnect: str | None = Field(default=None, description="what joins GPUs and machines; null: PCIe, Ethernet")
    family: str = Field(description="the family whose quota of cores it draws on")
    online_endpoint: bool | None = Field(default=None, description="whether managed online endpoints have it")
    reserve: float = Field(
        default=0.2, ge=0, description="share of quota that an online deployment holds back for upgrades"
    )

    @property
    def total_gpu_memory_gib(self) -> float:
        """Memory of all its GPUs together."""
        return self.gpus * (self.gpu_memory_gib or 0.0)

    def priced(self, price: float, source: str, day: date, *, low_priority: float | None = None) -> Sku:
        """The same size at another price."""
        update = {"price": price, "low_priority_price": low_priority, "price_source": source, "as_of": day}
        return self.model_copy(update=update)


@cache
def _entries() -> dict[str, Sku]:
    text = files("azdistill.sizing").joinpath("skus.yml").read_text(encoding="utf-8")
    skus = (Sku.model_validate(entry) for entry in yaml.safe_load(text)["skus"])
    return {sku.name.lower(): sku for sku in skus}


def all_of(prices: Mapping[str, float] | None = None) -> tuple[Sku, ...]:
    """Every size, in the file's order; ``prices`` (USD an hour by size, as in ``azdistill.yml``) come before ours."""
    return tuple(_priced(sku, prices or {}) for sku in _entries().values())


def find(name: str, prices: Mapping[str, float] | None = None) -> Sku | None:
    """The size of that name in any case, with or without ``Standard_``; None where it is not known here."""
    word = name.strip().lower()
    sku = _entries().get(word) or _entries().get(f"standard_{word}")
    return _priced(sku, prices or {}) if sku else None


def get(name: str, prices: Mapping[str, float] | None = None) -> Sku:
    """Like :func:`find`, for sizes that have to be known: UserError AZD470 otherwise."""
    sku = find(name, prices)
    if sku is None:
        names = {lower: entry.name for lower, entry in _entries().items()}
        hint = re.sub(r"standard_\w+", lambda lower: names[lower[0]], did_you_mean(name.lower(), list(names)))
        raise UserError(f"nothing is known of the instance type '{name}'", code="AZD470", hint=hint)
    return sku


def _priced(sku: Sku, prices: Mapping[str, float]) -> Sku:
    price = next((price for name, price in prices.items() if name.lower() == sku.name.lower()), None)
    return sku if price is None else sku.priced(price, "azdistill.yml", date.today())
