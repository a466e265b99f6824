"""Online endpoints and their deployments, and serverless endpoints."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from ..messages import ArmError, Request, Response
from ..store import Store
from .collection import Collection


class _Keyed(Collection):
    """An endpoint that has a pair of keys."""

    def install(self, add: Callable[..., None]) -> None:
        """Add the routes."""
        add("POST", f"{{ws}}/{self.kind}/{{name}}/listKeys", self.keys)
        add("POST", f"{{ws}}/{self.kind}/{{name}}/regenerateKeys", self.regenerate)
        super().install(add)

    def keys(self, request: Request) -> Response:
        """Both keys."""
        return Response(self._keys(request))

    def regenerate(self, request: Request) -> Response:
        """A new key in place of the primary or secondary one."""
        body, keys = request.json(), self._keys(request)
        keys["primaryKey" if body.get("keyType") == "Primary" else "secondaryKey"] = secrets.token_urlsafe(24)
        return Response(keys)

    def _keys(self, request: Request) -> dict[str, str]:
        resource = self.find(request)
        pair = {"primaryKey": secrets.token_urlsafe(24), "secondaryKey": secrets.token_urlsafe(24)}
        return self.ws.endpoint_keys.setdefault(resource["id"], pair)


class OnlineEndpoints(_Keyed):
    """Managed online endpoints; the traffic may only go to deployments that are there."""

    kind, label, slow = "onlineEndpoints", "Endpoint", True

    def install(self, add: Callable[..., None]) -> None:
        """Add the routes."""
        add("POST", "{ws}/onlineEndpoints/{name}/token", self.token)
        super().install(add)

    def admit(self, request: Request, body: dict[str, Any], old: dict[str, Any] | None) -> None:
        """Refuse traffic to what is not there, or of more than 100 per cent."""
        traffic = (body.get("properties") or {}).get("traffic") or {}
        there = _deployments(request.store, request.params["name"])
        missing = sorted(name for name, share in traffic.items() if share and name not in there)
        if missing:
            raise ArmError(400, "UserError", f"Deployment(s) {missing} in the traffic do not exist.")
        if sum(traffic.values()) not in (0, 100):
            raise ArmError(400, "UserError", "The percentages of the traffic must add up to 0 or 100.")

    def completed(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        """The addresses that the service gives."""
        name = request.params["name"]
        host = f"https://{name}.{self.ws.location}.inference.ml.azure.com"
        added = {"scoringUri": f"{host}/score", "swaggerUri": f"{host}/swagger.json", "traffic": {}}
        kept = {field: value for field, value in body["properties"].items() if value is not None and field != "keys"}
        return {**body, "properties": {**added, **kept}}

    def deleted(self, request: Request) -> None:
        """An endpoint takes its deployments with it."""
        assert request.store is not None
        for name in _deployments(request.store, request.params["name"]):
            del request.store["onlineDeployments"][f"{request.params['name']}/{name}"]

    def token(self, request: Request) -> Response:
        """A token to ask the endpoint with."""
        self.find(request)
        token = self.ws.tokens.give("https://ml.azure.com/.default", who=request.params["name"])
        return Response({"accessToken": token, "tokenType": "Bearer", "expiryTimeUtc": 0, "refreshAfterTimeUtc": 0})


class OnlineDeployments(Collection):
    """Deployments of online endpoints; in the store ``endpoint/deployment``."""

    kind, label, slow = "onlineDeployments", "Deployment", True

    def install(self, add: Callable[..., None]) -> None:
        """Add the routes."""
        path = "{ws}/onlineEndpoints/{endpoint}/deployments"
        add("POST", path + "/{name}/getLogs", self.logs)
        add("GET", path + "/{name}/skus", self.skus)
        add("GET", path, self.list)
        for method in ("get", "put", "patch", "delete"):
            add(method.upper(), path + "/{name}", getattr(self, method))

    def key(self, request: Request) -> str:
        """Endpoint and deployment."""
        return f"{request.params['endpoint']}/{request.params['name']}"

    def selected(self, request: Request) -> list[dict[str, Any]]:
        """Those of one endpoint."""
        self._endpoint(request)
        return list(_deployments(request.store, request.params["endpoint"]).values())

    def admit(self, request: Request, body: dict[str, Any], old: dict[str, Any] | None) -> None:
        """Refuse a deployment without endpoint, or that the quota does not hold."""
        self._endpoint(request)
        size = (body.get("properties") or {}).get("instanceType")
        if size and old is None:
            self.ws.quota.need(size, int((body.get("sku") or {}).get("capacity") or 1))

    def completed(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        """What the service adds where a body leaves it out."""
        sku = body.get("sku") or {"name": "Default", "capacity": 1}
        added = {"scaleSettings": {"scaleType": "Default"}, "appInsightsEnabled": False}
        given = {name: value for name, value in body["properties"].items() if value is not None}
        return {**body, "sku": sku, "properties": {**added, **given}}

    def store(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Its id lies under its endpoint's."""
        assert request.store is not None
        endpoint, name = request.params["endpoint"], request.params["name"]
        path = f"onlineEndpoints/{endpoint}/deployments/{name}"
        return request.store.put("onlineDeployments", f"{endpoint}/{name}", body, path=path, shown_as=name)

    def may_delete(self, request: Request, resource: dict[str, Any]) -> None:
        """A deployment that gets traffic is not deleted."""
        share = self._endpoint(request)["properties"].get("traffic", {}).get(request.params["name"], 0)
        if share:
            message = f"Cannot delete deployment {request.params['name']}: it gets {share} per cent of the traffic."
            raise ArmError(400, "UserError", message)

    def logs(self, request: Request) -> Response:
        """Some lines."""
        self.find(request)
        return Response({"content": f"{request.params['name']}: no logs on loopback\n"})

    def skus(self, request: Request) -> Response:
        """How far it scales."""
        self.find(request)
        capacity = {"minimum": 1, "maximum": 20, "default": 1, "scaleType": "Manual"}
        return Response({"value": [{"resourceType": self.kind, "sku": {"name": "Default"}, "capacity": capacity}]})

    def _endpoint(self, request: Request) -> dict[str, Any]:
        assert request.store is not None
        name = request.params["endpoint"]
        endpoint = request.store["onlineEndpoints"].get(name)
        if endpoint is None:
            raise ArmError(404, "EndpointNotFound", f"The endpoint '{name}' could not be found.")
        return endpoint


class ServerlessEndpoints(_Keyed):
    """Models as a service, of those models that a registry offers so."""

    kind, label, slow = "serverlessEndpoints", "ServerlessEndpoint", True

    def admit(self, request: Request, body: dict[str, Any], old: dict[str, Any] | None) -> None:
        """It serves a model."""
        model = ((body.get("properties") or {}).get("modelSettings") or {}).get("modelId")
        if not model:
            raise ArmError(400, "UserError", "The modelSettings.modelId field is required.")
        if not str(model).startswith("azureml://registries/"):
            raise ArmError(400, "UserError", f"The model {model} is not offered as a serverless endpoint.")

    def completed(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        """Its address."""
        host = f"https://{request.params['name']}.{self.ws.location}.models.ai.azure.com"
        inference = {"uri": host, "headers": None}
        added = {"inferenceEndpoint": inference, "authMode": "Key", "endpointState": "Online"}
        return {"sku": {"name": "Consumption"}, **body, "properties": {**added, **body["properties"]}}


def _deployments(store: Store | None, endpoint: str) -> dict[str, dict[str, Any]]:
    assert store is not None
    return store.versions("onlineDeployments", endpoint)
