"""When schedules fire, as Azure ML fires them, and what is said of schedules that would fire at other times."""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from azdistill.recipe import zones
from azdistill.recipe.firings import findings, firings, next_firings
from azdistill.recipe.schedule import Schedule
from azdistill.recipe.zones import _table, rules, zone_of

NOW = datetime(2026, 3, 27, 12, tzinfo=UTC)


def fires(now: datetime = NOW, created: datetime | None = None, count: int = 3, **trigger: Any) -> list[str]:
    found = next_firings(Schedule(**trigger), now=now, created=created, count=count)
    return [f"{firing.utc:%Y-%m-%dT%H:%M}" for firing in found]


def recurrence(frequency: str, interval: int = 1, **more: Any) -> dict[str, Any]:
    return {"type": "recurrence", "frequency": frequency, "interval": interval, **more}


def test_an_omitted_start_fires_when_the_schedule_is_made_and_it_is_said() -> None:
    first, second = next_firings(Schedule(type="cron", expression="0 3 * * *"), now=NOW, count=2)
    assert first.utc == NOW
    assert "no start_time" in first.note
    assert second.utc == datetime(2026, 3, 28, 3, tzinfo=UTC)


def test_a_schedule_that_exists_does_not_fire_at_once_again() -> None:
    made = NOW - timedelta(days=40)
    assert fires(created=made, type="cron", expression="0 3 * * *", count=1) == ["2026-03-28T03:00"]


def test_without_start_and_pattern_the_creation_is_where_intervals_start() -> None:
    made = datetime(2026, 3, 25, 8, 30, tzinfo=UTC)
    assert fires(created=made, **recurrence("day", 2), count=2) == ["2026-03-29T08:30", "2026-03-31T08:30"]
    assert fires(created=made, **recurrence("hour", 5), count=2) == ["2026-03-27T15:30", "2026-03-27T20:30"]


def test_a_past_start_is_where_reckoning_starts_and_what_is_past_is_discarded() -> None:
    # The example of Microsoft's page on recurring triggers: every two days from the 7th at 14:00, seen on the 8th.
    start = recurrence("day", 2, start_time="2017-09-07T14:00:00")
    assert fires(now=datetime(2017, 9, 8, 13, tzinfo=UTC), **start) == [
        "2017-09-09T14:00",
        "2017-09-11T14:00",
        "2017-09-13T14:00",
    ]


def test_nothing_fires_before_a_start_in_the_future() -> None:
    assert fires(type="cron", expression="0 3 * * *", start_time="2026-04-10T12:00:00", count=1) == ["2026-04-11T03:00"]
    assert fires(**recurrence("week", start_time="2026-04-10T12:00:00"), count=2) == [
        "2026-04-10T12:00",
        "2026-04-17T12:00",
    ]


def test_a_schedule_ends_with_its_end_time_that_one_included() -> None:
    daily = recurrence("day", start_time="2026-03-01T03:00:00", end_time="2026-03-29T03:00:00")
    assert fires(**daily, count=9) == ["2026-03-28T03:00", "2026-03-29T03:00"]


def test_a_local_time_that_summer_time_skips_fires_an_hour_later() -> None:
    daily = recurrence("day", start_time="2026-03-01T02:30:00", time_zone="Europe/Berlin")
    found = next_firings(Schedule(**daily), now=NOW, count=3)
    assert [f"{each.local:%d %H:%M %z}" for each in found] == ["28 02:30 +0100", "29 03:30 +0200", "30 02:30 +0200"]
    assert "does not exist" in found[1].note
    assert not found[0].note


def test_a_local_time_that_comes_twice_fires_the_first_time_only() -> None:
    now = datetime(2026, 10, 24, 12, tzinfo=UTC)
    daily = recurrence("day", start_time="2026-03-01T02:30:00", time_zone="W. Europe Standard Time")
    first, second = next_firings(Schedule(**daily), now=now, count=2)
    assert first.utc == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert "of two" in first.note
    assert second.utc == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_a_moved_time_that_meets_another_fires_once() -> None:
    both = recurrence("day", start_time="2026-03-29T00:00:00", time_zone="Europe/Berlin")
    both["schedule"] = {"hours": [2, 3], "minutes": 30}
    assert fires(**both) == ["2026-03-29T01:30", "2026-03-30T00:30", "2026-03-30T01:30"]


def test_hours_are_elapsed_time_across_summer_time() -> None:
    hourly = recurrence("hour", 6, start_time="2026-03-28T20:00:00", time_zone="Europe/Berlin")
    assert fires(**hourly) == ["2026-03-28T19:00", "2026-03-29T01:00", "2026-03-29T07:00"]


def test_every_second_week_counts_from_the_week_of_the_start() -> None:
    weekly = recurrence("week", 2, start_time="2026-03-25T00:00:00")
    weekly["schedule"] = {"hours": 9, "minutes": 0, "week_days": ["monday", "Friday"]}
    assert fires(now=datetime(2026, 3, 28, tzinfo=UTC), **weekly) == [
        "2026-04-06T09:00",
        "2026-04-10T09:00",
        "2026-04-20T09:00",
    ]


def test_months_without_the_day_are_skipped() -> None:
    last = recurrence("month", start_time="2026-03-01T00:00:00")
    last["schedule"] = {"hours": 3, "minutes": 0, "month_days": [31]}
    assert fires(**last) == ["2026-03-31T03:00", "2026-05-31T03:00", "2026-07-31T03:00"]
    assert [each.code for each in findings(Schedule(**last), NOW)] == ["AZD262"]


def test_every_third_month() -> None:
    quarterly = recurrence("month", 3, start_time="2026-01-01T00:00:00")
    quarterly["schedule"] = {"hours": [3], "minutes": [0, 30], "month_days": 1}
    assert fires(**quarterly) == ["2026-04-01T03:00", "2026-04-01T03:30", "2026-07-01T03:00"]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("nightly", "has 1 field, not five"),
        ("0 0 3 * * *", "no field for seconds"),
        ("@daily", "a shorthand"),
        ("61 3 * * *", "minutes '61' is outside 0 to 59"),
        ("0 3 * * 7", "Sunday is 0"),
        ("0 3 L * *", "none of L, W"),
        ("0 3 * * fri-mon", "runs backwards"),
        ("*/0 * * * *", "a step is a whole number above 0"),
        ("a * * * *", "minutes 'a' is no value"),
        ("0 ³ * * *", "is no value"),
        ("-5 * * * *", "is no value"),
    ],
)
def test_no_cron_that_is_no_cron(expression: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Schedule(type="cron", expression=expression)


FIELD = st.sampled_from(["*", "*/7", "5", "1,9,30", "10-20", "3-21/5", "40/6"])
HOUR = st.sampled_from(["*", "*/5", "3", "1,9,23", "8-17", "2/6"])
WEEKDAY = st.sampled_from(["*", "1", "mon-fri", "0,6", "tue", "*/2"])


@given(FIELD, HOUR, WEEKDAY, st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)))
def test_cron_fires_when_another_cron_says(minutes: str, hours: str, weekday: str, at: datetime) -> None:
    expression = f"{minutes} {hours} * * {weekday}"
    now = at.replace(microsecond=0, tzinfo=UTC)
    theirs: Iterator[datetime] = CronSim(expression.replace("40/6", "40-59/6").replace("2/6", "2-23/6"), now)
    ours = firings(Schedule(type="cron", expression=expression), now=now, created=now)
    assert [next(ours).utc for _ in range(4)] == [next(theirs) for _ in range(4)]


@given(
    st.sets(st.integers(0, 23), min_size=1, max_size=3),
    st.sets(st.integers(1, 28), min_size=1, max_size=4),
    st.sampled_from(["*", "*/3", "1,4,7,10", "6", "feb,aug"]),
    st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)),
)
def test_the_recurrence_in_place_of_a_refused_cron_fires_when_the_cron_would(
    hours: set[int], days: set[int], months: str, at: datetime
) -> None:
    now = at.replace(microsecond=0, tzinfo=UTC)
    expression = f"0 {','.join(map(str, hours))} {','.join(map(str, days))} {months} *"
    (found,) = findings(Schedule(type="cron", expression=expression), now)
    assert found.code == "AZD260"
    written = yaml.safe_load(found.hint.partition("\n")[2])["schedule"]
    ours = firings(Schedule(**written), now=now, created=now)
    theirs = CronSim(expression, now)
    assert [next(ours).utc for _ in range(4)] == [next(theirs) for _ in range(4)]


@pytest.mark.parametrize(
    ("expression", "said"),
    [("0 3 1 * 1", "joins days of the month"), ("0 3 1 1,2 *", "uneven distances")],
)
def test_where_no_recurrence_says_the_same_it_is_said(expression: str, said: str) -> None:
    (found,) = findings(Schedule(type="cron", expression=expression), NOW)
    assert said in found.hint


def test_a_schedule_that_never_fires_is_an_error() -> None:
    never = recurrence("month", 12, start_time="2026-02-01T00:00:00")
    never["schedule"] = {"hours": 3, "minutes": 0, "month_days": [30]}
    assert {each.code for each in findings(Schedule(**never), NOW)} == {"AZD262", "AZD261"}
    over = recurrence("day", start_time="2026-01-01T00:00:00", end_time="2026-02-01T00:00:00")
    assert [each.path for each in findings(Schedule(**over), NOW)] == [("end_time",)]


def test_leap_days_are_found() -> None:
    leap = recurrence("month", 12, start_time="2026-02-01T00:00:00")
    leap["schedule"] = {"hours": 3, "minutes": 0, "month_days": [29]}
    assert fires(**leap, count=2) == ["2028-02-29T03:00", "2032-02-29T03:00"]


@pytest.mark.parametrize(
    "trigger",
    [
        recurrence("hour", schedule={"hours": 3, "minutes": 0}),
        recurrence("week", schedule={"hours": 3, "minutes": 0, "month_days": [1]}),
        recurrence("day", schedule={"hours": 3, "minutes": 0, "week_days": "monday"}),
        recurrence("month", schedule={"hours": 3, "minutes": 0, "week_days": "monday", "month_days": [1]}),
        recurrence("day", start_time="2026-03-01T02:30:00+01:00"),
        recurrence("day", start_time="2026-03-01T02:30:00Z"),
        recurrence("day", start_time="2026-03-01T00:00:00", end_time="2026-03-01T00:00:00"),
        recurrence("day", interval=True),
        {"type": "cron", "expression": "0 3 * * *", "interval": 2},
    ],
)
def test_what_azure_ml_would_take_and_do_otherwise_is_refused(trigger: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Schedule(**trigger)


def test_every_windows_zone_leads_to_rules_and_every_iana_zone_to_a_windows_name() -> None:
    assert len(_table()) > 130
    for name, places in _table().items():
        assert zone_of(name).windows == name
        assert zone_of(name).info.utcoffset(NOW.replace(tzinfo=None)) is not None
        assert all(zone_of(place.upper()).iana for place in places)


@pytest.mark.parametrize(
    ("name", "near"),
    [("Europe/Berln", "Europe/Berlin"), ("Berlin", "Europe/Berlin"), ("W Europe Standard Time", "W. Europe")],
)
def test_an_unknown_zone_names_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"did you mean '{near}"):
        zone_of(name)


#: Zones that keep another clock than the Windows zone they stand under, by the tz database of 2026: their new names
#: (Alberta, British Columbia, Manitoba) are not in Azure's SDK, and tz has laws that Windows does not know yet.
OTHERWISE = {
    *("America/Vancouver", "Canada/Pacific"),
    *("America/Edmonton", "America/Inuvik", "America/Yellowknife", "Canada/Mountain"),
    *("America/Winnipeg", "America/Rainy_River", "Canada/Central"),
    *("America/Scoresbysund", "Antarctica/Casey", "Antarctica/Vostok"),
}


def test_every_zone_of_a_row_has_the_clock_of_its_row_but_for_those_that_are_known() -> None:
    days = [NOW + timedelta(days=day) for day in range(0, 366, 5)]

    def clock(zone: str) -> list[timedelta | None]:
        return [day.astimezone(rules(zone)).utcoffset() for day in days]

    different = {
        place for places in _table().values() for place in places if clock(place) != clock(zone_of(place).iana)
    }
    assert different == OTHERWISE
    assert {place for places in _table().values() for place in places if zone_of(place).differs(NOW)} == OTHERWISE


@pytest.mark.parametrize("place", sorted(OTHERWISE))
def test_a_zone_with_other_rules_than_azures_is_said_with_one_that_has_them(place: str) -> None:
    (warned,) = findings(Schedule(type="cron", expression="0 3 * * *", time_zone=place), NOW)
    assert warned.code == "AZD263"
    same = re.fullmatch(r"'(.+)' has the same clock for the year to come", warned.hint or "")
    assert same
    assert not findings(Schedule(type="cron", expression="0 3 * * *", time_zone=same[1]), NOW)
    for day in range(0, 366, 5):
        moment = NOW + timedelta(days=day)
        assert moment.astimezone(zone_of(same[1]).info).utcoffset() == moment.astimezone(rules(place)).utcoffset()


@pytest.mark.parametrize(
    ("place", "windows", "hours"),
    [
        ("Asia/Almaty", "West Asia Standard Time", 5),
        ("Asia/Qostanay", "West Asia Standard Time", 5),
        ("Asia/Bishkek", "Central Asia Standard Time", 6),
        ("America/Coyhaique", "Magallanes Standard Time", -3),
        ("Asia/Kamchatka", "Russia Time Zone 11", 12),
    ],
)
def test_a_schedule_fires_at_the_hour_of_the_zone_that_was_named(place: str, windows: str, hours: int) -> None:
    zone = zone_of(place)
    assert zone.windows == windows
    assert NOW.astimezone(zone.info).utcoffset() == timedelta(hours=hours)
    assert not zone.differs(NOW)


def test_every_zone_of_the_tz_database_is_known() -> None:
    from importlib.resources import files

    every = files("tzdata").joinpath("zones").read_text().split()
    known = {place for places in _table().values() for place in places}
    assert len(every) > 500
    # A station whose summer time is two hours has no Windows zone; "Factory" is no place.
    assert set(every) - known == {"Antarctica/Troll", "Factory"}


def test_the_newer_of_the_machines_data_and_the_packages_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.resources import files

    # On this machine Vancouver keeps the clock of Los Angeles, as it did everywhere until 2026.
    (tmp_path / "America").mkdir()
    old = files("tzdata").joinpath("zoneinfo", "America", "Los_Angeles").read_bytes()
    (tmp_path / "America" / "Vancouver").write_bytes(old)
    winter = datetime(2027, 1, 15, tzinfo=UTC)
    try:
        zoneinfo.reset_tzpath([tmp_path])
        for version, hours in (("# version 2025b\n", -7), ("", -7), ("# version 2999a\n", -8)):
            (tmp_path / "tzdata.zi").write_text(version)
            zones.rules.cache_clear()
            zones._version_here.cache_clear()
            zoneinfo.ZoneInfo.clear_cache()
            assert winter.astimezone(rules("America/Vancouver")).utcoffset() == timedelta(hours=hours)
    finally:
        zoneinfo.reset_tzpath()
        zones.rules.cache_clear()
        zones._version_here.cache_clear()
        zoneinfo.ZoneInfo.clear_cache()
