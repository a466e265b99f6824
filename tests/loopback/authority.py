"""Microsoft Entra ID as azure-identity needs it: tokens by secret, assertion, device code, managed identity."""

from __future__ import annotations

import base64
import json
import time
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import jwt

from .messages import Request, Response

if TYPE_CHECKING:
    from .workspace import Workspace

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Authority:
    """The routes under ``/{tenant}``, and the endpoints of managed identities."""

    def __init__(self, workspace: Workspace) -> None:
        self._ws = workspace
        self.devices: dict[str, bool] = {}
        self._scopes: dict[str, str] = {}
        add = workspace.routes.add
        for version in ("/v2.0", ""):
            add("GET", f"/{{tenant}}{version}/.well-known/openid-configuration", self._openid, guard="none")
        add("GET", "/common/discovery/instance", self._instances, guard="none")
        add("POST", "/{tenant}/oauth2/v2.0/token", self._token, guard="none")
        add("POST", "/{tenant}/oauth2/v2.0/devicecode", self._device, guard="none")
        add("GET", "/device/{user_code}", self._sign_in, guard="none")
        add("GET", "/metadata/identity/oauth2/token", self._imds, guard="none")
        add("GET", "/msi/token", self._managed, guard="none")
        add("POST", "/msi/token", self._managed, guard="none")

    def _openid(self, request: Request) -> Response:
        tenant = request.params["tenant"]
        if tenant not in (self._ws.tenant_id, "organizations", "common"):
            return _refuse(400, "invalid_tenant", f"AADSTS90002: Tenant '{tenant}' not found.")
        base = f"{self._ws.url}/{tenant}"
        return Response(
            {
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            }
        )

    def _instances(self, request: Request) -> Response:
        endpoint = f"{self._ws.url}/{self._ws.tenant_id}/v2.0/.well-known/openid-configuration"
        host = self._ws.url.removeprefix("https://")
        meta = {"preferred_network": host, "preferred_cache": host, "aliases": [host]}
        return Response({"tenant_discovery_endpoint": endpoint, "api-version": "1.1", "metadata": [meta]})

    def _token(self, request: Request) -> Response:
        form = dict(parse_qsl(request.body.decode()))
        if request.params["tenant"] != self._ws.tenant_id and form.get("grant_type") == "client_credentials":
            return _refuse(400, "invalid_request", f"AADSTS90002: Tenant '{request.params['tenant']}' not found.")
        grants = {
            "client_credentials": self._by_client,
            "urn:ietf:params:oauth:grant-type:device_code": self._by_device,
            "device_code": self._by_device,
            "refresh_token": lambda form: self._answer(form, who="user", user=True),
        }
        grant = grants.get(form.get("grant_type", ""))
        if grant is None:
            return _refuse(400, "unsupported_grant_type", f"AADSTS70003: grant {form.get('grant_type')!r}.")
        return grant(form)

    def _by_client(self, form: dict[str, str]) -> Response:
        client = form.get("client_id", "")
        if client != self._ws.client_id:
            return _refuse(400, "unauthorized_client", f"AADSTS700016: Application '{client}' was not found.")
        if "client_assertion" in form:
            return self._by_assertion(form)
        if form.get("client_secret") != self._ws.client_secret:
            return _refuse(401, "invalid_client", "AADSTS7000215: Invalid client secret provided.")
        return self._answer(form, who=client)

    def _by_assertion(self, form: dict[str, str]) -> Response:
        try:
            claims = jwt.decode(form["client_assertion"], options={"verify_signature": False})
        except jwt.InvalidTokenError:
            return _refuse(401, "invalid_client", "AADSTS50027: The assertion is not a valid JWT.")
        if form.get("client_assertion_type") != ASSERTION or claims.get("exp", 0) < time.time():
            return _refuse(401, "invalid_client", "AADSTS700024: Client assertion is not within its valid time range.")
        if claims.get("sub") not in self._ws.federated_subjects:
            message = "AADSTS700213: No matching federated identity record found for presented assertion subject"
            return _refuse(401, "invalid_client", f"{message} '{claims.get('sub')}'.")
        return self._answer(form, who=form["client_id"])

    def _device(self, request: Request) -> Response:
        code = uuid.uuid4().hex
        self.devices[code] = self._ws.device_signs_in
        self._scopes[code] = dict(parse_qsl(request.body.decode())).get("scope", "")
        page = f"{self._ws.url}/device/{code}"
        message = f"To sign in, use a web browser to open the page {page} and enter the code {code[:9].upper()}."
        answer = {"user_code": code[:9].upper(), "device_code": code, "verification_uri": page}
        return Response({**answer, "expires_in": 900, "interval": 1, "message": message})

    def _sign_in(self, request: Request) -> Response:
        self.devices[request.params["user_code"]] = True
        return Response(b"Signed in.", headers={"Content-Type": "text/plain"})

    def _by_device(self, form: dict[str, str]) -> Response:
        code = form.get("device_code", form.get("code", ""))
        if not self.devices.get(code):
            return _refuse(400, "authorization_pending", "AADSTS70016: OAuth 2.0 device flow error.")
        return self._answer({"scope": self._scopes[code], **form}, who="user", user=True)

    def _answer(self, form: dict[str, str], *, who: str, user: bool = False) -> Response:
        scope = next((one for one in form.get("scope", "").split() if "/" in one), form.get("scope", ""))
        answer: dict[str, Any] = {
            "token_type": "Bearer",
            "expires_in": max(self._ws.tokens.lifetime, 0),
            "ext_expires_in": max(self._ws.tokens.lifetime, 0),
            "access_token": self._ws.tokens.give(scope, who=who),
        }
        if user:
            ids = {"uid": str(uuid.uuid5(uuid.NAMESPACE_URL, who)), "utid": self._ws.tenant_id}
            named = {"preferred_username": "user@loopback", "name": "Loopback User"}
            answer |= {"refresh_token": uuid.uuid4().hex, "scope": form.get("scope", "")}
            answer["client_info"] = base64.urlsafe_b64encode(json.dumps(ids).encode()).decode().rstrip("=")
            answer["id_token"] = self._ws.tokens.give(form.get("client_id", ""), who=who, **named)
        return Response(answer)

    def _imds(self, request: Request) -> Response:
        if request.headers.get("metadata", "").lower() != "true":
            return _refuse(400, "invalid_request", "Required metadata header not specified.")
        return self._identity(request.query.get("resource", ""))

    def _managed(self, request: Request) -> Response:
        given = request.headers.get("x-identity-header") or request.headers.get("secret")
        if given != self._ws.identity_header:
            return _refuse(401, "unauthorized_client", "The identity header is missing or wrong.")
        form = dict(parse_qsl(request.body.decode()))
        return self._identity(request.query.get("resource") or form.get("resource", ""))

    def _identity(self, resource: str) -> Response:
        if not self._ws.managed_identity:
            return _refuse(400, "invalid_request", "Identity not found")
        expires = int(time.time()) + self._ws.tokens.lifetime
        token = self._ws.tokens.give(resource, who="managed-identity")
        lifetime = str(self._ws.tokens.lifetime)
        answer = {"access_token": token, "expires_on": str(expires), "expires_in": lifetime, "resource": resource}
        return Response({**answer, "token_type": "Bearer", "client_id": "managed-identity"})


def _refuse(status: int, error: str, description: str) -> Response:
    return Response({"error": error, "error_description": description, "error_codes": [], "suberror": ""}, status)
