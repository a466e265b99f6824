"""Run history: the service that knows the state of runs, their children, logs and outputs.

The calls are those of azure-ai-ml's ``jobs.stream`` and ``jobs.download``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from azdistill.cloud.workspace.rest import part

if TYPE_CHECKING:
    from azdistill.cloud.workspace.connect import Connection

#: The version that the SDK pins for pipeline jobs.
JOBS_VERSION = "2024-01-01-preview"
_VERSION = "v1.0"
_DATA_TYPES = ("UriFile", "UriFolder", "MLTable", "uri_file", "uri_folder", "mltable")
_MOST_PAGES = 1000


class History:
    """Run history of one workspace. Raises what azure-core raises."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._base = ""

    @property
    def base(self) -> str:
        """Where the services of this workspace are, as its discovery address says."""
        if not self._base:
            from azdistill.cloud.workspace.rest import get_json

            # Asked without credentials, as the SDK does: the address is not the workspace's own.
            found = get_json(str(self._connection.workspace["properties"]["discoveryUrl"]))
            self._base = str(found["api"]).rstrip("/")
        return self._base

    def job(self, name: str) -> dict[str, Any]:
        """The job as ARM holds it."""
        path = f"{self._workspace}/jobs/{part(name)}"
        return dict(self._connection.rest.call("GET", path, api_version=JOBS_VERSION))

    def details(self, run_id: str) -> dict[str, Any]:
        """Status, times, error, and ``logFiles`` (name -> address that can be read for a while)."""
        return dict(self._call("GET", f"runs/{part(run_id)}/details") or {})

    def children(self, run_id: str) -> list[dict[str, Any]]:
        """Every child run, first made first."""
        found = list(self._pages(f"runs/{part(run_id)}/children"))
        return sorted(found, key=lambda run: str(run.get("createdUtc") or run.get("startTimeUtc") or ""))

    def metadata(self, run_id: str) -> dict[str, Any]:
        """The run with its inputs and outputs as asset ids."""
        body = {"runId": run_id, "selectRunMetadata": True}
        return dict((self._call("POST", "rundata", body=body) or {}).get("runMetadata") or {})

    def output_uris(self, run_id: str) -> dict[str, str]:
        """Output name -> where it lies, for the outputs whose place the service tells."""
        assets = self.metadata(run_id).get("outputs") or {}
        kinds = {name: str(asset.get("type") or "") for name, asset in assets.items()}
        ids = {name: str(asset.get("assetId") or "") for name, asset in assets.items()}
        data = [name for name in ids if kinds[name] in _DATA_TYPES]
        models = [name for name in ids if name not in data]
        return {
            **self._resolve("data", "dataversion/batchGetResolvedUris", {name: ids[name] for name in data}, "uri"),
            **self._resolve("modelregistry", "models/batchGetResolvedUris", {n: ids[n] for n in models}, "path"),
        }

    def _resolve(self, service: str, verb: str, ids: Mapping[str, str], key: str) -> dict[str, str]:
        if not ids:
            return {}
        body = {"values": list(ids.values())}
        path = f"/{service}/v1.0{self._workspace}/{verb}"
        found = (self._connection.rest.call("POST", path, body=body, base=self.base) or {}).get("values") or {}
        places = {name: (found.get(asset) or {}).get(key) for name, asset in ids.items()}
        return {name: str(place) for name, place in places.items() if place}

    def _pages(self, path: str) -> Iterator[dict[str, Any]]:
        params: dict[str, str] = {}
        for _ in range(_MOST_PAGES):
            page = self._call("GET", path, params=params) or {}
            yield from page.get("value") or []
            token = page.get("continuationToken")
            if not token or params.get("$continuationToken") == token:
                return
            params = {"$continuationToken": str(token)}

    def _call(self, method: str, path: str, *, body: Any = None, params: Mapping[str, str] | None = None) -> Any:
        whole = f"/history/v1.0{self._workspace}/{path}"
        every = {"api-version": _VERSION, **(params or {})}
        return self._connection.rest.call(method, whole, body=body, params=every, base=self.base)

    @property
    def _workspace(self) -> str:
        return self._connection.workspace_id
