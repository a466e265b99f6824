"""Time zones: Azure ML knows them by their Windows names, most people by their IANA names; both are taken here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

from azdistill.errors import did_you_mean

_TABLE = Path(__file__).with_name("zones.txt")


@dataclass(frozen=True)
class Zone:
    """``windows`` is the name for Azure ML, ``iana`` the zone whose rules it has, ``asked`` the one that was named."""

    windows: str
    iana: str
    asked: str

    @property
    def info(self) -> ZoneInfo:
        """The rules that say when a schedule fires."""
        return ZoneInfo(self.iana)

    def differs(self, now: datetime) -> bool:
        """Whether, in the year to come, Azure's zone is at times another hour than the one that was named."""
        days = (now.astimezone(UTC) + timedelta(days=7 * week) for week in range(53))
        return any(day.astimezone(self.info).utcoffset() != day.astimezone(self._named).utcoffset() for day in days)

    @property
    def _named(self) -> ZoneInfo:
        return ZoneInfo(self.asked)


def zone_of(name: str) -> Zone:
    """The zone that Windows or IANA call ``name``, in any case. ValueError, with the nearest name, where none is."""
    found = _by_name().get(name.strip().casefold())
    if found is None:
        raise ValueError(f"there is no time zone '{name}'; {_near(name)}")
    return found


@cache
def _table() -> dict[str, list[str]]:
    lines = (line for line in _TABLE.read_text("utf-8").splitlines() if line and not line.startswith("#"))
    return {name: places.split() for name, _, places in (line.partition(": ") for line in lines)}


@cache
def _by_name() -> dict[str, Zone]:
    zones: dict[str, Zone] = {}
    for name, places in _table().items():
        for place in places:
            zones.setdefault(place.casefold(), Zone(name, places[0], place))
    return zones | {name.casefold(): Zone(name, places[0], places[0]) for name, places in _table().items()}


def _near(name: str) -> str:
    names = [*_table(), *(place for places in _table().values() for place in places)]
    cities = {place.rpartition("/")[2].replace("_", " ").casefold(): place for place in names if "/" in place}
    city = cities.get(name.strip().replace("_", " ").casefold())
    if city:
        return f"did you mean '{city}'?"
    close = did_you_mean(name, names)
    known = "Azure ML's Windows names ('W. Europe Standard Time') and IANA names ('Europe/Berlin') are known"
    return close if close.startswith("did") else known
