"""A credential for the process that runs the workspace: it asks no authority."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from .tokens import Tokens


class AccessToken(NamedTuple):
    """What azure-core takes for a token."""

    token: str
    expires_on: int


class LoopbackCredential:
    """A ``TokenCredential`` of azure-core."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """A token for the first scope."""
        token = self._tokens.give(scopes[0] if scopes else self._tokens.base, who="in-process")
        return AccessToken(token, int(time.time()) + self._tokens.lifetime)
