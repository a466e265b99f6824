"""Assets with versions: components, environments, data, models, and code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..messages import Request, Response, not_found
from .common import listing, visible

if TYPE_CHECKING:
    from ..workspace import Workspace

KINDS = ("components", "environments", "data", "models", "codes")


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
        add, kind = self._ws.routes.add, self.kind
        add("GET", f"{scope}/{kind}/{{name}}/versions", self.versions)
        add("GET", f"{scope}/{kind}/{{name}}/versions/{{version}}", self.get)
        add("PUT", f"{scope}/{kind}/{{name}}/versions/{{version}}", self.put)
        add("POST", f"{scope}/{kind}/{{name}}/versions/{{version}}/startPendingUpload", self.upload)

    def versions(self, request: Request) -> Response:
        """The versions of an asset, newest first; code is looked up by hash."""
        assert request.store is not None
        found = list(reversed(visible(request, request.store.versions(self.kind, request.params["name"]).values())))
        if self.kind == "codes" and "hash" in request.query:
            every = visible(request, request.store["codes"].values())
            found = [one for one in every if _hash(one) == request.query["hash"]]
        return listing(request, found, self._ws.settings)

    def get(self, request: Request) -> Response:
        """One version."""
        assert request.store is not None
        key = f"{request.params['name']}/{request.params['version']}"
        found = request.store[self.kind].get(key)
        if found is None:
            raise not_found(self.kind, key.replace("/", ":"))
        return Response(found)

    def put(self, request: Request) -> Response:
        """Make a version."""
        assert request.store is not None
        name, version = request.params["name"], request.params["version"]
        with self._ws.lock:
            return Response(request.store.put(self.kind, name, request.json(), version=version), 201)

    def upload(self, request: Request) -> Response:
        """A place in Blob storage for the files of a version, and a signature that opens it."""
        container = f"{request.params['name']}-{request.params['version']}"[:63]
        uri = self._ws.blobs.container_url(container)
        credential = {"credentialType": "SAS", "sasUri": f"{uri}?{self._ws.blobs.sas()}"}
        reference = {"blobUri": uri, "storageAccountArmId": "", "credential": credential}
        answer = {"pendingUploadType": "TemporaryBlobReference", "blobReferenceForConsumption": reference}
        return Response({**answer, "pendingUploadId": None})


def _hash(code: dict) -> str | None:
    return (code["properties"].get("properties") or {}).get("hash_sha256")
