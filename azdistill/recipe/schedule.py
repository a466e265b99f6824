"""``schedule:`` of a recipe, in Azure ML's own words: when the pipeline is started anew."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from azdistill.recipe.cron import parse
from azdistill.recipe.zones import zone_of

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_OFFSET = re.compile(r"(Z|[+-]\d\d:?\d\d)$", re.IGNORECASE)


def number(value: Any) -> Any:
    """``value`` as it is, for pydantic to read. Python takes True for 1, and so would pydantic."""
    if isinstance(value, bool):
        raise ValueError("should be a number, not true or false")
    return value


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


Hour = Annotated[int, BeforeValidator(number), Field(ge=0, le=23)]
Minute = Annotated[int, BeforeValidator(number), Field(ge=0, le=59)]
MonthDay = Annotated[int, BeforeValidator(number), Field(ge=1, le=31)]
Weekday = Annotated[
    Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"], BeforeValidator(_lower)
]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pattern(_Shape):
    """At which minutes of which hours, on which days."""

    hours: list[Hour] | Hour
    minutes: list[Minute] | Minute
    week_days: list[Weekday] | Weekday | None = None
    month_days: list[MonthDay] | MonthDay | None = None

    def listed(self, name: str) -> list[Any]:
        """The values of a field as a list, whichever way they were written."""
        value = getattr(self, name)
        return [] if value is None else value if isinstance(value, list) else [value]


class Schedule(_Shape):
    """Either a cron expression or a recurrence. ``time_zone`` takes Windows names, as Azure ML does, and IANA names.

    Times are local times of that zone: Azure ML takes them without an offset.
    """

    type: Annotated[Literal["cron", "recurrence"], BeforeValidator(_lower)]
    expression: str | None = None
    frequency: Annotated[Literal["minute", "hour", "day", "week", "month"] | None, BeforeValidator(_lower)] = None
    interval: Annotated[int, BeforeValidator(number), Field(ge=1)] | None = None
    schedule: Pattern | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    time_zone: str = "UTC"

    @field_validator("start_time", "end_time", mode="before")
    @classmethod
    def _local(cls, value: Any) -> Any:
        text = value.isoformat() if isinstance(value, datetime) else value
        if isinstance(text, str) and _OFFSET.search(text):
            raise ValueError("should be a local time without an offset (2026-12-01T09:00:00); time_zone says where")
        return text.strip().replace(" ", "T") if isinstance(text, str) else text

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        zone_of(value)
        return value

    @field_validator("expression")
    @classmethod
    def _readable(cls, value: str | None) -> str | None:
        if value is not None:
            parse(value)
        return value

    @model_validator(mode="after")
    def _fits_its_type(self) -> Schedule:
        recurring = (self.frequency, self.interval, self.schedule)
        if self.type == "cron" and (self.expression is None or any(recurring)):
            raise ValueError("type cron takes an expression, and no frequency, interval or schedule")
        if self.type == "recurrence" and (self.expression or not (self.frequency and self.interval)):
            raise ValueError("type recurrence takes frequency and interval, and no expression")
        if self.start_time and self.end_time and self.end_time <= self.start_time:
            raise ValueError("end_time should be after start_time")
        return self

    @model_validator(mode="after")
    def _pattern_fits(self) -> Schedule:
        pattern = self.schedule
        if pattern is None:
            return self
        if self.frequency in ("minute", "hour"):
            raise ValueError("schedule goes with frequency day, week or month, not with minute or hour")
        if pattern.week_days is not None and self.frequency == "day":
            raise ValueError("schedule.week_days goes with frequency week or month, not with day")
        if pattern.month_days is not None and self.frequency != "month":
            raise ValueError(f"schedule.month_days goes with frequency month, not with {self.frequency}")
        if pattern.week_days is not None and pattern.month_days is not None:
            raise ValueError("schedule.week_days and schedule.month_days say two things; give one of them")
        return self
