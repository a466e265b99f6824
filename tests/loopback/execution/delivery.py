"""What becomes of a step's files: outputs and artifacts go to the blob store, assets are registered."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .places import DEFAULT, Places
from .runs import Made, Run

if TYPE_CHECKING:
    from ..workspace import Workspace

#: What run history calls models; data it calls as everybody does.
_MODELS = {"custom_model": "CustomModel", "mlflow_model": "MLFlowModel", "triton_model": "TritonModel"}
#: What a step leaves in these folders of its working directory is kept with the run.
_COLLECTED = ("outputs", "logs")


def uri_of(asked: dict[str, Any], run: Run, output: str, kind: str) -> str:
    """The URI that an output is written to: the one asked for, or Azure's own choice."""
    known = {"name": run.name, "output_name": output, "default_datastore": DEFAULT}
    uri = str(asked.get("uri") or f"azureml://datastores/{DEFAULT}/paths/azureml/{run.name}/{output}")
    for name, value in known.items():
        uri = uri.replace("${{" + name + "}}", value)
    return uri if kind == "uri_file" or uri.endswith("/") else f"{uri}/"


def keep_output(places: Places, uri: str, made: Path) -> None:
    """Copy an output into the blob store."""
    target = places.path(uri)
    if target.resolve() == made.resolve():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if made.is_dir():
        shutil.copytree(made, target, dirs_exist_ok=True, copy_function=shutil.copyfile)
    else:
        shutil.copyfile(made, target)
    for folder in (target, *target.rglob("*")) if target.is_dir() else ():
        if folder.is_dir():
            folder.chmod(0o755)


def keep_artifacts(places: Places, run: Run, snapshot: Path) -> None:
    """Collect what a step wrote into ``./outputs`` and ``./logs``."""
    for name in _COLLECTED:
        if (snapshot / name).is_dir():
            shutil.copytree(snapshot / name, places.artifacts(run.name) / name, dirs_exist_ok=True)


def register(workspace: Workspace, run: Run, output: str, uri: str, kind: str, asked: dict[str, Any]) -> Made:
    """The data asset of an output; also under the name that was asked for."""
    name, version = f"azureml_{run.name}_output_data_{output}", "1"
    _put(workspace, run, output, name, version, uri, kind)
    if asked.get("name"):
        name = str(asked["name"])
        version = str(asked.get("version") or _next(workspace, "models" if kind in _MODELS else "data", name))
        _put(workspace, run, output, name, version, uri, kind)
    container = "models" if kind in _MODELS else "data"
    asset = (
        f"azureml://locations/{workspace.location}/workspaces/{workspace.guid}/{container}/{name}/versions/{version}"
    )
    run.outputs[output] = Made(uri, _MODELS.get(kind, kind), asset)
    return run.outputs[output]


def _put(workspace: Workspace, run: Run, output: str, name: str, version: str, uri: str, kind: str) -> None:
    shared = {"isAnonymous": False, "isArchived": False, "tags": {}, "properties": {}}
    if kind in _MODELS:
        source = f"azureml://jobs/{run.name}/outputs/{output}"
        body = {**shared, "modelUri": uri, "modelType": kind, "flavors": {}, "jobName": run.name, "description": source}
        workspace.store.put("models", name, {"properties": body}, version=version)
    else:
        workspace.store.put("data", name, {"properties": {**shared, "dataUri": uri, "dataType": kind}}, version=version)


def _next(workspace: Workspace, kind: str, name: str) -> int:
    numbers = [int(version) for version in workspace.store.versions(kind, name) if version.isdigit()]
    return max(numbers, default=0) + 1
