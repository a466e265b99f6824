"""Logs of runs in the artifact store: a pipeline's own, and a step's while it grows."""

from __future__ import annotations

import time
from pathlib import Path

from .places import Places
from .runs import Run

PIPELINE, STEP = "logs/azureml/executionlogs.txt", "user_logs/std_log.txt"


def note(places: Places, run: Run, text: str) -> None:
    """Add a line to a pipeline's own log."""
    path = places.artifacts(run.name) / PIPELINE
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"[{time.strftime('%Y-%m-%d %H:%M:%SZ', time.gmtime())}] {text}\n")
    run.logs[PIPELINE] = path


def show(places: Places, run: Run, log: Path) -> None:
    """Let the artifact store show what a step prints, as it prints it."""
    path = places.artifacts(run.name) / STEP
    path.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    path.symlink_to(log)
    run.logs[STEP] = path


def keep(run: Run) -> None:
    """The step has ended: the store has its log for itself."""
    for path in run.logs.values():
        if path.is_symlink():
            content = path.read_bytes()
            path.unlink()
            path.write_bytes(content)
