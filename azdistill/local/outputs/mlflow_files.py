"""What a step logged to MLflow in a folder of its attempt: a file store, read into records of our own kind.

The layout is that of MLflow's FileStore: ``<experiment>/<run>/{metrics,params,tags}/<name>``, one file each; a metric's
lines are ``timestamp value step``. Links that a step made in there are not followed: they may lead to what it could not
read itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from azdistill.local.outputs.manifest import is_own

Record = dict[str, Any]


def variables(folder: Path) -> dict[str, str]:
    """What makes MLflow write into ``folder``, of any version: the later ones ask whether that is meant."""
    return {"MLFLOW_TRACKING_URI": folder.as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true"}


def records(folder: Path) -> Iterator[Record]:
    """Every parameter, tag and value of a metric that was logged, as lines of a metrics file."""
    for run in sorted(path.parent for path in folder.glob("*/*/meta.yaml") if is_own(path, folder)):
        for name, text in _texts(run / "params"):
            yield {"kind": "param", "name": name, "value": text}
        for name, text in _texts(run / "tags"):
            if not name.startswith("mlflow."):
                yield {"kind": "tag", "name": name, "value": text}
        for name, text in _texts(run / "metrics"):
            yield from values(name, text)
        for path in sorted(run.glob("artifacts/*")):
            if is_own(path, run):
                yield {"kind": "artifact", "path": str(path)}


def texts(folder: Path) -> list[Path]:
    """The files that hold parameters and tags."""
    paths = (path for kind in ("params", "tags") for path in folder.glob(f"*/*/{kind}/**/*"))
    return [path for path in paths if path.is_file() and is_own(path, folder)]


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file() and is_own(path, folder):
            yield path.relative_to(folder).as_posix(), path.read_text(encoding="utf-8", errors="replace")


def values(name: str, text: str) -> Iterator[Record]:
    """The values in a metric's file; lines that hold none are passed over."""
    for line in text.splitlines():
        words = line.split()
        with contextlib.suppress(ValueError, IndexError):
            timestamp, value, step = int(words[0]), float(words[1]), int(words[2]) if words[2:] else 0
            yield {"kind": "metric", "name": name, "value": value, "step": step, "timestamp": timestamp}
