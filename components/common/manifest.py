"""What a step wrote, with sizes and hashes: kept with its run on Azure, so that a download can be checked."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from common import strict_json

#: Azure ML keeps what a step leaves in ``./outputs`` with its run.
PLACE = Path("outputs", "azdistill", "manifest.json")
_VARIABLE = "AZURE_ML_OUTPUT_"


def wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process is in a job on Azure (the local runner has a manifest of its own), the first of its step."""
    in_job = bool(environment.get("AZUREML_RUN_ID")) and not environment.get("AZDISTILL_METRICS_FILE")
    return in_job and environment.get("RANK", "0") == "0"


def write_manifest(folder: Path | None = None) -> None:
    """Write down every output of this step; what is not there is left out. Raises OSError."""
    root = folder or Path.cwd()
    outputs = {name: marks for name, path in sorted(output_paths(root).items()) if (marks := _marks(path))}
    target = root / PLACE
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(strict_json.dumps({"version": 1, "outputs": outputs}, ensure_ascii=False), encoding="utf-8")


def output_paths(
    snapshot: Path, arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ
) -> dict[str, Path]:
    """Output -> its path: by the names in the snapshot's component.yml and the options of the command line that are
    called so, and by the variables that Azure ML sets (whose names may have lost their case).
    """
    options = _options(sys.argv[1:] if arguments is None else arguments)
    declared = _declared(snapshot / "component.yml")
    paths = {name: Path(options[name]) for name in declared if name in options}
    by_lower = {name.lower(): name for name in declared}
    for variable, value in environment.items():
        name = variable.removeprefix(_VARIABLE)
        if name != variable and value and "pathoncompute" not in name.lower():
            paths.setdefault(by_lower.get(name.lower(), name), Path(value))
    return paths


def _declared(component: Path) -> list[str]:
    """The outputs that a component declares; none where its file is not there."""
    if not component.is_file():
        return []
    return list(yaml.safe_load(component.read_text(encoding="utf-8")).get("outputs") or {})


def _options(arguments: Sequence[str]) -> dict[str, str]:
    return {name.removeprefix("--"): value for name, value in pairwise(arguments) if name.startswith("--")}


def _marks(path: Path) -> dict[str, dict[str, Any]]:
    """Relative path -> size and hash; a single file has the empty path."""
    if path.is_file():
        return {"": _mark(path)}
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else []
    return {file.relative_to(path).as_posix(): _mark(file) for file in files}


def _mark(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": sha256}
