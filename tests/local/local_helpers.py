"""Pipelines written in a line or two, and what is asked about their runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from azdistill.local.run import Finished, Options

ENVIRONMENT = "azureml:any@latest"


def step(command: str, *, outputs: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """An inline command step whose ``outputs`` are files."""
    made = {name: {"type": "uri_file"} for name in outputs}
    return {"type": "command", "command": command, "environment": ENVIRONMENT, "outputs": made, **more}


def write_pipeline(path: Path, jobs: dict[str, Any], **more: Any) -> Path:
    """A pipeline job's YAML file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        yaml.safe_dump({"type": "pipeline", "display_name": "test", "jobs": jobs, **more}), encoding="utf-8"
    )
    return path


def statuses(finished: Finished) -> dict[str, str]:
    """What each step came to."""
    return {name: state.status for name, state in finished.state.steps.items()}


def log_of(finished: Finished, name: str) -> str:
    """A step's whole log."""
    log = finished.state.steps[name].log
    assert log
    return Path(log).read_text(encoding="utf-8")


no_cache = replace(Options(), use_cache=False)
