"""Where a cloud's services are: ``ARM_CLOUD_METADATA_URL`` and the workspace's discovery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..messages import Request, Response

if TYPE_CHECKING:
    from ..workspace import Workspace


def install(ws: Workspace) -> None:
    """Add the routes."""

    def endpoints(_: Request) -> Response:
        """The clouds that this ARM knows, in the form of api-version 2019-05-01."""
        login = {"loginEndpoint": ws.url, "audiences": [ws.url], "tenant": ws.tenant_id, "identityProvider": "AAD"}
        cloud = {
            "name": ws.cloud,
            "portal": "https://portal.azure.com",
            "resourceManager": ws.url,
            "authentication": login,
            "suffixes": {"storage": "core.windows.net", "keyVaultDns": "vault.azure.net"},
        }
        return Response([cloud])

    def discovery(_: Request) -> Response:
        """The addresses of a workspace's services, under the names that the SDK reads."""
        names = ("api", "history", "experimentation", "modelmanagement", "pipelines", "studio", "mlflow")
        return Response({name: f"{ws.url}/api" if name != "mlflow" else f"{ws.url}/mlflow" for name in names})

    ws.routes.add("GET", "/metadata/endpoints", endpoints, guard="none")
    ws.routes.add("GET", "/discovery/workspaces/{guid}", discovery, guard="none")
