"""Data of the workspace that a step runs in: versions of assets, and the files of datastores, by REST.

Roles: AzureML Data Scientist on the workspace; where a datastore keeps no key, Storage Blob Data Reader on its storage.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from common import strict_json
from common.entra import NoToken, token
from common.secrets import ARM_ENDPOINT
from common.step import BadConfig, NoInput, Refused, TryAgain, Unavailable

_API = "2023-04-01"
_STORAGE_API = "2021-08-06"
_STORAGE = "https://storage.azure.com/.default"
_FOLDER = "hdi_isfolder"
_STORES = ("AzureBlob", "AzureDataLakeGen2")
#: Seconds between the attempts at a request that met a busy or failing service.
_WAITS = (1, 4, 10)
_DATASTORE = re.compile(r"azureml://(?:.*/)?datastores/([^/]+)/paths/(.*)")


@dataclass(frozen=True)
class BlobFile:
    """A file of a datastore, and the state in which it was listed."""

    path: str
    size: int
    etag: str


def latest(name: str) -> tuple[str, str, str]:
    """Version, address and type of the newest version of the data asset ``name``."""
    container = _arm("GET", f"/data/{name}", f"azureml:{name}")
    version = str(container["properties"].get("latestVersion") or "")
    if not version:
        raise NoInput(f"the data asset {name} has no version")
    asset = _arm("GET", f"/data/{name}/versions/{version}", f"azureml:{name}:{version}")["properties"]
    return version, str(asset["dataUri"]), str(asset["dataType"])


def parts_of(address: str) -> tuple[str, str]:
    """The datastore and the path in ``azureml://datastores/NAME/paths/PATH`` (or the long form of it)."""
    match = _DATASTORE.fullmatch(address)
    if not match:
        raise BadConfig(f"{address} does not lie on a datastore; write azureml://datastores/NAME/paths/PATH")
    return match[1], match[2].lstrip("/")


class Store:
    """The files of one datastore: blob storage, or a data lake, which answers as blob storage too."""

    def __init__(self, name: str) -> None:
        self.name = name
        about = _arm("GET", f"/datastores/{name}", f"the datastore {name}")["properties"]
        if about.get("datastoreType") not in _STORES:
            raise BadConfig(
                f"the datastore {name} is of type {about.get('datastoreType')}; known: {', '.join(_STORES)}"
            )
        container = about.get("containerName") or about.get("filesystem")
        host = f"{about['accountName']}.blob.{about.get('endpoint') or 'core.windows.net'}"
        self._url = f"{about.get('protocol') or 'https'}://{host}/{container}"
        keyless = (about.get("credentials") or {}).get("credentialsType") == "None"
        self._signature = "" if keyless else _signature(name)

    def files(self, prefix: str) -> list[BlobFile]:
        """Every file whose path begins with ``prefix``."""
        blobs: list[BlobFile] = []
        marker = ""
        while True:
            query = {
                "restype": "container",
                "comp": "list",
                "prefix": prefix,
                "include": "metadata",
                **({"marker": marker} if marker else {}),
            }
            page = ElementTree.fromstring(self._get("", query))
            # A data lake lists its folders too, as empty blobs.
            blobs += [_listed(blob) for blob in page.iter("Blob") if not _is_folder(blob)]
            marker = page.findtext("NextMarker") or ""
            if not marker:
                return [file for file in blobs if not file.path.endswith("/")]

    def read(self, file: BlobFile) -> bytes:
        """The file, in the state in which it was listed; TryAgain where it has changed since."""
        return self._get(f"/{urllib.parse.quote(file.path)}", {}, {"If-Match": file.etag} if file.etag else {})

    def _get(self, path: str, query: dict[str, str], headers: dict[str, str] | None = None) -> bytes:
        signed = f"{urllib.parse.urlencode(query)}{'&' if query and self._signature else ''}{self._signature}"
        all_headers = {"x-ms-version": _STORAGE_API, **(headers or {})}
        if not self._signature:
            all_headers["Authorization"] = f"Bearer {_token(_STORAGE)}"
        return _answer("GET", f"{self._url}{path}?{signed}", all_headers, f"the datastore {self.name}")


def _listed(blob: ElementTree.Element) -> BlobFile:
    size, etag = blob.findtext("Properties/Content-Length"), blob.findtext("Properties/Etag") or ""
    return BlobFile(blob.findtext("Name") or "", int(size or 0), etag if not etag or etag[0] == '"' else f'"{etag}"')


def _is_folder(blob: ElementTree.Element) -> bool:
    metadata = blob.find("Metadata")
    return any(
        entry.tag.lower() == _FOLDER and entry.text == "true" for entry in (metadata if metadata is not None else ())
    )


def _signature(name: str) -> str:
    """A short-lived signature where the datastore keeps a key; nothing where identities are let in."""
    try:
        body = {"expirableSecret": True, "expireAfterHours": 1}
        secrets = _arm("POST", f"/datastores/{name}/listSecrets", f"the datastore {name}", body)
    except Refused:
        # Reading data needs no right to read keys: the identity itself is tried.
        return ""
    return str(secrets.get("sasToken") or "").lstrip("?")


def _arm(method: str, path: str, what: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    endpoint = os.environ.get("AZDISTILL_ARM_ENDPOINT", ARM_ENDPOINT).rstrip("/")
    headers = {"Authorization": f"Bearer {_token(f'{endpoint}/.default')}", "Content-Type": "application/json"}
    url = f"{endpoint}{_workspace()}{path}?api-version={_API}"
    answer: dict[str, Any] = json.loads(_answer(method, url, headers, what, body))
    return answer


def _workspace() -> str:
    names = ("AZUREML_ARM_SUBSCRIPTION", "AZUREML_ARM_RESOURCEGROUP", "AZUREML_ARM_WORKSPACE_NAME")
    values = [os.environ.get(name, "") for name in names]
    if not all(values):
        raise BadConfig(f"a reference to a workspace resolves inside its jobs; outside, set {', '.join(names)}")
    return (
        f"/subscriptions/{values[0]}/resourceGroups/{values[1]}"
        f"/providers/Microsoft.MachineLearningServices/workspaces/{values[2]}"
    )


def _token(scope: str) -> str:
    try:
        return token(scope)
    except NoToken as error:
        raise Refused(f"no credential gave a token for {scope}: {error}") from None


def _answer(method: str, url: str, headers: dict[str, str], what: str, body: dict[str, Any] | None = None) -> bytes:
    data = None if body is None else strict_json.dumps(body).encode()
    for wait in (*_WAITS, None):
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            if wait is None or error.code not in (408, 429, 500, 502, 503, 504):
                raise _failure(error, what) from None
            time.sleep(_pause(error, wait))
        except (OSError, http.client.HTTPException) as error:
            if wait is None:
                raise Unavailable(f"{what} cannot be reached: {error}") from None
            time.sleep(wait)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _pause(error: urllib.error.HTTPError, otherwise: float) -> float:
    """Seconds to wait as the service asks for; ``otherwise`` where it does not, or names a date."""
    seconds = str(error.headers.get("Retry-After") or "")
    return min(float(seconds), 60.0) if seconds.isdigit() else otherwise


def _failure(error: urllib.error.HTTPError, what: str) -> Exception:
    reason = f"{error.code} {error.reason}"
    if error.code in (401, 403):
        return Refused(f"{what}: the service answered {reason}; the job's identity may not read it")
    if error.code == 404:
        return NoInput(f"there is no such thing in the workspace: {what}")
    if error.code in (412, 429):
        return TryAgain(f"{what}: {'a file changed while it was read' if error.code == 412 else reason}")
    return Unavailable(f"{what}: the service answered {reason}")
