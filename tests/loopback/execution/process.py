"""The process of one job: started, asked to end, and read while it writes down what happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_POLL = 0.1
_TESTS = Path(__file__).parents[2]
_OURS = ("AZURE", "MLFLOW", "AZD", "PYTEST")


class Process:
    """Runs the job in ``folder`` with the state folder ``home``, which all jobs share."""

    def __init__(self, folder: Path, home: Path, run_id: str) -> None:
        self._folder, self._home = folder, home
        self._events = home / "runs" / run_id / "events.jsonl"
        self._summary = self._events.with_name("run.json")
        self.asked = threading.Event()

    @property
    def output(self) -> str:
        """What the process itself printed, which should be nothing."""
        path = self._folder / "worker.txt"
        return path.read_text(errors="replace").strip() if path.exists() else ""

    def result(self) -> str:
        """How the run ended, or an empty string where it never began."""
        return str(json.loads(self._summary.read_text())["status"]) if self._summary.exists() else ""

    def run(self) -> Iterator[dict[str, Any]]:
        """Start it and give its events until it has ended."""
        if self.asked.is_set():
            return
        told, offset = False, 0
        child = self._start()
        while True:
            over = child.poll() is not None
            events, offset = _read(self._events, offset)
            yield from events
            if over:
                return
            if self.asked.is_set() and not told:
                told = True
                # Unlike SIGINT, which a shell has its background jobs ignore until they say otherwise.
                child.send_signal(signal.SIGTERM)
            time.sleep(_POLL)

    def _start(self) -> subprocess.Popen[bytes]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
        path = os.pathsep.join((str(_TESTS), str(_TESTS.parent)))
        with (self._folder / "worker.txt").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "loopback.execution.worker", str(self._folder)],
                env={**inherited, "AZDISTILL_HOME": str(self._home), "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
            )


def _read(path: Path, offset: int) -> tuple[list[dict[str, Any]], int]:
    """The events that were written whole since ``offset``, and where the next one starts."""
    if not path.exists():
        return [], offset
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], offset + len(whole)
