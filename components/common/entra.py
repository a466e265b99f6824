"""Tokens of Microsoft Entra ID inside a step: as the user who submitted it, or as the compute's managed identity."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

#: Authorities that Microsoft's libraries know; another one cannot be looked up with them.
_KNOWN = ("login.microsoftonline.com", "login.chinacloudapi.cn", "login.microsoftonline.us")


class NoToken(Exception):
    """No credential gave a token."""


def token(scope: str) -> str:
    """A token for ``scope`` (``https://vault.azure.net/.default``). Raises NoToken."""
    # A job with `identity: user_identity` has this endpoint; there DefaultAzureCredential finds nothing of the user's.
    endpoint = os.environ.get("OBO_ENDPOINT")
    return _on_behalf(endpoint, scope) if endpoint else _default(scope)


def _on_behalf(endpoint: str, scope: str) -> str:
    """As ``azure.ai.ml.identity.AzureMLOnBehalfOfCredential`` asks (azure-ai-ml 1.35)."""
    query = urllib.parse.urlencode({"resource": scope.removesuffix("/.default")})
    # The endpoint is on the node itself, where no proxy leads.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{endpoint}?{query}", timeout=30) as answer:
            return str(json.load(answer)["access_token"])
    except urllib.error.HTTPError as error:
        raise NoToken(f"the user's identity gave none: {error.code} {error.reason}") from error
    except (OSError, ValueError, KeyError) as error:
        raise NoToken(f"the user's identity gave none: {error}") from error


def _default(scope: str) -> str:
    try:
        from azure.core.exceptions import ClientAuthenticationError
        from azure.identity import DefaultAzureCredential
    except ImportError as error:
        raise NoToken("azure-identity is not installed; this kind of reference needs it") from error
    try:
        value: str = DefaultAzureCredential(**_options()).get_token(scope).token
    except ClientAuthenticationError as error:
        raise NoToken(str(error).splitlines()[0]) from error
    return value


def _options() -> dict[str, Any]:
    # Inside a job the compute's managed identity is found by its client id.
    client = os.environ.get("DEFAULT_IDENTITY_CLIENT_ID")
    options: dict[str, Any] = {"managed_identity_client_id": client} if client else {}
    authority = os.environ.get("AZURE_AUTHORITY_HOST", "")
    host = urllib.parse.urlsplit(authority if "//" in authority else f"https://{authority}").hostname
    return options if not authority or host in _KNOWN else {**options, "disable_instance_discovery": True}
