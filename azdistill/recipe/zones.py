"""Time zones: Azure ML knows them by their Windows names, most people by their IANA names; both are taken here."""

from __future__ import annotations

import importlib
import re
import zoneinfo
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

from azdistill.errors import did_you_mean

_TABLE = Path(__file__).with_name("zones.txt")


@dataclass(frozen=True)
class Zone:
    """``windows`` is the name for Azure ML, ``iana`` the zone whose rules it has, ``name`` the one that was named."""

    windows: str
    iana: str
    name: str

    @property
    def info(self) -> ZoneInfo:
        """The rules that say when a schedule fires."""
        return rules(self.iana)

    def differs(self, start: datetime) -> bool:
        """Whether, in the year to come, Azure's zone is at times another hour than the one that was named."""
        return not _alike(self.iana, self.name, start)

    def same_clock(self, start: datetime) -> str:
        """A Windows name whose clock is that of the zone that was named, all year; empty where there is none."""
        return next((name for name, places in _table().items() if _alike(places[0], self.name, start)), "")


def _alike(one: str, other: str, start: datetime) -> bool:
    first, second = rules(one), rules(other)
    days = (start.astimezone(UTC) + timedelta(days=day) for day in range(366))
    return all(day.astimezone(first).utcoffset() == day.astimezone(second).utcoffset() for day in days)


@cache
def rules(name: str) -> ZoneInfo:
    """The rules of an IANA zone by the newer of this machine's time zone data and the package ``tzdata``.

    Governments change their clocks at short notice, and a machine's own data may be years old.
    """
    packaged = _packaged_version()
    if packaged and packaged >= _version_here():
        with suppress(OSError), files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
            return ZoneInfo.from_file(file, key=name)
    return ZoneInfo(name)


@cache
def _packaged_version() -> str:
    """The version of the data in the package ``tzdata``; empty where that is not installed."""
    try:
        # Untyped.
        return str(importlib.import_module("tzdata").IANA_VERSION)
    except ImportError:
        return ""


@cache
def _version_here() -> str:
    """The version of the machine's own data, such as ``2026f``; empty where it does not say."""
    for folder in zoneinfo.TZPATH:
        for file, pattern in (("tzdata.zi", r"# version (\d{4}\w*)"), ("+VERSION", r"(\d{4}\w*)")):
            with suppress(OSError), open(Path(folder, file), encoding="utf-8") as text:
                if version := re.match(pattern, text.readline()):
                    return version[1]
    return ""


def zone_of(name: str) -> Zone:
    """The zone that Windows or IANA call ``name``, in any case. ValueError, with the nearest name, where none is."""
    zone = _by_name().get(name.strip().casefold())
    if zone is None:
        raise ValueError(f"there is no time zone '{name}'; {_near(name)}")
    return zone


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
    examples = "Azure ML's Windows names ('W. Europe Standard Time') and IANA names ('Europe/Berlin') are known"
    return close if close.startswith("did") else examples
