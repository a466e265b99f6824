"""Assets with versions: components, environments, data, models, and code; in workspaces and registries."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from ..messages import ArmError, Request, Response, invalid, not_found
from ..store import now
from ..strict import problems_of_component
from .common import listing, visible

if TYPE_CHECKING:
    from ..store import Store
    from ..workspace import Workspace

KINDS = ("components", "environments", "data", "models", "codes")
ANONYMOUS = ("azureml_anonymous", "CliV2AnonymousEnvironment")
FIXED = {
    "components": ("componentSpec",),
    "environments": ("image", "build", "condaFile"),
    "data": ("dataUri", "dataType"),
    "models": ("modelUri", "modelType"),
    "codes": ("codeUri",),
}
"""What of a version cannot be changed once it is there."""


def install(ws: Workspace) -> None:
    """Add the routes of every kind, in workspaces."""
    for kind in KINDS:
        Assets(ws, kind).install("{ws}")


class Assets:
    """The handlers of one kind of asset."""

    def __init__(self, ws: Workspace, kind: str) -> None:
        self._ws, self.kind = ws, kind

    def install(self, scope: str) -> None:
        """Add the routes under a workspace or registry."""
        add, path = self._ws.routes.add, f"{scope}/{self.kind}"
        add("GET", path, self.containers)
        add("GET", path + "/{name}", self.container)
        add("PUT", path + "/{name}", self.put_container)
        add("DELETE", path + "/{name}", self.delete_container)
        add("GET", path + "/{name}/versions", self.versions)
        add("GET", path + "/{name}/versions/{version}", self.get)
        add("PUT", path + "/{name}/versions/{version}", self.put)
        add("DELETE", path + "/{name}/versions/{version}", self.delete)
        add("POST", path + "/{name}/versions/{version}/startPendingUpload", self.upload)
        if "registry" in scope:
            add("GET", path + "/{name}/labels/{label}", self.labelled)
            add("PUT", f"{scope}/tempdatarefs/{{name}}/versions/{{version}}", self.upload)

    # Containers ------------------------------------------------------------------------------------------------------

    def containers(self, request: Request) -> Response:
        """The named assets, the last one made first."""
        store = _store(request)
        names = [name for name in reversed(store.names(self.kind)) if name not in ANONYMOUS]
        return listing(request, visible(request, [self._container(store, one) for one in names]), self._ws.settings)

    def container(self, request: Request) -> Response:
        """One asset: which version is the latest, which comes next."""
        store, name = _store(request), request.params["name"]
        if name not in store.names(self.kind) and name not in store[f"{self.kind} containers"]:
            raise not_found(self.kind, name)
        return Response(self._container(store, name))

    def put_container(self, request: Request) -> Response:
        """Change an asset (archive it), or make one without versions."""
        store, name = _store(request), request.params["name"]
        store[f"{self.kind} containers"][name] = dict(request.json().get("properties") or {})
        return Response(self._container(store, name))

    def delete_container(self, request: Request) -> Response:
        """Delete an asset with its versions."""
        store, name = _store(request), request.params["name"]
        for version in store.versions(self.kind, name):
            del store[self.kind][f"{name}/{version}"]
        store[f"{self.kind} containers"].pop(name, None)
        return Response(status=200)

    def _container(self, store: Store, name: str) -> dict[str, Any]:
        versions = store.versions(self.kind, name)
        numbers = [int(version) for version in versions if version.isdecimal()]
        latest = next(reversed(versions), None)
        properties = {
            "description": None,
            "tags": {},
            "properties": {},
            "isArchived": False,
            "latestVersion": latest,
            "nextVersion": str(max(numbers, default=0) + 1),
            **({"dataType": versions[latest]["properties"].get("dataType")} if latest and self.kind == "data" else {}),
            **store[f"{self.kind} containers"].get(name, {}),
        }
        type_ = f"Microsoft.MachineLearningServices/workspaces/{self.kind}"
        data = versions[latest].get("systemData", {}) if latest else {"createdAt": now()}
        id_ = f"{store.scope}/{self.kind}/{name}"
        return {"id": id_, "name": name, "type": type_, "properties": properties, "systemData": data}

    # Versions --------------------------------------------------------------------------------------------------------

    def versions(self, request: Request) -> Response:
        """The versions of an asset, newest first; code is looked up by hash, whatever its name."""
        store = _store(request)
        if self.kind == "codes" and "hash" in request.query:
            found = [one for one in visible(request, store["codes"].values()) if _hash(one) == request.query["hash"]]
            return listing(request, found, self._ws.settings)
        found = visible(request, store.versions(self.kind, request.params["name"]).values())
        if "asc" not in request.query.get("$orderBy", "").lower():
            found = found[::-1]
        return listing(request, found, self._ws.settings)

    def get(self, request: Request) -> Response:
        """One version."""
        found = self._find(request)
        self._ws.operations.look(found["id"])
        return Response(found)

    def labelled(self, request: Request) -> Response:
        """The version behind a label; ``latest`` is the one that was made last."""
        versions = _store(request).versions(self.kind, request.params["name"])
        if request.params["label"] != "latest" or not versions:
            raise not_found(self.kind, f"{request.params['name']}@{request.params['label']}")
        return Response(versions[next(reversed(versions))])

    def put(self, request: Request) -> Response:
        """Make a version, or change what may be changed of one that is there."""
        store, name, version = _store(request), request.params["name"], request.params["version"]
        body = request.json()
        if self.kind == "components":
            problems = problems_of_component(self._ws, (body.get("properties") or {}).get("componentSpec") or {})
            if problems:
                raise invalid(f"Component {name}:{version}", problems)
        with self._ws.lock:
            old = store[self.kind].get(f"{name}/{version}")
            if old is not None:
                self._same(old, body, f"{name}:{version}")
            made = store.put(self.kind, name, self._completed(body), version=version)
            headers = self._provision(made) if "/registries/" in store.scope else {}
            if headers:
                made["properties"]["provisioningState"] = "Creating"
        self._ws.emit("asset_put", self.kind, made)
        return Response(made, 200 if old else 201, headers)

    def delete(self, request: Request) -> Response:
        """Delete a version."""
        self._find(request)
        del _store(request)[self.kind][f"{request.params['name']}/{request.params['version']}"]
        return Response(status=200)

    def upload(self, request: Request) -> Response:
        """A place in Blob storage for the files of a version, and what opens it."""
        store, name = _store(request), f"{request.params['name']}-{request.params['version']}"
        if f"{request.params['name']}/{request.params['version']}" in store[self.kind] and self.kind != "codes":
            raise ArmError(409, "Conflict", f"Asset {name} already exists.")
        container = name if "/workspaces/" in store.scope else f"registry-{uuid.uuid5(uuid.NAMESPACE_URL, name)}"
        uri = self._ws.blobs.container_url(container[:63])
        credential = {"credentialType": "SAS", "sasUri": f"{uri}?{self._ws.blobs.sas()}"}
        reference = {"blobUri": uri, "storageAccountArmId": "", "credential": credential}
        answer = {"pendingUploadType": "TemporaryBlobReference", "blobReferenceForConsumption": reference}
        return Response({**answer, "pendingUploadId": None})

    def _find(self, request: Request) -> dict[str, Any]:
        found = _store(request)[self.kind].get(f"{request.params['name']}/{request.params['version']}")
        if found is None:
            raise not_found(self.kind, f"{request.params['name']}:{request.params['version']}")
        return found

    def _same(self, old: dict[str, Any], body: dict[str, Any], name: str) -> None:
        sent = body.get("properties") or {}
        for field in FIXED[self.kind]:
            if sent.get(field) is not None and sent[field] != old["properties"].get(field):
                message = f"A {self.kind} version {name} already exists with another {field}. Use another version."
                raise ArmError(409, "UserError", message)

    def _completed(self, body: dict[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in (body.get("properties") or {}).items() if value is not None}
        properties = {"isAnonymous": False, "isArchived": False, "tags": {}, "properties": {}, **given}
        if self.kind == "environments":
            properties = {"environmentType": "UserCreated", "osType": "Linux", **properties}
        if self.kind == "models":
            properties = {"flavors": {}, "modelType": "custom_model", **properties}
        return {**body, "properties": {**properties, "provisioningState": "Succeeded"}}

    def _provision(self, made: dict[str, Any]) -> dict[str, str]:
        def over() -> None:
            made["properties"]["provisioningState"] = "Succeeded"

        return self._ws.operations.start(made["id"], over, self._ws.settings.provisioning_errors.get(self.kind))


def _store(request: Request) -> Store:
    assert request.store is not None
    return request.store


def _hash(code: dict[str, Any]) -> str | None:
    return (code["properties"].get("properties") or {}).get("hash_sha256")
