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


def provenance(given: Namespace, assets: Sequence[DataAsset]) -> dict[str, str]:
    """What the model, and the data assets that it was made with, came from."""
    known = {
        "azdistill.task": given.task,
        "azdistill.student": given.student_id or given.model_name.removesuffix("-distilled"),
        "azdistill.teacher": given.teacher_model,
        "azdistill.teacher_licence": given.teacher_licence,
        "azdistill.job": os.environ.get("AZUREML_ROOT_RUN_ID"),
    }
    known |= {f"azdistill.data.{asset.kind}": f"{asset.name}:{asset.version}" for asset in assets}
    return {name: str(value) for name, value in known.items() if value}


def measured(comparison: dict[str, Any]) -> dict[str, str]:
    """How good the model is."""
    metric = comparison.get("retention_metric")
    found = {name: comparison.get(name) for name in _NUMBERS}
    found |= {f"{model}.{metric}": (comparison.get(model) or {}).get(metric) for model in _MODELS if metric}
    return {
        f"azdistill.{name}": f"{value:.6g}"
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def read_comparison(report: str | None) -> dict[str, Any] | None:
    """``comparison.json`` of a report. Raises NoInput."""
    if not report:
        return None
    try:
        found = json.loads((Path(report) / "comparison.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NoInput(f"the report {report} cannot be read: {error}") from None
    return found if isinstance(found, dict) else None
