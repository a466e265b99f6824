"""Runs of a workspace that were pulled, as ``compare`` and ``runs`` read them: a JSON file each, beside local runs."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from azdistill import strict_json
from azdistill.permissions import make_private

_FOLDER = "pulled"


@dataclass(frozen=True, slots=True)
class PulledStep:
    """What is compared of a step."""

    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PulledRun:
    """What is listed and compared of a run; the words are a local run's."""

    run_id: str
    pipeline: str
    status: str
    started: float
    seconds: float
    params: dict[str, str]
    metrics: dict[str, float]
    steps: dict[str, PulledStep]
    workspace: str

    def save(self, home: Path) -> None:
        """Keep it under the state folder."""
        folder = home / _FOLDER
        make_private(folder)
        beside = folder / f".{uuid.uuid4().hex[:8]}"
        beside.write_text(strict_json.dumps({"version": 1, **asdict(self)}), encoding="utf-8")
        os.replace(beside, folder / f"{self.run_id}.json")


def pulled_runs(home: Path) -> list[PulledRun]:
    """Every run that was pulled, newest first."""
    folder = home / _FOLDER
    paths = folder.glob("*.json") if folder.is_dir() else ()
    found = [run for path in paths if (run := _read(path))]
    return sorted(found, key=lambda run: run.started, reverse=True)


def _read(path: Path) -> PulledRun | None:
    try:
        stored: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        stored.pop("version")
        stored["steps"] = {name: PulledStep(**step) for name, step in stored["steps"].items()}
        return PulledRun(**stored)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # A damaged file hides no other run.
        return None
