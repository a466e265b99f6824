"""Tokens: JWTs that the workspace gives and recognises, and who may call what with which audience."""

from __future__ import annotations

import secrets
import time
import uuid
from typing import Any

import jwt

from .messages import Request, ServiceError

AUDIENCES = {
    "arm": ("https://management.azure.com", "https://management.core.windows.net"),
    "ml": ("https://ml.azure.com", "https://management.azure.com", "https://management.core.windows.net"),
    "storage": ("https://storage.azure.com",),
    "vault": ("https://vault.azure.net",),
}
"""Which ``aud`` each service takes, beside the workspace's own address (which is its ARM)."""


class Tokens:
    """Gives and checks tokens. ``lifetime`` is in seconds; what is not positive makes tokens that have expired."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.lifetime = 3600
        self.base = ""
        self._key = secrets.token_bytes(32)
        self.given: list[str] = []

    def give(self, scope: str, *, who: str = "client", **claims: Any) -> str:
        """A token for a scope (``https://storage.azure.com/.default``) or resource."""
        now = int(time.time())
        payload = {
            "aud": scope.split()[0].removesuffix("/.default"),
            "iss": f"{self.base}/{self.tenant}/v2.0",
            "iat": now,
            "nbf": now,
            "exp": now + self.lifetime,
            "tid": self.tenant,
            "oid": str(uuid.uuid5(uuid.NAMESPACE_URL, who)),
            "appid": who,
            "idtyp": "app",
            "jti": uuid.uuid4().hex,
            **claims,
        }
        token = jwt.encode(payload, self._key, "HS256")
        self.given.append(token)
        return token

    def expire_all(self) -> None:
        """No token given until now is good any more, whatever it says."""
        self.given.clear()

    def check(self, request: Request, service: str) -> dict[str, Any]:
        """The claims of a request's token, or 401 as the service says it."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise self._refuse("AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.")
        return self.claims(token, service)

    def claims(self, token: str, service: str) -> dict[str, Any]:
        """The claims of a token for a service, or 401."""
        try:
            claims: dict[str, Any] = jwt.decode(token, self._key, ["HS256"], options={"verify_aud": False})
        except jwt.ExpiredSignatureError:
            raise self._refuse("ExpiredAuthenticationToken", "The access token expiry UTC time is earlier.") from None
        except jwt.InvalidTokenError as error:
            raise self._refuse("InvalidAuthenticationToken", f"The access token is invalid: {error}.") from None
        if token not in self.given:
            raise self._refuse("ExpiredAuthenticationToken", "The access token was revoked.")
        audience = str(claims["aud"]).rstrip("/")
        if audience not in (*AUDIENCES[service], *([self.base] if service in ("arm", "ml") else [])):
            message = f"The access token has been obtained for wrong audience or resource '{audience}'."
            raise self._refuse("InvalidAuthenticationTokenAudience", message)
        return claims

    def _refuse(self, code: str, message: str) -> ServiceError:
        where = f'authorization_uri="{self.base}/{self.tenant}"'
        header = f'Bearer {where}, error="invalid_token", error_description="{message}"'
        return ServiceError(401, code, message, {"WWW-Authenticate": header})
