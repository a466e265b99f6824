"""Calls of Resource Manager, and of a workspace's other services, that azure-ai-ml has no method for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from azdistill.errors import ServiceError

#: What is asked for where the caller names none: a stable version of Microsoft.MachineLearningServices.
API_VERSION = "2024-10-01"

#: Settings of azure-core's RetryPolicy. It would send even a POST again after a 500, 503 or 504.
_ONCE = {"retry_read": 0, "retry_status": 0, "retry_connect": 3}


class Rest:
    """Authenticated JSON over HTTPS; retries as azure-core does (connections, 408, 429 with Retry-After, 5xx)."""

    def __init__(self, credential: Any, resource_manager: str, scope: str) -> None:
        from azure.core import PipelineClient
        from azure.core.pipeline import policies

        self._base = resource_manager
        self._client: Any = PipelineClient(
            resource_manager,
            policies=[
                policies.HeadersPolicy({"Accept": "application/json"}),
                policies.UserAgentPolicy("azdistill"),
                policies.RedirectPolicy(),
                policies.RetryPolicy(),
                policies.BearerTokenCredentialPolicy(credential, scope),
            ],
        )

    def call(
        self,
        method: str,
        path: str,
        *,
        api_version: str | None = None,
        body: Any = None,
        params: Mapping[str, str] | None = None,
        base: str | None = None,
        headers: Mapping[str, str] | None = None,
        once: bool = False,
    ) -> Any:
        """The parsed answer (None where it has no body). Raises what azure-core does for a status of 400 and above.

        ``path`` starts at the root of Resource Manager, or of ``base`` where that is given; there no ``api-version``
        is sent unless one is named. An absolute address (a ``nextLink``) is taken as it is. With ``once`` nothing that
        the service may have received is sent again; only a connection that could not be made is tried anew.
        """
        from azure.core.rest import HttpRequest

        version = api_version or (None if base or path.startswith("https:") else API_VERSION)
        query = {**(params or {}), **({"api-version": version} if version else {})}
        url = path if path.startswith("https:") else f"{(base or self._base).rstrip('/')}/{path.lstrip('/')}"
        request = HttpRequest(method, url, params=query, json=body, headers=dict(headers or {}))
        answer = self._client.send_request(request, **(_ONCE if once else {}))
        return parsed(answer)

    def find(self, path: str, **options: Any) -> Any:
        """What a GET of ``path`` answers; None where there is nothing of that name (404)."""
        from azure.core.exceptions import ResourceNotFoundError

        try:
            return self.call("GET", path, **options)
        except ResourceNotFoundError:
            return None

    def each(self, path: str, **options: Any) -> Iterator[Any]:
        """Every entry of a list; a page is asked for when its first entry is."""
        page = self.call("GET", path, **options)
        yield from page.get("value") or []
        while link := page.get("nextLink"):
            page = self.call("GET", link, base=options.get("base"))
            yield from page.get("value") or []

    def listed(self, path: str, **options: Any) -> list[Any]:
        """Every entry of a list, page after page."""
        return list(self.each(path, **options))


def parsed(answer: Any) -> Any:
    """The JSON of an answer. Raises azure-core's error for a failed one, ServiceError AZD407 for what is no JSON."""
    answer.read()
    refuse_failed(answer)
    text = answer.text()
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except ValueError:
        host = answer.request.url.split("?")[0]
        raise ServiceError(f"{host} answered with something that is no JSON", code="AZD407") from None


def refuse_failed(answer: Any) -> None:
    """Raise azure-core's error for an answer whose status is 400 or above."""
    from azure.core import exceptions

    kinds = {
        401: exceptions.ClientAuthenticationError,
        404: exceptions.ResourceNotFoundError,
        409: exceptions.ResourceExistsError,
    }
    if answer.status_code >= 400:
        raise kinds.get(answer.status_code, exceptions.HttpResponseError)(response=answer)


def ask_anonymously(url: str, *, retries: int = 10, **options: Any) -> Any:
    """The answer of an address to a GET without credentials; ``options`` are those of azure-core's HttpRequest."""
    from azure.core import PipelineClient
    from azure.core.pipeline import policies
    from azure.core.rest import HttpRequest

    client: Any = PipelineClient(url, policies=[policies.RetryPolicy(retry_total=retries)])
    with client:
        return client.send_request(HttpRequest("GET", url, **options))


def get_json(url: str, **options: Any) -> Any:
    """The parsed answer of :func:`ask_anonymously`."""
    return parsed(ask_anonymously(url, **options))


def parsed_time(text: Any) -> datetime | None:
    """A time as services write it (UTC where they name no zone); None for anything else."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def part(name: str) -> str:
    """``name`` as one part of a path: what a user writes cannot lead elsewhere."""
    return quote(name, safe="")
