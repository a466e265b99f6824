"""The jobs of a workspace, and run history: the service that knows the state of runs, children, logs and outputs.

The calls are those of azure-ai-ml's ``jobs.stream`` and ``jobs.download``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from azdistill.cloud.jobs.job import iso, moment
from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.cloud.workspace.rest import get_json, part

#: The version that the SDK pins for pipeline jobs.
JOBS_VERSION = "2024-01-01-preview"
_VERSION = "v1.0"
_DATA_TYPES = ("UriFile", "UriFolder", "MLTable", "uri_file", "uri_folder", "mltable")
_MOST_PAGES = 1000
#: So many runs are looked through for one with the same fingerprint.
_LOOKED_AT = 200


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


@dataclass(frozen=True, slots=True)
class Listed:
    """A run as the list of jobs tells of it."""

    name: str
    status: str
    experiment: str
    display_name: str
    created: float | None
    tags: dict[str, str]
    studio_url: str

    def as_json(self) -> dict[str, Any]:
        """What ``azdistill runs --azure --json`` prints for a run."""
        return {**asdict(self), "created": iso(self.created)}


def list_runs(connection: Connection, *, experiment: str | None = None, since: float | None = None) -> Iterator[Listed]:
    """The workspace's pipeline runs, as they are asked for page by page; ``since`` is in seconds since 1970."""
    with explain(f"listing the runs of {connection.workspace_name}"):
        for job in list_jobs(connection, jobType="Pipeline"):
            run = _listed(connection, job)
            if since is not None and run.created is not None and run.created < since:
                return
            if experiment in (None, run.experiment):
                yield run


def _listed(connection: Connection, job: dict[str, Any]) -> Listed:
    properties = job.get("properties") or {}
    name = str(job.get("name") or "")
    studio = ((properties.get("services") or {}).get("Studio") or {}).get("endpoint")
    return Listed(
        name=name,
        status=str(properties.get("status") or ""),
        experiment=str(properties.get("experimentName") or ""),
        display_name=str(properties.get("displayName") or ""),
        created=moment((job.get("systemData") or {}).get("createdAt")),
        tags={str(key): str(value) for key, value in (properties.get("tags") or {}).items()},
        studio_url=str(studio or connection.studio_url(name)),
    )


@dataclass(frozen=True)
class Earlier:
    """A run with the same fingerprint."""

    name: str
    status: str
    created: str
    studio_url: str


def earlier_runs(connection: Connection, fingerprint: str) -> list[Earlier]:
    """Runs of what has this fingerprint, newest first."""
    with explain("looking for earlier runs"):
        jobs = list(islice(list_jobs(connection, jobType="Pipeline", tag="azdistill.fingerprint"), _LOOKED_AT))
    return [
        Earlier(str(job["name"]), str(properties.get("status", "")), created(job), connection.studio_url(job["name"]))
        for job in sorted(jobs, key=created, reverse=True)
        if (properties := job.get("properties") or {})
        and (properties.get("tags") or {}).get("azdistill.fingerprint") == fingerprint
    ]


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
