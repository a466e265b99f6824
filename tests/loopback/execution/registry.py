"""MLflow's model registry API over the workspace's models: what ``mlflow.register_model`` calls."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..messages import Response
from .search import matching
from .tracking import API, MlflowError, answering, bad, missing, page

if TYPE_CHECKING:
    from ..workspace import Workspace

#: What versions can be searched by, beside their tags.
_FIELDS = ("name", "run_id", "version")


def install(workspace: Workspace) -> None:
    """Add the routes."""
    api = Registry(workspace)
    routes = {
        "POST registered-models/create": api.create,
        "GET registered-models/get": api.get,
        "GET registered-models/search": api.search,
        "PATCH registered-models/update": api.update,
        "POST registered-models/set-tag": api.set_tag,
        "POST registered-models/get-latest-versions": api.latest,
        "GET registered-models/get-latest-versions": api.latest,
        "POST model-versions/create": api.create_version,
        "GET model-versions/get": api.get_version,
        "GET model-versions/search": api.search_versions,
        "PATCH model-versions/update": api.update_version,
        "POST model-versions/set-tag": api.set_version_tag,
        "GET model-versions/get-download-uri": api.download_uri,
    }
    for name, handler in routes.items():
        method, _, path = name.partition(" ")
        workspace.routes.add(method, f"{API}/mlflow/{path}", answering(handler), guard="ml")
    # What the service does not have, such as logged models, is answered with an empty 404.
    workspace.routes.add("*", f"{API}/mlflow/{{rest...}}", lambda _: Response(status=404), guard="ml")


class Registry:
    """The handlers; see :class:`tracking.Tracking`."""

    def __init__(self, workspace: Workspace) -> None:
        self._store = workspace.store
        self._models: dict[str, dict[str, Any]] = {}

    def create(self, sent: dict[str, Any]) -> Any:
        name = sent.get("name") or ""
        if not name:
            raise bad("Registered model name cannot be empty.")
        if name in self._known():
            raise MlflowError(400, "RESOURCE_ALREADY_EXISTS", f"Registered Model (name={name}) already exists.")
        tags = {tag["key"]: tag["value"] for tag in sent.get("tags") or []}
        self._models[name] = {"description": sent.get("description") or "", "tags": tags}
        return {"registered_model": self._described(name)}

    def get(self, sent: dict[str, Any]) -> Any:
        return {"registered_model": self._described(self._name(sent))}

    def search(self, sent: dict[str, Any]) -> Any:
        every = [self._described(name) for name in self._known()]
        look = [({"name": one["name"]}, {}, {}, {}, one) for one in every]
        found, rest = page(sent, matching(sent.get("filter"), look))
        return {"registered_models": found, **rest}

    def update(self, sent: dict[str, Any]) -> Any:
        self._own(self._name(sent))["description"] = sent.get("description") or ""
        return self.get(sent)

    def set_tag(self, sent: dict[str, Any]) -> None:
        self._own(self._name(sent))["tags"][sent["key"]] = sent.get("value") or ""

    def latest(self, sent: dict[str, Any]) -> Any:
        versions = self._versions(self._name(sent))
        return {"model_versions": versions[-1:]}

    def create_version(self, sent: dict[str, Any]) -> Any:
        name = self._name(sent)
        numbers = [int(version) for version in self._store.versions("models", name) if version.isdigit()]
        version = str(max(numbers, default=0) + 1)
        properties = {
            "modelUri": sent.get("source"),
            "modelType": "mlflow_model",
            "jobName": sent.get("run_id"),
            "description": sent.get("description"),
            "tags": {tag["key"]: tag["value"] for tag in sent.get("tags") or []},
            "properties": {},
            "flavors": {},
            "isArchived": False,
            "isAnonymous": False,
        }
        self._store.put("models", name, {"properties": properties}, version=version)
        return {"model_version": self._version(name, version)}

    def get_version(self, sent: dict[str, Any]) -> Any:
        return {"model_version": self._version(self._name(sent), str(sent.get("version")))}

    def search_versions(self, sent: dict[str, Any]) -> Any:
        every = [version for name in self._known() for version in self._versions(name)]
        look = [({key: one[key] for key in _FIELDS}, {}, {}, _flat(one["tags"]), one) for one in every]
        found, rest = page(sent, matching(sent.get("filter"), look))
        return {"model_versions": found, **rest}

    def update_version(self, sent: dict[str, Any]) -> Any:
        self._properties(sent)["description"] = sent.get("description")
        return self.get_version(sent)

    def set_version_tag(self, sent: dict[str, Any]) -> None:
        self._properties(sent).setdefault("tags", {})[sent["key"]] = sent.get("value") or ""

    def download_uri(self, sent: dict[str, Any]) -> Any:
        return {"artifact_uri": self._properties(sent)["modelUri"]}

    def _known(self) -> list[str]:
        return list(dict.fromkeys((*self._models, *self._store.names("models"))))

    def _own(self, name: str) -> dict[str, Any]:
        return self._models.setdefault(name, {"description": "", "tags": {}})

    def _name(self, sent: dict[str, Any]) -> str:
        name = str(sent.get("name") or "")
        if name not in self._known():
            raise missing(f"Registered Model with name={name} not found.")
        return name

    def _properties(self, sent: dict[str, Any]) -> dict[str, Any]:
        name, version = self._name(sent), str(sent.get("version"))
        found = self._store.versions("models", name).get(version)
        if found is None:
            raise missing(f"Model Version (name={name}, version={version}) not found.")
        properties: dict[str, Any] = found["properties"]
        return properties

    def _versions(self, name: str) -> list[dict[str, Any]]:
        return [self._version(name, version) for version in self._store.versions("models", name)]

    def _version(self, name: str, version: str) -> dict[str, Any]:
        properties = self._properties({"name": name, "version": version})
        return {
            "name": name,
            "version": version,
            "creation_timestamp": int(time.time() * 1000),
            "current_stage": "None",
            "description": properties.get("description") or "",
            "source": properties.get("modelUri") or "",
            "run_id": properties.get("jobName") or "",
            "status": "READY",
            "tags": [{"key": key, "value": str(value)} for key, value in (properties.get("tags") or {}).items()],
        }

    def _described(self, name: str) -> dict[str, Any]:
        own, versions = self._own(name), self._versions(name)
        return {
            "name": name,
            "description": own["description"],
            "latest_versions": versions[-1:],
            "tags": [{"key": key, "value": value} for key, value in own["tags"].items()],
        }


def _flat(tags: list[dict[str, str]]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in tags}
