"""What a workspace has, as far as a plan needs to know: computes, quota, environments, earlier runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from azdistill.cloud.jobs.run_history import created, list_jobs
from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.cloud.workspace.region import Quota, quotas_of
from azdistill.cloud.workspace.rest import part
from azdistill.errors import ServiceError

_COMPUTES = "2023-08-01-preview"
_ENVIRONMENTS = "2023-04-01-preview"
#: So many runs are looked through for one with the same fingerprint.
_LOOKED_AT = 200


@dataclass(frozen=True)
class Cluster:
    """A compute of the workspace."""

    name: str
    state: str
    size: str | None = None
    nodes: int | None = None
    low_priority: bool = False


@dataclass(frozen=True)
class Earlier:
    """A run that said the same."""

    name: str
    status: str
    created: str
    studio_url: str


class Facts:
    """Asks once for each thing."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._id = connection, connection.workspace_id

    @property
    def location(self) -> str:
        """The region of the workspace."""
        return str(self._connection.workspace.get("location", ""))

    def cluster(self, name: str) -> Cluster | None:
        """The compute ``name``; None where there is none."""
        body = self._get(f"computes/{part(name)}", f"looking up the compute {name}", _COMPUTES)
        return _cluster(body) if body else None

    def cluster_names(self) -> list[str]:
        """Names of all computes."""
        with explain("listing the computes of the workspace"):
            computes = self._connection.rest.listed(f"{self._id}/computes", api_version=_COMPUTES)
        return [str(compute["name"]) for compute in computes]

    @cached_property
    def quotas(self) -> dict[str, Quota]:
        """Quota by squeezed family; empty where the caller may not see it."""
        try:
            return quotas_of(self._connection)
        except ServiceError as error:
            if error.code not in ("AZD402", "AZD403", "AZD404"):
                raise
            return {}

    def environment_exists(self, reference: str) -> bool | None:
        """Whether ``azureml:NAME:VERSION`` (or ``@latest``) is registered; None where that cannot be told here."""
        match = re.fullmatch(r"azureml:([^:@/]+)(?::([^:@/]+)|@(\w+))", reference)
        if not match:
            return None
        path = f"environments/{part(match[1])}" + (f"/versions/{part(match[2])}" if match[2] else "")
        return self._get(path, f"looking up the environment {match[1]}", _ENVIRONMENTS) is not None

    def earlier(self, fingerprint: str) -> list[Earlier]:
        """Runs with this fingerprint, newest first."""
        with explain("looking for earlier runs"):
            jobs = list(
                islice(list_jobs(self._connection, jobType="Pipeline", tag="azdistill.fingerprint"), _LOOKED_AT)
            )
        studio_url = self._connection.studio_url
        return [
            Earlier(str(job["name"]), str(properties.get("status", "")), created(job), studio_url(job["name"]))
            for job in sorted(jobs, key=created, reverse=True)
            if (properties := job.get("properties") or {})
            and (properties.get("tags") or {}).get("azdistill.fingerprint") == fingerprint
        ]

    def _get(self, path: str, doing: str, version: str) -> dict[str, Any] | None:
        with explain(doing):
            body: dict[str, Any] | None = self._connection.rest.find(f"{self._id}/{path}", api_version=version)
        return body


def _cluster(body: dict[str, Any]) -> Cluster:
    compute = body.get("properties", {})
    settings = compute.get("properties") or {}
    nodes = (settings.get("scaleSettings") or {}).get("maxNodeCount")
    return Cluster(
        name=str(body.get("name", "")),
        state=str(compute.get("provisioningState", "")),
        size=settings.get("vmSize"),
        nodes=int(nodes) if nodes is not None else None,
        low_priority=str(settings.get("vmPriority", "")).lower() == "lowpriority",
    )
