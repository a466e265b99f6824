"""What stands on a terminal while a run goes on: its steps and the latest lines, in exactly the room that there is.

Columns have fixed widths, so that nothing jumps and no column takes another's room. What runs stands first: of forty
steps a small terminal shows those that matter now, and says how many more there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from azdistill.cli.text import duration, safe_text

if TYPE_CHECKING:
    from rich.text import Text

_STYLES = {
    **{"pending": "dim", "running": "bold yellow", "completed": "green", "cached": "cyan", "reused": "cyan"},
    **{"failed": "bold red", "canceled": "magenta", "skipped": "dim", "queued": "yellow", "preparing": "yellow"},
    **{"finalizing": "yellow", "canceling": "magenta"},
}
#: States that took no time of their own, or none yet.
_TIMELESS = ("pending", "skipped", "cached", "reused", "queued")
#: In this order they stand under each other; states of one group keep the order of the pipeline.
_GROUPS = (
    ("running", "preparing", "finalizing", "canceling"),
    ("failed", "canceled"),
    ("queued", "pending"),
    ("completed", "cached", "reused", "skipped"),
)
_DONE = ("completed", "cached", "reused")
#: The longest state, and the longest time of a day: 59 m 59 s.
_STATE, _TIME = 10, 9
#: Between columns, and before a text after a number; a narrow terminal has one blank in place of two.
_GAP, _NARROW = "  ", 60
#: A name has this share of the width at most.
_NAME_SHARE = 0.4
#: As many of the latest lines as there is room for.
_LINES_MOST, _LINES_LEAST = 8, 3
_BAR_MOST, _BAR_LEAST = 30, 8


@dataclass(frozen=True, slots=True)
class Row:
    """What is shown of a step. ``started`` is of the monotonic clock, ``seconds`` what it took in the end.

    ``detail`` says why it is as it is, where that needs saying.
    """

    status: str = "pending"
    started: float = 0.0
    seconds: float = 0.0
    progress: dict[str, Any] | None = None
    detail: str = ""


def board(
    title: str, rows: Mapping[str, Row], lines: Sequence[tuple[str, str]], *, width: int, height: int, now: float
) -> list[Text]:
    """The whole of it, in at most ``height`` lines that are to be cut at ``width``."""
    room = max(height - 2, 1)
    shown_lines = min(len(lines), _LINES_MOST, max(room - len(rows), _LINES_LEAST if room > 2 * _LINES_LEAST else 0))
    room_for_rows = max(room - shown_lines, 1)
    ordered = dict(sorted(rows.items(), key=lambda item: _group(item[1].status)))
    names = list(ordered) if len(ordered) <= room_for_rows else list(ordered)[: max(room_for_rows - 1, 1)]
    more = [_plain(f"... {len(ordered) - len(names)} more", "dim")] if len(names) < len(ordered) else []
    return [
        _plain(title, "bold"),
        _plain(_counts(rows), "dim"),
        *step_lines({name: ordered[name] for name in names}, rows, width=width, now=now),
        *more,
        *(_plain(f"{name} | {text}", "dim") for name, text in list(lines)[len(lines) - shown_lines :]),
    ]


def step_lines(shown: Mapping[str, Row], rows: Mapping[str, Row], *, width: int, now: float) -> Iterator[Text]:
    """A line for each step that is ``shown``; ``rows`` are all, whose names say how wide the first column is."""
    gap = _GAP if width > _NARROW else " "
    name_width = min(max(map(len, rows), default=0), int(width * _NAME_SHARE))
    alike = _alike([name for name in rows if len(name) > name_width])
    room = width - name_width - _STATE - _TIME - 3 * len(gap)
    for name, row in shown.items():
        seconds = now - row.started if row.status in _GROUPS[0] else row.seconds
        time_of = "" if row.status in _TIMELESS else duration(max(seconds, 0.0))
        line = _plain(f"{_cut(name, name_width, alike):<{name_width}}{gap}")
        line.append(f"{row.status:<{_STATE}}{gap}", _STYLES.get(row.status, ""))
        line.append(f"{time_of:>{_TIME}}{gap}")
        progress = _progress(row.progress, room) if row.status == "running" and row.progress else []
        for text, style in progress or [(safe_text(row.detail), "dim")]:
            line.append(text, style)
        line.rstrip()
        yield line


def _group(status: str) -> int:
    return next((number for number, group in enumerate(_GROUPS) if status in group), 0)


def _counts(rows: Mapping[str, Row]) -> str:
    """``21 of 40 done, 2 running, 17 pending``."""
    counted = Counter(row.status for row in rows.values())
    done = sum(counted[status] for status in _DONE)
    others = sorted((status for status in counted if status not in _DONE), key=_group)
    return ", ".join([f"{done} of {len(rows)} done", *(f"{counted[status]} {status}" for status in others)])


def _plain(text: str, style: str = "") -> Text:
    from rich.text import Text

    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(safe_text(text), style)
    return line


def _alike(names: Sequence[str]) -> int:
    """How many characters, up to a dot, all of ``names`` begin with: those of a nested pipeline."""
    parts = [name.split(".")[:-1] for name in names]
    shared = takewhile(lambda column: len(set(column)) == 1, zip(*parts, strict=False))
    return sum(len(column[0]) + 1 for column in shared)


def _cut(name: str, width: int, alike: int) -> str:
    """A name that is too long without what all such names begin with, and if need be without its end."""
    if len(name) <= width:
        return name
    name = f"…{name[alike:]}" if alike else name
    return name if len(name) <= width else f"{name[: width - 1]}…"


def _progress(record: Mapping[str, Any], room: int) -> list[tuple[str, str]]:
    """How far a step has got: in ever more words, and a bar, as far as there is room for them."""
    done, total = float(record.get("done") or 0), float(record.get("total") or 0)
    words = f"{done:g}/{total:g}" if total else f"{done:g}"
    rate = f", {float(record['rate']):.1f}/s" if record.get("rate") else ""
    left = f", {duration(float(record['eta']))} left" if record.get("eta") and done < total else ""
    for more in (rate + left, left):
        if len(words + more) <= room:
            words += more
            break
    text = safe_text(str(record.get("text") or ""))
    wide = len(words) + len(_GAP) + len(text)
    if not total or room - len(words) - 1 < _BAR_LEAST:
        return [(f"{words}{_GAP}{text}" if text and wide <= room else words, "dim")]
    told = f"{words}{_GAP}{text}" if text and room - wide - 1 >= _BAR_LEAST else words
    length = min(room - len(told) - 1, _BAR_MOST)
    filled = round(length * min(max(done / total, 0.0), 1.0))
    return [("━" * filled, "magenta"), ("─" * (length - filled), "dim"), (f" {told}", "dim")]
