"""What a reference to an asset or compute stands for in the workspace and its registries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .store import Store
    from .workspace import Workspace

PUBLIC = ("azureml", "azureml-meta", "azureml-staging", "HuggingFace", "azure-openai", "azureml-msr", "azureml-nvidia")
"""Registries that Microsoft keeps: what they hold is not known here, and taken to be there."""

_WORKSPACE = re.compile(r"(?:azureml:)?(/subscriptions/.+?/workspaces/[^/]+)/(\w+)/(.+)", re.IGNORECASE)
_REGISTRY = re.compile(r"azureml://registries/([^/]+)/(\w+)/(.+)")
_VERSION = re.compile(r"([^/]+)/(versions|labels)/([^/]+)")


def missing(ws: Workspace, reference: str) -> str | None:
    """What to say about a reference to something that is not there; None where it is, or is no such reference."""
    store, kind, rest = _parts(ws, reference)
    if kind is None or (store is not None and _there(store, kind, rest)):
        return None
    if store is None and _REGISTRY.fullmatch(reference) and _REGISTRY.fullmatch(reference)[1] in PUBLIC:  # type: ignore[index]
        return None
    return f"{reference.removeprefix('azureml:')} could not be found."


def find(ws: Workspace, reference: str) -> dict[str, Any] | None:
    """The version of an asset that a reference stands for, or None."""
    store, kind, rest = _parts(ws, reference)
    match = _VERSION.fullmatch(rest)
    if store is None or kind is None or not match:
        return None
    if match[2] == "labels":
        versions = store.versions(kind, match[1])
        return versions[next(reversed(versions))] if versions and match[3] == "latest" else None
    return store[kind].get(f"{match[1]}/{match[3]}")


def _parts(ws: Workspace, reference: str) -> tuple[Store | None, str | None, str]:
    registry = _REGISTRY.fullmatch(reference)
    if registry:
        return ws.stores.get(ws.scope_path(registry[1], registry=True).lower()), registry[2], registry[3]
    match = _WORKSPACE.fullmatch(reference)
    if match:
        return ws.stores.get(match[1].lower()), match[2], match[3]
    return None, None, ""


def _there(store: Store, kind: str, rest: str) -> bool:
    if kind == "computes":
        return rest == "serverless" or rest in store["computes"]
    match = _VERSION.fullmatch(rest)
    if not match:
        return rest in store[kind]
    if match[2] == "labels":
        return bool(store.versions(kind, match[1]))
    return f"{match[1]}/{match[3]}" in store[kind]
