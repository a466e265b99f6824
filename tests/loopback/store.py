"""Resources of a workspace or registry, by kind and name, as ARM gives them."""

from __future__ import annotations

import itertools
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

PROVIDER = "Microsoft.MachineLearningServices"


class Store:
    """``store["jobs"]["name"]`` is a resource; assets with versions have the key ``name/version``.

    A resource is what a GET answers: ``{"id", "name", "type", "properties", "systemData"}``. ``scope`` is the ARM id
    that the ids of its resources start with.
    """

    def __init__(self, scope: str) -> None:
        self.scope = scope
        self.kinds: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self._numbers = itertools.count(1)

    def __getitem__(self, kind: str) -> dict[str, dict[str, Any]]:
        return self.kinds[kind]

    def __contains__(self, kind: str) -> bool:
        # Without it, `in` would ask for kinds 0, 1, 2, ... and be given an empty one each time.
        return bool(self.kinds.get(kind))

    def number(self) -> int:
        """A number that grows, to tell the order in which things were made."""
        return next(self._numbers)

    def put(
        self,
        kind: str,
        name: str,
        body: dict[str, Any],
        *,
        version: str | None = None,
        path: str | None = None,
        shown_as: str | None = None,
    ) -> dict[str, Any]:
        """Store a body as a resource (in place of one with its name) and return it.

        ``path`` is where it lies below the scope and ``shown_as`` its name, where these do not follow from the key.
        """
        key = f"{name}/{version}" if version is not None else name
        old = self.kinds[kind].get(key, {})
        path = path or (f"{kind}/{name}/versions/{version}" if version is not None else f"{kind}/{name}")
        provider = "workspaces" if "/workspaces/" in self.scope else "registries"
        registry = self.scope.rpartition("/registries/")[2] if provider == "registries" else ""
        resource = {
            "id": f"azureml://registries/{registry}/{path}" if registry else f"{self.scope}/{path}",
            "name": shown_as or (version if version is not None else name),
            "type": f"{PROVIDER}/{provider}/{kind}" + ("/versions" if version is not None else ""),
            **{field: value for field, value in body.items() if field not in ("id", "name", "type", "systemData")},
            "systemData": _system_data(old.get("systemData")),
        }
        resource.setdefault("properties", {})
        self.kinds[kind][key] = resource
        return resource

    def versions(self, kind: str, name: str) -> dict[str, dict[str, Any]]:
        """The versions of an asset, oldest first."""
        start = f"{name}/"
        return {key[len(start) :]: one for key, one in list(self.kinds[kind].items()) if key.startswith(start)}

    def names(self, kind: str) -> list[str]:
        """The names of the assets of a kind, in the order in which they were made."""
        return list(dict.fromkeys(key.rpartition("/")[0] for key in list(self.kinds[kind])))


def now() -> str:
    """The time as ARM writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f0Z")


def _system_data(old: dict[str, Any] | None) -> dict[str, Any]:
    time, who = now(), {"createdBy": "Loopback User", "createdByType": "User"}
    created = old or {"createdAt": time, **who}
    return {**created, "lastModifiedAt": time, "lastModifiedBy": "Loopback User", "lastModifiedByType": "User"}
