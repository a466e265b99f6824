"""Who asks: credentials of azure-identity, by the way that ``--auth`` names."""

from __future__ import annotations

import os
import sys
from datetime import datetime
from functools import partial
from typing import Any

from azdistill.cloud.workspace.clouds import Cloud
from azdistill.cloud.workspace.rest import get_json
from azdistill.errors import UserError, did_you_mean

#: What ``--auth`` takes. Without it, DefaultAzureCredential tries one after the other.
WAYS = ("cli", "device", "msi", "oidc")
#: Whom a federated token of GitHub is for (docs of azure/login).
_AUDIENCES = {
    "AzureUSGovernment": "api://AzureADTokenExchangeUSGov",
    "AzureChinaCloud": "api://AzureADTokenExchangeChina",
}
_AUDIENCE = "api://AzureADTokenExchange"
#: The public client of the Azure CLI, which may ask for Resource Manager's tokens in every tenant.
_CLI_CLIENT = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"


class InTenant:
    """A credential that asks another one for the tokens of one tenant."""

    def __init__(self, credential: Any, tenant: str) -> None:
        self._credential, self._tenant = credential, tenant

    def get_token(self, *scopes: str, **options: Any) -> Any:
        """As the other credential's, in the tenant."""
        return self._credential.get_token(*scopes, **{**options, "tenant_id": self._tenant})


def make_credential(auth: str | None, tenant: str | None, cloud: Cloud) -> Any:
    """A credential for ``cloud``. UserError AZD413 where ``auth`` is unknown or lacks its variables."""
    if auth is not None and auth not in WAYS:
        raise UserError(f"--auth does not know '{auth}'", code="AZD413", hint=did_you_mean(auth, WAYS))
    from azure import identity

    # A private authority is unknown to the public one, where its metadata would be looked up.
    options: dict[str, Any] = {
        "authority": cloud.authority,
        **({} if cloud.public else {"disable_instance_discovery": True}),
    }
    if auth == "cli":
        return identity.AzureCliCredential(tenant_id=tenant or "", process_timeout=60)
    if auth == "device":
        return identity.DeviceCodeCredential(
            client_id=_CLI_CLIENT, tenant_id=tenant or "organizations", prompt_callback=_ask_to_sign_in, **options
        )
    if auth == "msi":
        return identity.ManagedIdentityCredential(client_id=os.environ.get("AZURE_CLIENT_ID"))
    if auth == "oidc":
        return _oidc(tenant, cloud, options)
    credential = identity.DefaultAzureCredential(**options, additionally_allowed_tenants=["*"])
    return InTenant(credential, tenant) if tenant else credential


def _ask_to_sign_in(address: str, code: str, expires: datetime) -> None:
    # Not sys.stderr: what the SDK prints is kept from that while it works, and this must be seen.
    print(f"To sign in, open {address} and enter the code {code}", file=sys.__stderr__, flush=True)


def _oidc(tenant: str | None, cloud: Cloud, options: dict[str, Any]) -> Any:
    from azure.identity import ClientAssertionCredential, WorkloadIdentityCredential

    tenant = tenant or os.environ.get("AZURE_TENANT_ID")
    client = os.environ.get("AZURE_CLIENT_ID")
    if not tenant or not client:
        missing = [name for name, value in (("AZURE_TENANT_ID", tenant), ("AZURE_CLIENT_ID", client)) if not value]
        raise UserError(f"--auth oidc needs {' and '.join(missing)}", code="AZD413", hint=_OIDC_HINT)
    if file := os.environ.get("AZURE_FEDERATED_TOKEN_FILE"):
        return WorkloadIdentityCredential(tenant_id=tenant, client_id=client, token_file_path=file, **options)
    if url := os.environ.get("ACTIONS_ID_TOKEN_REQUEST_URL"):
        return ClientAssertionCredential(tenant, client, partial(_github_token, url, cloud), **options)
    raise UserError("--auth oidc found no federated token", code="AZD413", hint=_OIDC_HINT)


_OIDC_HINT = (
    "in GitHub Actions give the job `permissions: id-token: write` and set AZURE_CLIENT_ID and AZURE_TENANT_ID; "
    "elsewhere set AZURE_FEDERATED_TOKEN_FILE to the file with the token"
)


def _github_token(url: str, cloud: Cloud) -> str:
    """A fresh token of the GitHub job."""
    headers = {"Authorization": f"Bearer {os.environ.get('ACTIONS_ID_TOKEN_REQUEST_TOKEN', '')}"}
    audience = {"audience": _AUDIENCES.get(cloud.name, _AUDIENCE)}
    return str(get_json(url, params=audience, headers=headers)["value"])
