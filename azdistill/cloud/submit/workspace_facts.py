"""What a workspace has, as far as a plan needs to know: computes, quota, environments, earlier runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.cloud.workspace.rest import part

_COMPUTES = "2023-08-01-preview"
_ENVIRONMENTS = "2023-04-01-preview"
_JOBS = "2024-01-01-preview"
#: So many runs are looked through for one with the same fingerprint.
_LOOKED_AT = 200


@dataclass(frozen=True)
class Cluster:
    """A compute of the workspace."""

    name: str
    kind: str
    state: str
    size: str | None = None
    nodes: int | None = None
    low_priority: bool = False


@dataclass(frozen=True)
class Quota:
    """Cores of one family of machines in the workspace's region: how many there may be, how many are in use."""

    family: str
    limit: int
    used: int


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
        found = self._get(f"computes/{part(name)}", f"looking up the compute {name}", _COMPUTES)
        return _cluster(found) if found else None

    def cluster_names(self) -> list[str]:
        """Names of all computes."""
        with explain("listing the computes of the workspace"):
            found = self._connection.rest.listed(f"{self._id}/computes", api_version=_COMPUTES)
        return [str(one["name"]) for one in found]

    @cached_property
    def quotas(self) -> dict[str, Quota]:
        """Quota by family; empty where the caller may not see it."""
        from azure.core.exceptions import HttpResponseError

        provider = f"/subscriptions/{self._connection.subscription_id}/providers/Microsoft.MachineLearningServices"
        path = f"{provider}/locations/{self.location}/usages"
        with explain("looking up quotas"):
            try:
                found = self._connection.rest.listed(path)
            except HttpResponseError as error:
                if error.status_code in (401, 403, 404):
                    return {}
                raise
        quotas = (_quota(one) for one in found)
        return {quota.family.lower(): quota for quota in quotas if quota}

    def environment_exists(self, reference: str) -> bool | None:
        """Whether ``azureml:NAME:VERSION`` (or ``@latest``) is registered; None where that cannot be told here."""
        found = re.fullmatch(r"azureml:([^:@/]+)(?::([^:@/]+)|@(\w+))", reference)
        if not found:
            return None
        name, version = part(found[1]), found[2]
        path = f"environments/{name}/versions/{part(version)}" if version else f"environments/{name}"
        return self._get(path, f"looking up the environment {found[1]}", _ENVIRONMENTS) is not None

    def earlier(self, fingerprint: str) -> list[Earlier]:
        """Runs with this fingerprint, newest first."""
        found = []
        for job in self._tagged("azdistill.fingerprint"):
            properties = job.get("properties", {})
            if properties.get("tags", {}).get("azdistill.fingerprint") == fingerprint:
                created = str(job.get("systemData", {}).get("createdAt", ""))
                status, name = str(properties.get("status", "")), str(job["name"])
                found.append(Earlier(name, status, created, self._connection.studio_url(name)))
        return sorted(found, key=lambda one: one.created, reverse=True)

    def _tagged(self, tag: str) -> Iterator[dict[str, Any]]:
        params = {"jobType": "Pipeline", "tag": tag, "listViewType": "ActiveOnly"}
        with explain("looking for earlier runs"):
            page = self._connection.rest.call("GET", f"{self._id}/jobs", api_version=_JOBS, params=params)
            for looked_at in range(_LOOKED_AT):
                yield from page.get("value", [])
                if not page.get("nextLink") or looked_at * len(page.get("value", [])) > _LOOKED_AT:
                    return
                page = self._connection.rest.call("GET", page["nextLink"])

    def _get(self, path: str, doing: str, version: str) -> dict[str, Any] | None:
        from azure.core.exceptions import ResourceNotFoundError

        with explain(doing):
            try:
                found: dict[str, Any] = self._connection.rest.call("GET", f"{self._id}/{path}", api_version=version)
            except ResourceNotFoundError:
                return None
        return found


def _cluster(body: dict[str, Any]) -> Cluster:
    outer = body.get("properties", {})
    inner = outer.get("properties") or {}
    scale = inner.get("scaleSettings") or {}
    nodes = scale.get("maxNodeCount")
    return Cluster(
        name=str(body.get("name", "")),
        kind=str(outer.get("computeType", "")),
        state=str(outer.get("provisioningState", "")),
        size=inner.get("vmSize"),
        nodes=int(nodes) if nodes is not None else None,
        low_priority=str(inner.get("vmPriority", "")).lower() == "lowpriority",
    )


def _quota(body: dict[str, Any]) -> Quota | None:
    name = body.get("name") or {}
    family = name.get("value") if isinstance(name, dict) else None
    limit, used = body.get("limit"), body.get("currentValue")
    if not family or not isinstance(limit, int) or limit < 0:
        return None
    return Quota(str(family), limit, int(used or 0))
