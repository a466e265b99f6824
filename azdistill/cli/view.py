"""What a person sees of a run: a live table on a terminal, a line per change elsewhere, a summary at the end."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from azdistill.cli.failure import error_lines
from azdistill.local.listener import Listener, Record
from azdistill.local.plan import Plan
from azdistill.local.store import RunState, StepState
from azdistill.redact import redact

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_LINES = 8
_STYLES = {
    **{"pending": "dim", "running": "bold yellow", "completed": "green", "cached": "cyan"},
    **{"failed": "bold red", "canceled": "magenta", "skipped": "dim"},
}


class View(Listener):
    """A listener that shows; a context manager."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> View:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def warn(self, text: str) -> None:
        """Show a warning of the program's own."""
        print(f"warning: {text}", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """Show a line."""
        print(text, file=self._stream, flush=True)


class PlainView(View):
    """One line per thing that happens, for pipes and log files."""

    def run_started(self, run: RunState, plan: Plan) -> None:
        self.say(f"run {run.run_id}: {plan.name}, {len(plan.steps)} step{'s' * (len(plan.steps) != 1)}")
        for note in plan.notes:
            self.say(f"note: {note}")

    def step_started(self, name: str, step: StepState) -> None:
        self.say(f"{name}: started")

    def line(self, name: str, text: str) -> None:
        self.say(f"{name} | {text}")

    def step_ended(self, name: str, step: StepState) -> None:
        seconds = f" in {duration(step.seconds)}" if step.status in ("completed", "failed") else ""
        self.say(f"{name}: {step.status}{seconds}" + (f": {step.error}" if step.error else ""))

    def run_ended(self, run: RunState) -> None:
        for line in summary_lines(run):
            self.say(line)


@dataclass(slots=True)
class _Row:
    """What is shown of a step."""

    status: str = "pending"
    started: float = 0.0
    seconds: float = 0.0
    progress: Record | None = None


class LiveView(View):
    """A table that is drawn anew four times a second, with the latest log lines under it."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        from rich.console import Console

        self._console: Console = Console(file=stream, highlight=False)
        self._rows: dict[str, _Row] = {}
        self._lines: deque[tuple[str, str]] = deque(maxlen=_LINES)
        self._lock = threading.Lock()
        self._title = ""
        self._live: Any = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def warn(self, text: str) -> None:
        self._console.print(f"warning: {text}", style="yellow", markup=False)

    def run_started(self, run: RunState, plan: Plan) -> None:
        from rich.live import Live

        self._rows = {name: _Row() for name in plan.steps}
        self._title = f"{plan.name}  ({run.run_id})"
        for note in plan.notes:
            self._console.print(f"note: {note}", style="dim", markup=False)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True, get_renderable=self._draw)
        self._live.start()

    def step_started(self, name: str, step: StepState) -> None:
        with self._lock:
            self._rows[name] = _Row("running", time.monotonic())

    def line(self, name: str, text: str) -> None:
        with self._lock:
            self._lines.append((name, text))

    def record(self, name: str, record: Record) -> None:
        if record["kind"] == "progress":
            with self._lock:
                self._rows[name].progress = record

    def step_ended(self, name: str, step: StepState) -> None:
        with self._lock:
            self._rows[name] = _Row(step.status, 0.0, step.seconds)

    def run_ended(self, run: RunState) -> None:
        self._stop()
        self._console.print(self._title, style="bold", markup=False)
        self._console.print(self._table())
        for line in summary_lines(run, steps=False):
            self._console.print(line, style="bold red" if run.status == "failed" else "", markup=False, soft_wrap=True)

    def _stop(self) -> None:
        if self._live:
            self._live.stop()
            self._live = None

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.text import Text

        with self._lock:
            recent = [
                Text(f"{name} | {text}", style="dim", no_wrap=True, overflow="ellipsis") for name, text in self._lines
            ]
            return Group(Text(self._title, style="bold"), self._table(), *recent)

    def _table(self) -> RenderableType:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="dim")
        for heading in ("step", "state", "time", ""):
            table.add_column(heading, justify="right" if heading == "time" else "left", no_wrap=True)
        for name, row in self._rows.items():
            seconds = time.monotonic() - row.started if row.status == "running" else row.seconds
            shown = duration(seconds) if row.status not in ("pending", "skipped", "cached") else ""
            table.add_row(Text(name), Text(row.status, _STYLES.get(row.status, "")), shown, _progress(row))
        return table


def _progress(row: _Row) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    record = row.progress
    if row.status != "running" or not record:
        return ""
    done, total = float(record.get("done") or 0), float(record.get("total") or 0)
    left = f", {duration(float(record['eta']))} left" if record.get("eta") and done < total else ""
    words = f"{done:g}/{total:g}, {float(record.get('rate') or 0):.1f}/s{left}  {record.get('text') or ''}"
    grid = Table.grid(padding=(0, 1))
    grid.add_row(ProgressBar(total=total or 1, completed=done, width=24), Text(words, style="dim"))
    return grid


def summary_lines(run: RunState, *, steps: bool = True) -> list[str]:
    """How a run ended: a table of steps, what failed and why, and where the outputs are."""
    lines = []
    if steps:
        width = max((len(name) for name in run.steps), default=0)
        lines += [f"  {name:<{width}}  {step.status:<9}  {_time_of(step)}".rstrip() for name, step in run.steps.items()]
    lines.append(f"run {run.run_id}: {run.status} in {duration(run.seconds)}")
    if run.error and not any(step.status == "failed" for step in run.steps.values()):
        lines.append(run.error)
    for name, step in run.steps.items():
        if step.status == "failed":
            lines.append(f"step '{name}' failed: {step.error}")
            if step.log:
                lines += [f"  {redact(line)}" for line in error_lines(Path(step.log))]
                lines.append(f"  log: {step.log}")
    lines += [f"{name}: {path}" for name, path in run.outputs.items()]
    return lines


def _time_of(step: StepState) -> str:
    return duration(step.seconds) if step.status in ("completed", "failed", "canceled") else ""


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 m 05 s``, ``2 h 10 m``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} m"
    return f"{minutes} m {rest:02d} s" if minutes else f"{rest} s"


def make_view(*, to_stderr: bool) -> View:
    """The view for this terminal."""
    stream = sys.stderr if to_stderr else sys.stdout
    return LiveView(stream) if stream.isatty() else PlainView(stream)
