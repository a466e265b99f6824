"""Run history: the service that knows the state of runs, their children, logs and outputs.

The calls are those of azure-ai-ml's ``jobs.stream`` and ``jobs.download``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from azdistill.cloud.workspace.rest import get_json, part

if TYPE_CHECKING:
    from azdistill.cloud.workspace.connect import Connection

#: The version that the SDK pins for pipeline jobs.
JOBS_VERSION = "2024-01-01-preview"
_VERSION = "v1.0"
_DATA_TYPES = ("UriFile", "UriFolder", "MLTable", "uri_file", "uri_folder", "mltable")
_MOST_PAGES = 1000


def job_path(connection: Connection, name: str) -> str:
    """The ARM path of a job."""
    return f"{connection.workspace_id}/jobs/{part(name)}"


def list_jobs(connection: Connection, **query: str) -> Iterator[dict[str, Any]]:
    """The jobs of a workspace that are not archived, as ARM holds them; ``query`` narrows the list."""
    params = {"listViewType": "ActiveOnly", **query}
    return connection.rest.each(f"{connection.workspace_id}/jobs", api_version=JOBS_VERSION, params=params)


def created(job: Mapping[str, Any]) -> str:
    """When something that ARM holds was made, as ARM writes it: later moments come later in order."""
    return str((job.get("systemData") or {}).get("createdAt") or "")


class History:
    """Run history of one workspace. Raises what azure-core raises."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @cached_property
    def base(self) -> str:
        """Where the services of this workspace are, as its discovery address says."""
        # Asked without credentials, as the SDK does: the address is not the workspace's own.
        return str(get_json(str(self._connection.workspace["properties"]["discoveryUrl"]))["api"]).rstrip("/")

    def details(self, run_id: str) -> dict[str, Any]:
        """Status, times, error, and ``logFiles`` (name -> address that can be read for a while)."""
        return dict(self._call("GET", f"runs/{part(run_id)}/details") or {})

    def children(self, run_id: str) -> list[dict[str, Any]]:
        """Every child run, first made first."""
        runs = self._pages(f"runs/{part(run_id)}/children")
        return sorted(runs, key=lambda run: str(run.get("createdUtc") or run.get("startTimeUtc") or ""))

    def output_uris(self, run_id: str) -> dict[str, str]:
        """Output name -> where it lies, for the outputs whose place the service tells."""
        body = {"runId": run_id, "selectRunMetadata": True}
        metadata = (self._call("POST", "rundata", body=body) or {}).get("runMetadata") or {}
        assets = metadata.get("outputs") or {}
        ids = {name: str(asset.get("assetId") or "") for name, asset in assets.items()}
        data = {name: ids[name] for name, asset in assets.items() if asset.get("type") in _DATA_TYPES}
        models = {name: ids[name] for name in ids if name not in data}
        return {
            **self._resolve("data", "dataversion/batchGetResolvedUris", data, "uri"),
            **self._resolve("modelregistry", "models/batchGetResolvedUris", models, "path"),
        }

    def _resolve(self, service: str, verb: str, ids: Mapping[str, str], key: str) -> dict[str, str]:
        if not ids:
            return {}
        body = {"values": list(ids.values())}
        path = f"/{service}/v1.0{self._workspace}/{verb}"
        uris = (self._connection.rest.call("POST", path, body=body, base=self.base) or {}).get("values") or {}
        places = {name: (uris.get(asset) or {}).get(key) for name, asset in ids.items()}
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
        query = {"api-version": _VERSION, **(params or {})}
        url = f"/history/v1.0{self._workspace}/{path}"
        return self._connection.rest.call(method, url, body=body, params=query, base=self.base)

    @property
    def _workspace(self) -> str:
        return self._connection.workspace_id
