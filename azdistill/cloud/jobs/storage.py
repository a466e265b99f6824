"""Bytes out of Azure Storage: blobs of a datastore, and single files behind a signed address.

A datastore gives a shared access signature or, where storage is opened by identity only, nothing: then the caller's own
credential is used (role Storage Blob Data Reader).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.rest import part, refuse_failed
from azdistill.errors import ServiceError

_VERSION = "2024-10-01-preview"
_URI = re.compile(r"azureml://(?:subscriptions/.*/)?datastores/(?P<store>[^/]+)/paths/(?P<path>.*)")
_FOLDER = "hdi_isfolder"
#: Bytes that are asked for at a time: what a cut connection costs at most.
_PIECE = 4 << 20


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob: its name in the container, its size in bytes, and what changes when its content does."""

    name: str
    size: int
    etag: str
    modified: float


@dataclass(frozen=True, slots=True)
class Place:
    """A path on a datastore."""

    datastore: str
    path: str

    @staticmethod
    def from_uri(uri: str) -> Place | None:
        """The place that an ``azureml://`` address of a datastore names; None for any other address."""
        match = _URI.fullmatch(uri)
        return Place(match["store"], match["path"].strip("/")) if match else None


class Container:
    """The blobs of one datastore, read with what the datastore gives; renewed when that has run out."""

    def __init__(self, connection: Connection, datastore: str) -> None:
        self._connection, self._name = connection, datastore
        self._client: Any = None

    def blobs(self, path: str) -> list[Blob]:
        """The blob at ``path``, or all under it as a folder. Folders of a hierarchical account are left out."""
        blobs = list(self._renewed(lambda client: [*_listed(client, path)]))
        exact = [blob for blob in blobs if blob.name == path]
        folder = f"{path.rstrip('/')}/" if path else ""
        return exact or [blob for blob in blobs if blob.name.startswith(folder)]

    def read(self, blob: Blob, offset: int = 0) -> Iterator[bytes]:
        """The content from ``offset`` on; raises where the blob has changed since it was listed."""
        from azure.core import MatchConditions

        options: dict[str, Any] = (
            {"etag": blob.etag, "match_condition": MatchConditions.IfNotModified} if blob.etag else {}
        )
        # No range of an empty blob can be satisfied.
        if offset < blob.size:
            options |= {"offset": offset, "max_concurrency": 1}
            yield from self._renewed(lambda client: client.download_blob(blob.name, **options)).chunks()

    def content(self, path: str) -> bytes | None:
        """A small blob whole; None where there is none."""
        from azure.core.exceptions import ResourceNotFoundError

        with suppress(ResourceNotFoundError):
            return bytes(self._renewed(lambda client: client.download_blob(path).readall()))
        return None

    def _renewed(self, ask: Callable[[Any], Any]) -> Any:
        """What ``ask`` gives of the client; a signature that has run out is asked for anew, once."""
        from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

        self._client = self._client or self._make()
        try:
            return ask(self._client)
        except HttpResponseError as error:
            if not isinstance(error, ClientAuthenticationError) and error.status_code != 403:
                raise
            self._client = self._make()
            return ask(self._client)

    def _make(self) -> Any:
        from azure.storage.blob import ContainerClient

        connection = self._connection
        path = f"{connection.workspace_id}/datastores/{part(self._name)}"
        store = connection.rest.call("GET", path, api_version=_VERSION)["properties"]
        container = store.get("containerName") or store.get("filesystem")
        if not container:
            kind = store.get("datastoreType")
            raise ServiceError(f"the datastore '{self._name}' is no blob storage ({kind})", code="AZD445")
        # The blob service of a Data Lake account reads the same files.
        host = f"{store['accountName']}.blob.{store.get('endpoint') or connection.cloud.storage}"
        return ContainerClient(
            f"{store.get('protocol') or 'https'}://{host}",
            container,
            credential=self._credential(path, store),
            max_single_get_size=_PIECE,
            max_chunk_get_size=_PIECE,
            # The library's own first pause is 15 seconds and more.
            initial_backoff=0.5,
            increment_base=2,
            random_jitter_range=0.5,
            retry_total=5,
        )

    def _credential(self, path: str, store: dict[str, Any]) -> Any:
        from azure.core.exceptions import HttpResponseError

        if (store.get("credentials") or {}).get("credentialsType") == "None":
            return self._connection.credential
        body = {"expirableSecret": True, "expireAfterHours": 1}
        try:
            secrets = self._connection.rest.call("POST", f"{path}/listSecrets", api_version=_VERSION, body=body) or {}
        except HttpResponseError as error:
            # Who may not see the secrets may still be let in by name.
            if error.status_code != 403:
                raise
            return self._connection.credential
        return secrets.get("sasToken") or secrets.get("key") or self._connection.credential


def _listed(client: Any, path: str) -> Iterator[Blob]:
    for blob in client.list_blobs(name_starts_with=path, include=["metadata"]):
        if str((blob.metadata or {}).get(_FOLDER, "")).lower() != "true":
            modified = blob.last_modified.timestamp() if blob.last_modified else 0.0
            # Lists name the mark bare, headers in quotes.
            etag = '"' + str(blob.etag).strip('"') + '"' if blob.etag else ""
            yield Blob(blob.name, int(blob.size or 0), etag, modified)


class SignedFiles:
    """Files behind addresses that carry their permission: what run history gives for logs."""

    def __init__(self) -> None:
        from azure.core import PipelineClient
        from azure.core.pipeline import policies

        pipeline = [policies.UserAgentPolicy("azdistill"), policies.RedirectPolicy(), policies.RetryPolicy()]
        self._client: Any = PipelineClient("https://", policies=pipeline)

    def read(self, url: str, start: int = 0, end: int | None = None) -> bytes:
        """The bytes from ``start`` on (to ``end``, exclusive); empty where the file is no longer than that.

        Raises azure-core's errors: ClientAuthenticationError where the address has run out (401, 403).
        """
        answer = self._ask(url, f"bytes={start}-{'' if end is None else end - 1}")
        if answer.status_code == 416:
            return b""
        content = bytes(answer.read())
        # A server that knows no ranges sends all of it.
        return content[start:end] if answer.status_code == 200 else content

    def size(self, url: str) -> int:
        """How long a file is, in bytes."""
        answer = self._ask(url, "bytes=0-0")
        if answer.status_code == 416:
            return 0
        _, _, size = str(answer.headers.get("Content-Range", "")).rpartition("/")
        return int(size) if size.isdigit() else len(answer.read())

    def _ask(self, url: str, span: str) -> Any:
        from azure.core.exceptions import ClientAuthenticationError
        from azure.core.rest import HttpRequest

        answer = self._client.send_request(HttpRequest("GET", url, headers={"Range": span}))
        if answer.status_code == 403:
            raise ClientAuthenticationError(response=answer)
        if answer.status_code != 416:
            refuse_failed(answer)
        return answer
