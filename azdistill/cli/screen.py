"""What a person sees of a run while it goes on, here or on Azure: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TextIO

from azdistill.cli.board import Row, board, step_lines
from azdistill.cli.text import is_quiet, safe_text

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

#: More than any terminal shows of them.
_LINES = 8


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

    def note(self, text: str) -> None:
        """Show what is good to know, and changes nothing."""
        self.say(f"note: {text}", "dim")

    def prepare(self, text: str) -> None:
        """Show what is done before a run begins."""
        print(safe_text(text), file=sys.stderr, flush=True)

    def warn(self, text: str) -> None:
        """Show a warning of the program's own."""
        print(safe_text(f"warning: {text}"), file=sys.stderr, flush=True)

    def finish(self, lines: Sequence[str]) -> None:
        """Show the steps at the end of a run; ``lines`` are they where there is no table."""
        for line in lines:
            self.say(line)

    def close(self) -> None:
        """Leave the terminal as it was."""


class QuietScreen(PlainScreen):
    """Shows how a run ended, and warnings."""

    def start(self, title: str, steps: Iterable[str], text: str) -> None:
        pass

    def show(self, name: str, row: Row, text: str = "") -> None:
        pass

    def line(self, name: str, text: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def prepare(self, text: str) -> None:
        pass

    def finish(self, lines: Sequence[str]) -> None:
        pass


class LiveScreen(PlainScreen):
    """A table that is drawn anew four times a second, with the latest log lines under it."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        from rich.console import Console

        super().__init__(stream)
        self.console: Console = Console(file=stream, highlight=False)
        self.live: Any = None
        self.title = ""
        self._rows: dict[str, Row] = {}
        self._lines: deque[tuple[str, str]] = deque(maxlen=_LINES)
        self._lock = threading.Lock()
        self._clock = clock

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
        for line in step_lines(self._rows, self._rows, width=self.console.width, now=self._clock()):
            self.console.print(line, soft_wrap=True)

    def close(self) -> None:
        if self.live:
            self.live.stop()
            self.live = None

    def _draw(self) -> RenderableType:
        from rich.console import Group

        width, height = self.console.size
        with self._lock:
            # The last line is left to the cursor, and to a terminal that scrolls when it is written.
            size = {"width": width, "height": height - 1}
            return Group(*board(self.title, self._rows, list(self._lines), now=self._clock(), **size))


def open_screen(*, to_stderr: bool) -> PlainScreen:
    """The screen for this terminal."""
    stream = sys.stderr if to_stderr else sys.stdout
    if is_quiet():
        return QuietScreen(stream)
    return LiveScreen(stream) if stream.isatty() else PlainScreen(stream)
