"""Which cloud is spoken to: the public one, a sovereign one, or a private one that describes itself.

A private cloud is named as azure-ai-ml names it: ``ARM_CLOUD_METADATA_URL`` lists clouds, ``--cloud`` or
``AZUREML_CURRENT_CLOUD`` picks one of them, and without either the one whose Resource Manager serves that list.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from azdistill.cloud.workspace.rest import get_json
from azdistill.errors import UserError, did_you_mean

METADATA_URL = "ARM_CLOUD_METADATA_URL"
CURRENT = "AZUREML_CURRENT_CLOUD"
DEFAULT = "AzureCloud"


@dataclass(frozen=True, slots=True)
class Cloud:
    """Addresses of one cloud, without a slash at the end. Microsoft's libraries know the ``public`` ones by name."""

    name: str
    resource_manager: str
    authority: str
    machine_learning: str
    portal: str
    storage: str
    registry: str
    vault: str
    cognitive_services: str = ""
    public: bool = False

    @property
    def scope(self) -> str:
        """What a token for Resource Manager, and for the services of a workspace, is asked for."""
        return f"{self.resource_manager}/.default"

    def as_sdk(self) -> dict[str, str]:
        """The ``cloud_metadata`` that MLClient takes."""
        return {
            "azure_portal": self.portal,
            "resource_manager": self.resource_manager,
            "active_directory": self.authority,
            "aml_resource_id": self.machine_learning,
            "storage_endpoint": self.storage,
            "registry_discovery_endpoint": self.registry,
        }


# Values of azure-ai-ml 1.35 (_azure_environments.py) and of `az cloud show` for the vaults.
_PUBLIC = {
    DEFAULT: Cloud(
        DEFAULT,
        "https://management.azure.com",
        "https://login.microsoftonline.com",
        "https://ml.azure.com",
        "https://portal.azure.com",
        "core.windows.net",
        "https://eastus.api.azureml.ms",
        "vault.azure.net",
        "https://cognitiveservices.azure.com",
        public=True,
    ),
    "AzureChinaCloud": Cloud(
        "AzureChinaCloud",
        "https://management.chinacloudapi.cn",
        "https://login.chinacloudapi.cn",
        "https://ml.azure.cn",
        "https://portal.azure.cn",
        "core.chinacloudapi.cn",
        "https://chinaeast2.api.ml.azure.cn",
        "vault.azure.cn",
        "https://cognitiveservices.azure.cn",
        public=True,
    ),
    "AzureUSGovernment": Cloud(
        "AzureUSGovernment",
        "https://management.usgovcloudapi.net",
        "https://login.microsoftonline.us",
        "https://ml.azure.us",
        "https://portal.azure.us",
        "core.usgovcloudapi.net",
        "https://usgovarizona.api.ml.azure.us",
        "vault.usgovcloudapi.net",
        "https://cognitiveservices.azure.us",
        public=True,
    ),
}


def find(name: str | None) -> Cloud:
    """The cloud ``name``, or the one that the environment names, or the public one.

    UserError AZD412 where there is no such cloud; a metadata address that does not answer raises what azure-core does.
    """
    url = os.environ.get(METADATA_URL)
    name = name or os.environ.get(CURRENT)
    if name in _PUBLIC:
        return _PUBLIC[name]
    described = _described(url) if url else {}
    if not name:
        return next((cloud for cloud in described.values() if cloud.resource_manager in (url or "")), _PUBLIC[DEFAULT])
    if name not in described:
        hint = did_you_mean(name, [*_PUBLIC, *described])
        advice = "" if url else f"; a private cloud is described at the address in {METADATA_URL}"
        raise UserError(f"there is no cloud '{name}'", code="AZD412", hint=hint + advice)
    return described[name]


def _described(url: str) -> dict[str, Cloud]:
    """The clouds that ``url`` lists, in the form of Resource Manager's ``/metadata/endpoints``."""
    answer = get_json(url)
    entries = answer if isinstance(answer, list) else [answer]
    clouds = (_from_metadata(entry) for entry in entries if isinstance(entry, dict) and "resourceManager" in entry)
    return {cloud.name: cloud for cloud in clouds}


def _from_metadata(entry: dict[str, Any]) -> Cloud:
    portal = str(entry.get("portal", ""))
    # azure-ai-ml derives the address of the studio from the portal's in the same way.
    suffix = ".".join(portal.split(".")[2:]).replace("/", "")
    suffixes = entry.get("suffixes") or {}
    authentication = entry.get("authentication") or {}
    return Cloud(
        name=str(entry.get("name", "")),
        resource_manager=str(entry["resourceManager"]).rstrip("/"),
        authority=str(authentication.get("loginEndpoint", "")).rstrip("/"),
        machine_learning=f"https://ml.azure.{suffix}",
        portal=portal,
        storage=str(suffixes.get("storage", "")),
        registry=os.environ.get("REGISTRY_DISCOVERY_ENDPOINT_URL", f"https://api.ml.azure.{suffix}"),
        vault=str(suffixes.get("keyVaultDns", "")).lstrip("."),
    )
