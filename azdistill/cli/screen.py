"""What a person sees of a run while it goes on, here or on Azure: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TextIO

from azdistill.cli.text import duration, safe_text

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


class PlainScreen:
    """One line per thing that happens, for pipes and log files; any thread may call it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def start(self, title: str, steps: Iterable[str], text: str) -> None:
        """Begin a run; ``text`` says so where there is no table."""
        self.say(text)

    def show(self, name: str, row: Row, text: str = "") -> None:
        """Show a step as ``row`` says; ``text`` says so where there is no table."""
        if text:
            self.say(text)

    def progress(self, name: str, record: dict[str, Any]) -> None:
        """Show how far a step has got, in a table only."""

    def line(self, name: str, text: str) -> None:
        """Show a line that a step printed."""
        self.say(f"{name} | {text}")

    def pin(self, text: str) -> None:
        """Let a line stay that a step printed too: where there is no table, every line stays."""

    def say(self, text: str, style: str = "") -> None:
        """Print a line that stays."""
        # In one piece with its end: several threads do so.
        print(f"{safe_text(text)}\n", end="", file=self._stream, flush=True)

    def warn(self, text: str) -> None:
        """Show a warning of the program's own."""
        print(safe_text(f"warning: {text}"), file=sys.stderr, flush=True)

    def finish(self, lines: Sequence[str]) -> None:
        """Show the steps at the end of a run; ``lines`` are they where there is no table."""
        for line in lines:
            self.say(line)

    def close(self) -> None:
        """Leave the terminal as it was."""


class LiveScreen(PlainScreen):
    """A table that is drawn anew four times a second, with the latest log lines under it."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console

        super().__init__(stream)
        self.console: Console = Console(file=stream, highlight=False)
        self.live: Any = None
        self.title = ""
        self._rows: dict[str, Row] = {}
        self._lines: deque[tuple[str, str]] = deque(maxlen=_LINES)
        self._lock = threading.Lock()

    def start(self, title: str, steps: Iterable[str], text: str) -> None:
        from rich.live import Live

        self.title, self._rows = safe_text(title), {name: Row() for name in steps}
        self.live = Live(console=self.console, refresh_per_second=4, transient=True, get_renderable=self._draw)
        self.live.start()

    def show(self, name: str, row: Row, text: str = "") -> None:
        with self._lock:
            self._rows[name] = row

    def progress(self, name: str, record: dict[str, Any]) -> None:
        with self._lock:
            self._rows[name] = replace(self._rows[name], progress=record)

    def line(self, name: str, text: str) -> None:
        with self._lock:
            self._lines.append((name, text))

    def pin(self, text: str) -> None:
        self.say(text)

    def say(self, text: str, style: str = "") -> None:
        self.console.print(safe_text(text), style=style, markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        self.say(f"warning: {text}", "yellow")

    def finish(self, lines: Sequence[str]) -> None:
        self.close()
        self.console.print(self.title, style="bold", markup=False)
        self.console.print(self._table())

    def close(self) -> None:
        if self.live:
            self.live.stop()
            self.live = None

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        with self._lock:
            recent = [
                Text(safe_text(f"{name} | {text}"), style="dim", no_wrap=True, overflow="ellipsis")
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


def open_screen(*, to_stderr: bool) -> PlainScreen:
    """The screen for this terminal."""
    stream = sys.stderr if to_stderr else sys.stdout
    return LiveScreen(stream) if stream.isatty() else PlainScreen(stream)


def _progress(row: Row) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    record = row.progress
    if row.status != "running" or not record:
        return Text(safe_text(row.detail), style="dim")
    done, total = float(record.get("done") or 0), float(record.get("total") or 0)
    time_left = f", {duration(float(record['eta']))} left" if record.get("eta") and done < total else ""
    words = f"{done:g}/{total:g}, {float(record.get('rate') or 0):.1f}/s{time_left}  {record.get('text') or ''}"
    grid = Table.grid(padding=(0, 1))
    grid.add_row(ProgressBar(total=total or 1, completed=done, width=24), Text(safe_text(words), style="dim"))
    return grid
