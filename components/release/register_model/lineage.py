"""What a model was made from, as tags: text that the registry shows and searches."""

from __future__ import annotations

import json
import os
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common.step import NoInput
from data_assets import DataAsset

#: Numbers of the comparison that say how good the model is.
_NUMBERS = ("retention", "gap_recovered", "latency_reduction", "memory_reduction", "p_value_distilled_vs_baseline")
_MODELS = ("teacher", "baseline", "distilled")
#: The tag of a version whose headline metric is not above that of the student as it was.
NOT_BETTER = "azdistill.not_better"


def provenance(args: Namespace, assets: Sequence[DataAsset]) -> dict[str, str]:
    """What the model, and the data assets that it was made with, came from."""
    tags = {
        "azdistill.task": args.task,
        "azdistill.student": args.student_id or args.model_name.removesuffix("-distilled"),
        "azdistill.teacher": args.teacher_model,
        "azdistill.teacher_licence": args.teacher_licence,
        "azdistill.job": os.environ.get("AZUREML_ROOT_RUN_ID"),
    }
    tags |= {f"azdistill.data.{asset.kind}": f"{asset.name}:{asset.version}" for asset in assets}
    return {name: str(value) for name, value in tags.items() if value}


def measured(comparison: dict[str, Any]) -> dict[str, str]:
    """How good the model is."""
    metric = comparison.get("retention_metric")
    metrics = {name: comparison.get(name) for name in _NUMBERS}
    metrics |= {f"{model}.{metric}": (comparison.get(model) or {}).get(metric) for model in _MODELS if metric}
    tags = {
        f"azdistill.{name}": f"{value:.6g}"
        for name, value in metrics.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return tags | ({NOT_BETTER: "true"} if is_better(comparison) is False else {})


def is_better(comparison: dict[str, Any]) -> bool | None:
    """Whether the distilled student is better than the student as it was; None where they were not compared."""
    better: bool | None = (comparison.get("against_baseline") or {}).get("better")
    return better


def read_comparison(report: Path | None) -> dict[str, Any] | None:
    """``comparison.json`` of a report. Raises NoInput."""
    if not report:
        return None
    try:
        comparison = json.loads((report / "comparison.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NoInput(f"the report {report} cannot be read: {error}") from None
    return comparison if isinstance(comparison, dict) else None
