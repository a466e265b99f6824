"""Calls to the workspace that a job runs in, as the identity that the step has (:mod:`common.entra`)."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Any

from common import strict_json
from common.entra import NoToken, token
from common.secrets import ARM_ENDPOINT


class NotPermitted(Exception):
    """There is no identity, or it may not do this, or nobody answers."""


def call(method: str, path: str, version: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """What Resource Manager answers; None where a GET finds nothing. Raises NotPermitted."""
    address = os.environ.get("AZDISTILL_ARM_ENDPOINT", ARM_ENDPOINT).rstrip("/")
    try:
        bearer = token(f"{address}/.default")
    except NoToken as error:
        raise NotPermitted(str(error)) from None
    data = strict_json.dumps(body).encode() if body is not None else None
    headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{address}{path}?api-version={version}", data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            content: dict[str, Any] = json.load(answer)
            return content
    except urllib.error.HTTPError as error:
        if error.code == 404 and method == "GET":
            return None
        raise NotPermitted(f"the workspace answered {error.code} {error.reason}") from None
    except (OSError, ValueError) as error:
        raise NotPermitted(f"the workspace does not answer: {error}") from None
