"""What a step logged to MLflow in a container without a network: a file store, read into records of our own kind.

The layout is that of MLflow's FileStore: ``<experiment>/<run>/{metrics,params,tags}/<name>``, one file each; a metric's
lines are ``timestamp value step``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

Record = dict[str, Any]


def variables(folder: Path) -> dict[str, str]:
    """What makes MLflow write into ``folder``, of any version: the later ones ask whether that is meant."""
    return {"MLFLOW_TRACKING_URI": folder.as_uri(), "MLFLOW_ALLOW_FILE_STORE": "true"}


def records(folder: Path) -> Iterator[Record]:
    """Every parameter, tag and value of a metric that was logged, as lines of a metrics file (architecture page)."""
    for run in sorted(path.parent for path in folder.glob("*/*/meta.yaml")):
        for name, text in _texts(run / "params"):
            yield {"kind": "param", "name": name, "value": text}
        for name, text in _texts(run / "tags"):
            if not name.startswith("mlflow."):
                yield {"kind": "tag", "name": name, "value": text}
        for name, text in _texts(run / "metrics"):
            yield from _values(name, text)
        for path in sorted(run.glob("artifacts/*")):
            yield {"kind": "artifact", "path": str(path)}


def texts(folder: Path) -> list[Path]:
    """The files that hold parameters and tags."""
    return [path for kind in ("params", "tags") for path in folder.glob(f"*/*/{kind}/**/*") if path.is_file()]


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path.read_text(encoding="utf-8", errors="replace")


def _values(name: str, text: str) -> Iterator[Record]:
    for line in text.splitlines():
        timestamp, value, *step = line.split()
        count = int(step[0]) if step else 0
        yield {"kind": "metric", "name": name, "value": float(value), "step": count, "timestamp": int(timestamp)}
