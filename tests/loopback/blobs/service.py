"""The part of Blob storage's REST API that azure-storage-blob and the SDK use."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlencode

from ..messages import BlobError, Request, Response, ServiceError
from ..routes import Handler
from .disk import Blob, Disk
from .listing import page

if TYPE_CHECKING:
    from ..workspace import Workspace

ACCOUNT = "loopback"
HOST = f"/blob/{ACCOUNT}.blob.core.windows.net"


class Blobs:
    """The storage account of a workspace: ``<folder>/blobs/<container>/<blob>``.

    Its address is ``https://127.0.0.1:PORT/blob/loopback.blob.core.windows.net``: the SDK makes
    ``https://<account name>.blob.core.windows.net`` of a datastore's account name, which leads here where the account
    name is ``127.0.0.1:PORT/blob/loopback``, and its code that wants ``.blob.core.windows.net`` in a URL finds it.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._ws = workspace
        self.folder = workspace.folder / "blobs"
        self._disk = Disk(self.folder)
        add = workspace.routes.add
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            handler = getattr(self, method.lower())
            add(
                method,
                "{blobs}" + "/{container}",
                self._guarded(getattr(self, f"{method.lower()}_container")),
                guard="none",
            )
            add(method, "{blobs}" + "/{container}/{blob...}", self._guarded(handler), guard="none")
        add("GET", "{blobs}", self._guarded(self.get_account), guard="none")

    # What others ask -------------------------------------------------------------------------------------------------

    @property
    def account_host(self) -> str:
        """The account's name in a datastore."""
        return f"{self._ws.url.removeprefix('https://')}/blob/{ACCOUNT}"

    def container_url(self, container: str) -> str:
        """The address of a container."""
        return f"{self._ws.url}{HOST}/{container}"

    def path(self, container: str, blob: str = "") -> Path:
        """Where a blob lies on disk."""
        return self._disk.path(container, blob)

    def sas(self, hours: float = 1) -> str:
        """A shared access signature."""
        until = (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
        signed = {"sv": "2021-08-06", "se": until, "sr": "c", "sp": "racwdl", "spr": "https"}
        return urlencode({**signed, "sig": self._signature(until)})

    # Who may ---------------------------------------------------------------------------------------------------------

    def _guarded(self, handler: Handler) -> Handler:
        def guarded(request: Request) -> Response:
            self._admit(request)
            response = handler(request)
            response.headers.setdefault("x-ms-version", request.headers.get("x-ms-version", "2021-08-06"))
            return response

        return guarded

    def _admit(self, request: Request) -> None:
        """A good signature; or a token, which storage takes in either mode."""
        if request.query.get("sig"):
            return self._signed(request)
        if "authorization" not in request.headers:
            raise BlobError(401, "NoAuthenticationInformation", "Server failed to authenticate the request.")
        try:
            request.claims = self._ws.tokens.check(request, "storage")
        except ServiceError as error:
            raise BlobError(error.status, error.code, error.message, error.headers) from None
        return None

    def _signed(self, request: Request) -> None:
        until = request.query.get("se", "")
        if request.query["sig"] != self._signature(until):
            raise BlobError(403, "AuthenticationFailed", "Signature did not match.")
        if datetime.strptime(until, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC) < datetime.now(UTC):
            raise BlobError(403, "AuthenticationFailed", "Signature not valid in the specified time frame.")

    def _signature(self, until: str) -> str:
        return base64.b64encode(hashlib.sha256(f"{until}{self._ws.client_secret}".encode()).digest()).decode()

    # Blobs -----------------------------------------------------------------------------------------------------------

    def head(self, request: Request) -> Response:
        """A blob's properties."""
        return self.get(request)

    def get(self, request: Request) -> Response:
        """A blob, or the range of it that is asked for; its blocks; its metadata."""
        blob = self._blob(request)
        if request.query.get("comp") == "blocklist":
            return Response(blob.blocks_xml(), headers={"Content-Type": "application/xml"})
        headers = blob.headers()
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status=304, headers=headers)
        if request.headers.get("if-match", headers["ETag"]) not in (headers["ETag"], "*"):
            raise BlobError(
                412, "ConditionNotMet", "The condition specified using HTTP conditional header(s) is not met."
            )
        if request.method == "HEAD" or request.query.get("comp") == "metadata":
            return Response(headers={**headers, "Content-Length": str(blob.size)})
        return _ranged(request, blob, headers)

    def put(self, request: Request) -> Response:
        """Write a blob, a block of one, its list of blocks, its metadata; append to one; copy one."""
        actions = {
            "block": self._put_block,
            "blocklist": self._put_blocks,
            "metadata": self._put_metadata,
            "properties": self._put_metadata,
            "appendblock": self._append,
            "tier": lambda request: Response(),
            None: self._put_blob,
        }
        action = actions.get(request.query.get("comp"))
        if action is None:
            raise BlobError(400, "InvalidQueryParameterValue", f"comp={request.query['comp']} is not served here.")
        with self._ws.lock:
            return action(request)

    def delete(self, request: Request) -> Response:
        """Delete a blob."""
        self._blob(request).delete()
        return Response(status=202)

    def _put_blob(self, request: Request) -> Response:
        blob = self._blob(request, there=False)
        if request.headers.get("if-none-match") == "*" and blob.exists():
            raise BlobError(409, "BlobAlreadyExists", "The specified blob already exists.")
        content = request.body
        if "x-ms-copy-source" in request.headers:
            content = self._copied(request.headers["x-ms-copy-source"])
        _check_md5(request)
        blob.write(content, request.headers.get("x-ms-blob-type", "BlockBlob"), _metadata(request))
        copied = {"x-ms-copy-status": "success", "x-ms-copy-id": "1"} if "x-ms-copy-source" in request.headers else {}
        return _written(blob, 202 if copied else 201, **copied)

    def _copied(self, source: str) -> bytes:
        container, _, name = source.partition(".blob.core.windows.net/")[2].partition("?")[0].partition("/")
        return self._disk.blob(container, unquote(name)).read()

    def _put_block(self, request: Request) -> Response:
        _check_md5(request)
        self._blob(request, there=False).stage(request.query["blockid"], request.body)
        return Response(status=201, headers={"x-ms-request-server-encrypted": "true"})

    def _put_blocks(self, request: Request) -> Response:
        blob = self._blob(request, there=False)
        names = re.findall(rb"<(?:Latest|Uncommitted|Committed)>(.*?)</", request.body)
        try:
            blob.commit([name.decode() for name in names], _metadata(request))
        except KeyError:
            raise BlobError(400, "InvalidBlockList", "The specified block list is invalid.") from None
        return _written(blob, 201)

    def _put_metadata(self, request: Request) -> Response:
        blob = self._blob(request)
        blob.annotate(_metadata(request))
        return _written(blob, 200)

    def _append(self, request: Request) -> Response:
        blob = self._blob(request)
        place = request.headers.get("x-ms-blob-condition-appendpos")
        if place is not None and int(place) != blob.size:
            raise BlobError(
                412, "AppendPositionConditionNotMet", "The append position condition specified was not met."
            )
        before = blob.size
        blob.append(request.body)
        return _written(blob, 201, **{"x-ms-blob-append-offset": str(before)})

    def _blob(self, request: Request, *, there: bool = True) -> Blob:
        blob = self._disk.blob(request.params["container"], request.params["blob"])
        if there and not blob.exists():
            raise BlobError(404, "BlobNotFound", "The specified blob does not exist.")
        return blob

    # Containers ------------------------------------------------------------------------------------------------------

    def get_container(self, request: Request) -> Response:
        """A page of a container's blobs, or its properties."""
        container = request.params["container"]
        if request.query.get("comp") == "list":
            content = page(self._disk, container, request.query, self.container_url(container))
            return Response(content, headers={"Content-Type": "application/xml"})
        return Response(headers={"ETag": '"container"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"})

    head_container = get_container

    def put_container(self, request: Request) -> Response:
        """Make a container."""
        self.path(request.params["container"]).mkdir(parents=True, exist_ok=True)
        return Response(status=201, headers={"ETag": '"container"', "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"})

    def delete_container(self, request: Request) -> Response:
        """Containers are not deleted here."""
        raise BlobError(403, "AuthorizationPermissionMismatch", "This request is not authorized to delete containers.")

    def get_account(self, request: Request) -> Response:
        """What kind of account this is."""
        return Response(
            headers={"x-ms-sku-name": "Standard_LRS", "x-ms-account-kind": "StorageV2", "x-ms-is-hns-enabled": "false"}
        )


def _ranged(request: Request, blob: Blob, headers: dict[str, str]) -> Response:
    asked = request.headers.get("x-ms-range") or request.headers.get("range")
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
    if not match:
        return Response(blob.read(), headers=headers)
    first, last = int(match[1]), min(int(match[2] or blob.size), blob.size - 1)
    if first >= blob.size:
        unknown = {"Content-Range": f"bytes */{blob.size}"}
        raise BlobError(416, "InvalidRange", "The range specified is invalid for the current size.", unknown)
    headers["Content-Range"] = f"bytes {first}-{last}/{blob.size}"
    headers.pop("Content-MD5", None)
    content = blob.read(first, last + 1)
    if request.headers.get("x-ms-range-get-content-md5", "").lower() == "true":
        headers["Content-MD5"] = base64.b64encode(hashlib.md5(content).digest()).decode()
    return Response(content, 206, headers)


def _written(blob: Blob, status: int, **more: str) -> Response:
    headers = blob.headers()
    kept = {name: headers[name] for name in ("ETag", "Last-Modified")}
    return Response(status=status, headers={**kept, "x-ms-request-server-encrypted": "true", **more})


def _metadata(request: Request) -> dict[str, str]:
    start = "x-ms-meta-"
    return {name.removeprefix(start): value for name, value in request.headers.items() if name.startswith(start)}


def _check_md5(request: Request) -> None:
    given = request.headers.get("content-md5")
    if given and given != base64.b64encode(hashlib.md5(request.body).digest()).decode():
        raise BlobError(400, "Md5Mismatch", "The MD5 value specified in the request did not match.")
