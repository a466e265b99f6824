"""The one-step job that looks around from where steps run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from azdistill import assets
from azdistill.cloud.submit.prepare import Prepared, prepare_mapping
from azdistill.sizing import skus

#: Long enough for an image to be built the first time; the look itself takes two minutes.
_SECONDS = 3600


def probe(compute: str, inputs: Mapping[str, Any], folder: Path, profile: str | None) -> Prepared:
    """The job that probes ``compute``: a cluster's name, or an instance type for serverless compute."""
    step: dict[str, Any] = {
        "type": "command",
        "component": str(assets.component("probe")),
        "inputs": dict(inputs),
        "limits": {"timeout": _SECONDS},
    }
    if _is_size(compute):
        step["compute"] = "azureml:serverless"
        step["resources"] = {"instance_type": compute}
    else:
        step["compute"] = f"azureml:{compute.removeprefix('azureml:')}"
    mapping = {
        "type": "pipeline",
        "display_name": f"probe of {compute}",
        "experiment_name": "azdistill-doctor",
        "jobs": {"probe": step},
    }
    return prepare_mapping(mapping, folder, source="azdistill doctor", profile=profile)


def _is_size(compute: str) -> bool:
    """Whether the word names a size: of our list, or written like one."""
    return skus.find(compute) is not None or compute.lower().startswith("standard_")
