"""Calls to the workspace that a job runs in, as the identity that the step has.

The public cloud unless ``ARM_CLOUD_METADATA_URL`` and ``AZUREML_CURRENT_CLOUD`` name another, as for azure-ai-ml.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from functools import cache
from typing import Any

PUBLIC = "https://management.azure.com"
_SOVEREIGN = {
    "AzureChinaCloud": "https://management.chinacloudapi.cn",
    "AzureUSGovernment": "https://management.usgovcloudapi.net",
}


class NotPermitted(Exception):
    """There is no identity, or it may not do this, or nobody answers."""


def call(method: str, path: str, version: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """What Resource Manager answers; None where a GET finds nothing. Raises NotPermitted."""
    data = json.dumps(body).encode() if body is not None else None
    headers = {"Authorization": f"Bearer {_token(address())}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{address()}{path}?api-version={version}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        if error.code == 404 and method == "GET":
            return None
        raise NotPermitted(f"the workspace answered {error.code} {error.reason}") from None
    except (OSError, ValueError) as error:
        raise NotPermitted(f"the workspace does not answer: {error}") from None


@cache
def address() -> str:
    """The address of Resource Manager. Raises NotPermitted where a private cloud does not tell it."""
    described, wanted = os.environ.get("ARM_CLOUD_METADATA_URL"), os.environ.get("AZUREML_CURRENT_CLOUD", "")
    if not described or not wanted or wanted in _SOVEREIGN:
        return _SOVEREIGN.get(wanted, PUBLIC)
    try:
        with urllib.request.urlopen(described, timeout=30) as answer:
            clouds = json.load(answer)
    except (OSError, ValueError) as error:
        raise NotPermitted(f"the cloud does not describe itself: {error}") from None
    for cloud in clouds if isinstance(clouds, list) else [clouds]:
        if cloud.get("name") == wanted:
            return str(cloud["resourceManager"]).rstrip("/")
    return PUBLIC


@cache
def _token(resource: str) -> str:
    try:
        from azure.core.exceptions import ClientAuthenticationError
        from azure.identity import DefaultAzureCredential
    except ImportError as error:
        raise NotPermitted("azure-identity is not installed") from error
    # Inside a job the compute's managed identity is found by its client id. An authority that is not Microsoft's is
    # not looked up with Microsoft's.
    client = os.environ.get("DEFAULT_IDENTITY_CLIENT_ID")
    known: dict[str, Any] = {"managed_identity_client_id": client} if client else {}
    if os.environ.get("AZURE_AUTHORITY_HOST"):
        known["disable_instance_discovery"] = True
    try:
        return str(DefaultAzureCredential(**known).get_token(f"{resource}/.default").token)
    except ClientAuthenticationError as error:
        raise NotPermitted(f"no identity gave a token: {str(error).splitlines()[0]}") from None
