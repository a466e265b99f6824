"""``schedule:`` of a recipe, in Azure ML's own words: when the pipeline is started anew."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Hour = Annotated[int, Field(ge=0, le=23)]
Minute = Annotated[int, Field(ge=0, le=59)]
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pattern(_Shape):
    """At which minutes of which hours, on which days."""

    hours: list[Hour] | Hour
    minutes: list[Minute] | Minute
    week_days: list[Weekday] | Weekday | None = None
    month_days: list[Annotated[int, Field(ge=1, le=31)]] | None = None


class Schedule(_Shape):
    """Either a cron expression or a recurrence. ``time_zone`` takes the Windows names that Azure ML takes."""

    type: Literal["cron", "recurrence"]
    expression: Annotated[str, Field(pattern=r"^\S+( +\S+){4}$")] | None = None
    frequency: Literal["minute", "hour", "day", "week", "month"] | None = None
    interval: Annotated[int, Field(ge=1)] | None = None
    schedule: Pattern | None = None
    start_time: datetime | str | None = None
    end_time: datetime | str | None = None
    time_zone: str = "UTC"

    @model_validator(mode="after")
    def _fits_its_type(self) -> Schedule:
        recurring = (self.frequency, self.interval, self.schedule)
        if self.type == "cron" and (self.expression is None or any(recurring)):
            raise ValueError("type cron takes an expression, and no frequency, interval or schedule")
        if self.type == "recurrence" and (self.expression or not (self.frequency and self.interval)):
            raise ValueError("type recurrence takes frequency and interval, and no expression")
        return self
