"""The part of Blob storage's REST API that azure-storage-blob and the SDK use."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlencode

from ..messages import BlobError, Request, Response

if TYPE_CHECKING:
    from ..workspace import Workspace

ACCOUNT = "loopback"
HOST = f"/blob/{ACCOUNT}.blob.core.windows.net"


class Blobs:
    """The storage account of a workspace: ``<folder>/blobs/<container>/<blob>``."""

    def __init__(self, workspace: Workspace) -> None:
        self._ws = workspace
        self.folder = workspace.folder / "blobs"
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            workspace.routes.add(method, HOST + "/{container}/{blob...}", getattr(self, method.lower()), guard="none")

    @property
    def account_host(self) -> str:
        """The account's name in a datastore: the SDK puts it into ``https://{}.blob.core.windows.net``."""
        return f"{self._ws.url.removeprefix('https://')}/blob/{ACCOUNT}"

    def container_url(self, container: str) -> str:
        """The address of a container."""
        return f"{self._ws.url}{HOST}/{container}"

    def path(self, container: str, blob: str = "") -> Path:
        """Where a blob lies on disk."""
        return self.folder / container / blob

    def sas(self, hours: float = 1) -> str:
        """A shared access signature."""
        until = (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return urlencode({"sv": "2021-08-06", "se": until, "sr": "c", "sp": "racwdl", "sig": "c2lnbmF0dXJl"})

    def head(self, request: Request) -> Response:
        """A blob's properties."""
        return self.get(request)

    def get(self, request: Request) -> Response:
        """A blob."""
        path = self._file(request)
        if not path.is_file():
            raise BlobError(404, "BlobNotFound", "The specified blob does not exist.")
        content = path.read_bytes()
        headers = {"ETag": f'"{hashlib.md5(content).hexdigest()}"', "x-ms-blob-type": "BlockBlob"}
        headers["Last-Modified"] = formatdate(path.stat().st_mtime, usegmt=True)
        headers["Content-Type"] = "application/octet-stream"
        return Response(content, 200, headers)

    def put(self, request: Request) -> Response:
        """Write a blob."""
        path = self._file(request)
        if request.query.get("comp") == "metadata":
            return Response(status=200, headers={"Last-Modified": formatdate(usegmt=True), "ETag": '"0"'})
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(request.body)
        return Response(status=201, headers={"Last-Modified": formatdate(usegmt=True), "ETag": '"0"'})

    def delete(self, request: Request) -> Response:
        """Delete a blob."""
        self._file(request).unlink(missing_ok=True)
        return Response(status=202)

    def _file(self, request: Request) -> Path:
        return self.path(request.params["container"], unquote(request.params["blob"]))
