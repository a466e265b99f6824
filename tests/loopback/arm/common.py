"""What the modules beside this one share: lists with pages, long-running operations, settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from ..messages import Request, Response


@dataclass
class Settings:
    """What a test may turn: resources a page, and how many polls a long-running operation takes to finish."""

    page_size: int = 100
    polls: int = 1


def listing(request: Request, resources: Iterable[Any], settings: Settings) -> Response:
    """One page of a list; ``nextLink`` leads to the next."""
    found = list(resources)
    start = int(request.query.get("$skip") or request.query.get("$skiptoken") or 0)
    size = int(request.query.get("$top") or settings.page_size)
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
