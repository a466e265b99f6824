"""What the modules beside this one share: lists with pages, patches, settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from ..messages import Request, Response


@dataclass
class Settings:
    """What a test may turn.

    ``page_size``: resources a page. ``polls``: how often a long-running operation (or its resource) is looked at until
    it is over, 0: at once; ``poll_after_ms``: what clients are told to wait in between. ``provisioning_errors``: code
    and message that making a resource of a kind (``onlineEndpoints``, ``onlineDeployments``, ...) ends with;
    ``deletion_states``: the state in which the deletion of a resource of a kind leaves it, undeleted. ``quota`` and
    ``usage``: virtual CPUs by family, where not the default. ``actions``: what the caller's role allows.
    """

    page_size: int = 100
    polls: int = 1
    poll_after_ms: int = 20
    provisioning_errors: dict[str, tuple[str, str]] = field(default_factory=dict)
    deletion_states: dict[str, str] = field(default_factory=dict)
    quota: dict[str, int] = field(default_factory=dict)
    usage: dict[str, int] = field(default_factory=dict)
    default_quota: int = 100
    actions: list[str] = field(default_factory=lambda: ["*"])
    not_actions: list[str] = field(default_factory=list)
    data_actions: list[str] = field(default_factory=lambda: ["*"])


def listing(request: Request, resources: Iterable[Any], settings: Settings) -> Response:
    """One page of a list; ``nextLink`` leads to the next."""
    found = list(resources)
    start = int(request.query.get("$skip") or request.query.get("$skiptoken") or 0)
    size = int(request.query.get("$top") or request.query.get("count") or settings.page_size)
    answer: dict[str, Any] = {"value": found[start : start + size]}
    if start + size < len(found):
        query = {**request.query, "$skip": str(start + size)}
        answer["nextLink"] = f"{request.base}{request.path}?{urlencode(query)}"
    return Response(answer)


def visible(request: Request, resources: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The resources that ``listViewType`` asks for: active ones (the default), archived ones, or all."""
    view = request.query.get("listViewType", "ActiveOnly")
    if view == "All":
        return list(resources)
    return [one for one in resources if bool(one["properties"].get("isArchived")) is (view == "ArchivedOnly")]


def merged(old: Any, change: Any) -> Any:
    """A JSON merge patch: objects are merged, null removes, all else replaces."""
    if not isinstance(change, dict) or not isinstance(old, dict):
        return change
    result = {name: value for name, value in old.items() if change.get(name, "") is not None}
    for name, value in change.items():
        if value is not None:
            result[name] = merged(old.get(name), value)
    return result
