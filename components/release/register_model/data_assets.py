"""Rows as data assets of the workspace: a version is the hash of what it holds, and never changes.

The rows are kept in a standing folder on a datastore, a folder for each hash, and the asset points there. Registering
needs an identity that may write to the workspace (role: AzureML Data Scientist); where a job has none the rows are kept
all the same, and the step says so.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from common.step import NoInput, say
from resource_manager import NotPermitted, call

API = "2023-04-01"
_WORKSPACE = ("AZUREML_ARM_SUBSCRIPTION", "AZUREML_ARM_RESOURCEGROUP", "AZUREML_ARM_WORKSPACE_NAME")
#: So much of a hash tells any two files apart.
_DIGITS = 16


@dataclass
class DataAsset:
    """Rows under the hash of what they hold. ``uri`` is where they lie on the datastore."""

    name: str
    kind: str
    version: str
    uri: str
    registered: bool = False

    def as_json(self) -> dict[str, Any]:
        """As registration.json lists it."""
        return asdict(self)


def keep(name: str, rows: Path, folder: Path, base: str) -> DataAsset:
    """Put ``rows`` into the standing ``folder``, whose address is ``base``. Raises NoInput."""
    try:
        with rows.open("rb") as file:
            digest = hashlib_of(file)
    except OSError as error:
        raise NoInput(f"cannot open {rows}: {error.strerror}") from None
    kind = next(kind for kind in ("curated", "teacher-rows") if name.endswith(kind))
    place = folder / kind / digest / "rows.jsonl"
    if not place.is_file() or place.stat().st_size != rows.stat().st_size:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(rows, place)
    return DataAsset(name, kind, digest, f"{base.rstrip('/')}/{kind}/{digest}/rows.jsonl")


def hashlib_of(file: Any) -> str:
    """The first digits of the sha256 of an open file."""
    total = sha256()
    while block := file.read(1 << 20):
        total.update(block)
    return total.hexdigest()[:_DIGITS]


def register(assets: Sequence[DataAsset], tags: Mapping[str, str]) -> None:
    """Register what the workspace does not have yet. Outside of a job there is no workspace, and nothing is done."""
    values = [os.environ.get(name, "") for name in _WORKSPACE]
    if not all(values):
        return
    for asset in assets:
        try:
            _register(asset, tags, *values)
        except NotPermitted as error:
            hint = "the step's identity needs the role AzureML Data Scientist (see `identity:`)"
            say(f"warning: {asset.name} is kept at {asset.uri} but not registered: {error}; {hint}")
            return


def _register(asset: DataAsset, tags: Mapping[str, str], subscription: str, group: str, workspace: str) -> None:
    scope = f"/subscriptions/{subscription}/resourceGroups/{group}"
    owner = f"{scope}/providers/Microsoft.MachineLearningServices/workspaces/{workspace}"
    path = f"{owner}/data/{asset.name}/versions/{asset.version}"
    if call("GET", path, API) is None:
        # The long form of the address means the same to every service.
        place = f"{scope.replace('resourceGroups', 'resourcegroups')}/workspaces/{workspace}".lstrip("/")
        uri = asset.uri.replace("azureml://datastores/", f"azureml://{place}/datastores/", 1)
        properties = {
            **{"dataType": "uri_file", "dataUri": uri, "isAnonymous": False, "tags": dict(tags)},
            "description": f"{asset.kind} of a distillation by azdistill",
        }
        call("PUT", path, API, {"properties": properties})
    asset.registered = True
