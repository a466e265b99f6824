"""The table of steps that a terminal shows while a run goes on, here or on Azure, and the latest log lines under it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TextIO

from azdistill.redact import redact
from azdistill.terminal import harmless

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_LINES = 8
_STYLES = {
    **{"pending": "dim", "running": "bold yellow", "completed": "green", "cached": "cyan", "reused": "cyan"},
    **{"failed": "bold red", "canceled": "magenta", "skipped": "dim", "queued": "yellow", "preparing": "yellow"},
    **{"finalizing": "yellow", "canceling": "magenta"},
}
#: States that took no time of their own, or none yet.
_TIMELESS = ("pending", "skipped", "cached", "reused", "queued")


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


class Board:
    """Drawn anew four times a second between :meth:`start` and :meth:`stop`; may be told things from any thread."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        self.console: Console = Console(file=stream, highlight=False)
        self.live: Any = None
        self.title = ""
        self._rows: dict[str, Row] = {}
        self._lines: deque[tuple[str, str]] = deque(maxlen=_LINES)
        self._lock = threading.Lock()

    def start(self, title: str, steps: Iterable[str]) -> None:
        """Show a run."""
        from rich.live import Live

        self.title, self._rows = shown(title), {name: Row() for name in steps}
        self.live = Live(console=self.console, refresh_per_second=4, transient=True, get_renderable=self._draw)
        self.live.start()

    def stop(self) -> None:
        """Leave the terminal as it was."""
        if self.live:
            self.live.stop()
            self.live = None

    def show(self, name: str, row: Row) -> None:
        """A step is as ``row`` says."""
        with self._lock:
            self._rows[name] = row

    def progress(self, name: str, record: dict[str, Any]) -> None:
        """How far a step has got."""
        with self._lock:
            self._rows[name] = replace(self._rows[name], progress=record)

    def line(self, name: str, text: str) -> None:
        """A step printed a line."""
        with self._lock:
            self._lines.append((name, text))

    def print(self, text: str, style: str = "") -> None:
        """A line that stays, above the table."""
        self.console.print(shown(text), style=style, markup=False, soft_wrap=True)

    def print_table(self) -> None:
        """The table as it is, to stay."""
        self.console.print(self.title, style="bold", markup=False)
        self.console.print(self._table())

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        with self._lock:
            recent = [
                Text(shown(f"{name} | {text}"), style="dim", no_wrap=True, overflow="ellipsis")
                for name, text in self._lines
            ]
            return Group(Text(self.title, style="bold"), self._table(), *recent)

    def _table(self) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in ("step", "state", "time", ""):
            table.add_column(heading, justify="right" if heading == "time" else "left", no_wrap=True)
        for name, row in self._rows.items():
            seconds = time.monotonic() - row.started if row.status == "running" else row.seconds
            time_of = duration(seconds) if row.status not in _TIMELESS else ""
            table.add_row(Text(name), Text(row.status, _STYLES.get(row.status, "")), time_of, _progress(row))
        return table


def _progress(row: Row) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    record = row.progress
    if row.status != "running" or not record:
        return Text(shown(row.detail), style="dim")
    done, total = float(record.get("done") or 0), float(record.get("total") or 0)
    left = f", {duration(float(record['eta']))} left" if record.get("eta") and done < total else ""
    words = f"{done:g}/{total:g}, {float(record.get('rate') or 0):.1f}/s{left}  {record.get('text') or ''}"
    grid = Table.grid(padding=(0, 1))
    grid.add_row(ProgressBar(total=total or 1, completed=done, width=24), Text(shown(words), style="dim"))
    return grid


def shown(text: str) -> str:
    """``text`` as anybody may see it: no secret is in it, and nothing that would steer a terminal.

    Names and values come from files of others, and what a step says may repeat what it was given.
    """
    return redact(harmless(text))


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 m 05 s``, ``2 h 10 m``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} m"
    return f"{minutes} m {rest:02d} s" if minutes else f"{rest} s"
