"""The workspace that the step runs in, by REST: lists, and deletions that are waited for."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from typing import Any

from common.entra import NoToken, token
from common.secrets import ARM_ENDPOINT
from common.step import BadConfig, Refused, Unavailable

_API = "2024-10-01"
#: Seconds between the attempts at a request that met a busy or failing service, and between two looks.
_WAITS = (1, 4, 10)
_LOOKS = (0.2, 15.0)
_BUSY = (408, 409, 429, 500, 502, 503, 504)


class Workspace:
    """Calls as the step's identity. ``timeout`` is how long a deletion may take, in seconds."""

    def __init__(self, timeout: float) -> None:
        names = ("AZUREML_ARM_SUBSCRIPTION", "AZUREML_ARM_RESOURCEGROUP", "AZUREML_ARM_WORKSPACE_NAME")
        values = [os.environ.get(name, "") for name in names]
        if not all(values):
            raise BadConfig(f"this step runs inside a job of a workspace; outside, set {', '.join(names)}")
        self._timeout = timeout
        self._host = os.environ.get("AZDISTILL_ARM_ENDPOINT", ARM_ENDPOINT).rstrip("/")
        self._base = (
            f"{self._host}/subscriptions/{values[0]}/resourceGroups/{values[1]}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{values[2]}"
        )

    def listed(self, kind: str) -> list[dict[str, Any]]:
        """Every resource of a kind, page after page."""
        entries: list[dict[str, Any]] = []
        url: str | None = f"{self._base}/{kind}?api-version={_API}"
        while url:
            page = self._call("GET", url, f"listing {kind}") or {}
            entries += page.get("value", [])
            url = page.get("nextLink")
        return entries

    def delete(self, path: str) -> None:
        """Delete a resource and wait until it is gone; what is not there is gone."""
        url = f"{self._base}/{path}?api-version={_API}"
        self._call("DELETE", url, f"removing {path}")
        pause, end = _LOOKS[0], time.monotonic() + self._timeout
        while self._call("GET", url, f"looking up {path}") is not None:
            if time.monotonic() > end:
                raise Unavailable(f"{path} is still there after {self._timeout:.0f} s")
            time.sleep(pause)
            pause = min(pause * 1.5, _LOOKS[1])

    def _call(self, method: str, url: str, doing: str) -> dict[str, Any] | None:
        """The parsed answer; None for what is not there."""
        for wait in (*_WAITS, None):
            request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self._token()}"}, method=method)
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    text = answer.read()
                    content: dict[str, Any] = json.loads(text) if text.strip() else {}
                    return content
            except urllib.error.HTTPError as error:
                if error.code == 404:
                    return None
                if wait is None or error.code not in _BUSY:
                    kind = Refused if error.code in (401, 403) else Unavailable
                    raise kind(f"{doing}: the service answered {error.code} {error.reason}") from None
                time.sleep(min(float(error.headers.get("Retry-After") or wait), 60))
            except OSError as error:
                if wait is None:
                    raise Unavailable(f"{doing}: {error}") from None
                time.sleep(wait)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _token(self) -> str:
        try:
            return token(f"{self._host}/.default")
        except NoToken as error:
            raise Refused(f"the step's identity gives no token: {error}") from None
