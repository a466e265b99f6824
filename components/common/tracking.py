"""Parameters, metrics, tags and artefacts of a step.

With ``AZDISTILL_METRICS_FILE`` set each call appends one JSON line, which the runner forwards to MLflow while the step
runs: a step needs neither mlflow nor a network for it. Without it the calls go to mlflow, as on Azure. Where neither
is there, nothing is recorded.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

from common import strict_json

_lock = threading.Lock()
_warned = False


def log_metric(name: str, value: float, step: int | None = None) -> None:
    """One value of a metric; ``step`` counts where there are several."""
    if _metrics_file():
        append("metric", name=name, value=strict_json.word(float(value)), step=step, timestamp=int(time.time() * 1000))
    elif mlflow := _mlflow():
        mlflow.log_metric(name, float(value), step=step)


def log_metrics(values: dict[str, float], step: int | None = None) -> None:
    """Several metrics of the same step."""
    for name, value in values.items():
        log_metric(name, value, step)


def log_headline(values: dict[str, float]) -> None:
    """The metrics that stand for the whole pipeline: of the step and, on Azure, of the pipeline's run too.

    The local runner lifts them itself (tag ``azdistill.headline``).
    """
    log_metrics(values)
    root = os.environ.get("AZUREML_ROOT_RUN_ID", "")
    if _metrics_file() or not root or root == os.environ.get("AZUREML_RUN_ID"):
        return
    if mlflow := _mlflow():
        try:
            _lift(mlflow, root, values)
        except Exception as error:  # noqa: BLE001 - a report that was written is not lost for a table of runs
            _warn(f"the metrics could not be logged to the pipeline's run: {error}")


def _lift(mlflow: Any, run_id: str, values: dict[str, float]) -> None:
    client = mlflow.MlflowClient()
    milliseconds = int(time.time() * 1000)
    metrics = [mlflow.entities.Metric(name, float(value), milliseconds, 0) for name, value in values.items()]
    # No more than the service takes in one request.
    for start in range(0, len(metrics), 100):
        client.log_batch(run_id, metrics=metrics[start : start + 100])


def log_params(values: dict[str, Any]) -> None:
    """Parameters of the step, as text."""
    if _metrics_file():
        for name, value in values.items():
            append("param", name=name, value=str(value))
    elif mlflow := _mlflow():
        mlflow.log_params(values)


def set_tag(name: str, value: Any) -> None:
    """A tag of the step's run."""
    if _metrics_file():
        append("tag", name=name, value=str(value))
    elif mlflow := _mlflow():
        mlflow.set_tag(name, str(value))


def set_headline_tag(name: str, value: Any) -> None:
    """A tag that stands for the whole pipeline: of the step's run and, on Azure, of the pipeline's run too.

    The local runner lifts those named ``azdistill.`` itself.
    """
    set_tag(name, value)
    root = os.environ.get("AZUREML_ROOT_RUN_ID", "")
    if _metrics_file() or not root or root == os.environ.get("AZUREML_RUN_ID"):
        return
    if mlflow := _mlflow():
        try:
            mlflow.MlflowClient().set_tag(root, name, str(value))
        except Exception as error:  # noqa: BLE001 - a report that was written is not lost for a table of runs
            _warn(f"the tag {name} could not be set on the pipeline's run: {error}")


def log_artifact(path: str | os.PathLike[str]) -> None:
    """A small file or a report to keep with the run."""
    if _metrics_file():
        append("artifact", path=str(Path(path).resolve()))
    elif mlflow := _mlflow():
        log = mlflow.log_artifacts if Path(path).is_dir() else mlflow.log_artifact
        log(str(path))


def append(kind: str, **fields: Any) -> None:
    """Append one line to the metrics file, where there is one."""
    path = _metrics_file()
    if not path:
        return
    line = strict_json.dumps({"kind": kind, **fields}, ensure_ascii=False) + "\n"
    # One write of one line in append mode: lines of several processes do not mix.
    with _lock, open(path, "ab", buffering=0) as file:
        file.write(line.encode("utf-8"))


def _metrics_file() -> str:
    return os.environ.get("AZDISTILL_METRICS_FILE", "")


def _mlflow() -> Any:
    """The mlflow module where a run is being tracked, else None."""
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        return None
    # A line of advertising per step is no news to whoever reads its log.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    try:
        import mlflow
    except ImportError:
        _warn("mlflow is not installed: metrics are not recorded")
        return None
    return mlflow


def _warn(text: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        print(f"warning: {text}", file=sys.stderr, flush=True)
