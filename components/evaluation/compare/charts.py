"""The geometry of the report's charts. The template draws them as inline SVG."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import labels as wording

#: Size of a bar chart (the unit is that of the SVG's viewBox).
WIDTH = 640
LEFT, RIGHT = 112, 120
ROW = 40
#: Plane of the scatter chart: width, height, margins (left, right, top, bottom).
PLANE = (640, 300, 64, 24, 20, 48)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: its column, the middle of its row, its length, whiskers (None without an interval), its text."""

    name: str
    y: float
    width: float
    whiskers: tuple[float, float] | None
    text: str
    tip: str


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar chart of one metric over the columns."""

    metric: str
    title: str
    note: str
    bars: tuple[Bar, ...]
    height: int


@dataclass(frozen=True, slots=True)
class Point:
    """One model on the plane of time and quality; ``radius`` grows with its weights (by area)."""

    name: str
    x: float
    y: float
    radius: float
    tip: str
    label_left: bool
    label_y: float


@dataclass(frozen=True, slots=True)
class Plane:
    """A scatter chart: time per response (logarithmic) against the headline metric."""

    points: tuple[Point, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    y_title: str


def bars(columns: dict[str, dict[str, Any]], metric: str, note: str = "", maximum: float | None = None) -> Bars | None:
    """A bar per column that has the metric; None where fewer than one has. ``maximum``: of a full-width bar."""
    measured = {name: facts for name, facts in columns.items() if facts.get(metric) is not None}
    if not measured:
        return None
    intervals = {name: (facts.get("ci") or {}).get(metric) for name, facts in measured.items()}
    largest = max([facts[metric] for facts in measured.values()] + [ci[1] for ci in intervals.values() if ci])
    scale = (WIDTH - LEFT - RIGHT) / (maximum or largest or 1)
    drawn = []
    for number, (name, facts) in enumerate(measured.items()):
        ci = intervals[name]
        text = wording.value(metric, facts[metric])
        tip = f"{wording.NAMES[name]}: {text}" + (f" (95% interval {wording.interval(metric, ci)})" if ci else "")
        whiskers = (LEFT + scale * ci[0], LEFT + scale * ci[1]) if ci and ci[1] > ci[0] else None
        drawn.append(Bar(name, ROW * number + ROW / 2, max(2.0, scale * facts[metric]), whiskers, text, tip))
    return Bars(metric, wording.metric_name(metric), note, tuple(drawn), ROW * len(drawn))


def plane(columns: dict[str, dict[str, Any]], metric: str) -> Plane | None:
    """Quality against time for the columns that were timed together; None where fewer than two were."""
    needed = (metric, "latency_ms_p50", "weights_bytes")
    measured = {
        name: facts
        for name, facts in columns.items()
        if facts.get("source") == "weights" and all(facts.get(key) is not None for key in needed)
    }
    if len(measured) < 2 or len({facts.get("timing_group") for facts in measured.values()}) > 1:
        return None
    width, height, left_edge, right, top, bottom = PLANE
    times = [facts["latency_ms_p50"] for facts in measured.values()]
    low, high = math.log10(min(times)) - 0.2, math.log10(max(times)) + 0.2
    heaviest = max(facts["weights_bytes"] for facts in measured.values())

    def x(milliseconds: float) -> float:
        return left_edge + (math.log10(milliseconds) - low) / (high - low) * (width - left_edge - right)

    def y(share: float) -> float:
        return top + (1 - share) * (height - top - bottom)

    points, heights = [], []
    for name, facts in measured.items():
        place = x(facts["latency_ms_p50"])
        label = _free(y(facts[metric]), place, heights)
        heights.append((place, label))
        radius = max(5.0, 26 * math.sqrt(facts["weights_bytes"] / heaviest))
        tip = ", ".join(f"{wording.metric_name(key)} {wording.value(key, facts[key])}" for key in needed)
        tip = f"{wording.NAMES[name]}: {tip}"
        points.append(Point(name, place, y(facts[metric]), radius, tip, place > width * 0.7, label))
    points.sort(key=lambda point: -point.radius)
    x_ticks = tuple((x(tick), wording.milliseconds(tick)) for tick in _log_ticks(low, high))
    y_ticks = tuple((y(share / 4), f"{25 * share}%") for share in range(5))
    return Plane(tuple(points), x_ticks, y_ticks, wording.metric_name(metric))


def _free(y: float, x: float, heights: list[tuple[float, float]]) -> float:
    """A height for a label near ``y`` where no other label is."""
    for step in (0, 18, -18, 36, -36, 54):
        if all(abs(x - other_x) > 150 or abs(y + step - other_y) >= 16 for other_x, other_y in heights):
            return y + step
    return y


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers (1, 2, 5 times a power of ten) between ``10**low`` and ``10**high``; fewer where there are many."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    ticks = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    inside = [tick for tick in ticks if low <= math.log10(tick) <= high]
    return inside if len(inside) <= 7 else [tick for tick in inside if math.log10(tick).is_integer()]
