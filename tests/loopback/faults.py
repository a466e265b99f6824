"""Faults that a test asks for: an error status, a cut connection, latency, on one route, so many times."""

from __future__ import annotations

import fnmatch
import threading
import time
from dataclasses import dataclass, field

from .messages import ArmError, BlobError, Request, Response
from .server import Cut

CODES = {
    401: ("InvalidAuthenticationToken", "The access token is invalid."),
    403: ("AuthorizationFailed", "The client does not have authorization to perform this action over this scope."),
    404: ("ResourceNotFound", "The resource was not found."),
    409: ("Conflict", "The resource is being changed by another request."),
    429: ("TooManyRequests", "The request was throttled."),
    500: ("InternalServerError", "Received an internal server error."),
    503: ("ServiceUnavailable", "The service is unavailable now."),
}


@dataclass
class Fault:
    """A fault on the routes that fit ``route``, see ``Workspace.fail``; ``hits`` counts how often it struck."""

    route: str
    status: int | None = None
    times: int | None = None
    after: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    cut: str | None = None
    delay: float = 0.0
    code: str | None = None
    message: str | None = None
    hits: int = 0
    seen: int = 0

    def fits(self, request: Request) -> bool:
        """Whether the request's route, or its method and path, is the one named (``*`` stands for anything)."""
        names = (request.route, f"{request.method} {request.path}")
        return any(name == self.route or fnmatch.fnmatchcase(name, self.route) for name in names)

    def error(self, request: Request) -> ArmError | BlobError:
        """The answer instead of the real one, in the form that the request's service has."""
        code, message = CODES.get(self.status or 500, ("InjectedFault", "Something went wrong."))
        kind = BlobError if request.path.startswith("/blob/") else ArmError
        headers = dict(self.headers)
        if self.status == 401:
            headers.setdefault("WWW-Authenticate", f'Bearer authorization_uri="{request.base}", error="invalid_token"')
        return kind(self.status or 500, self.code or code, self.message or message, headers)


class Faults:
    """The faults that were asked for."""

    def __init__(self) -> None:
        self._all: list[Fault] = []
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> Fault:
        """Let a fault strike from now on."""
        with self._lock:
            self._all.append(fault)
        return fault

    def clear(self) -> None:
        """No faults any more."""
        with self._lock:
            self._all.clear()

    def before(self, request: Request) -> Fault | None:
        """Strike before the request is handled; returns the fault whose cut comes after it, if one does."""
        fault = self._next(request)
        if fault is None:
            return None
        time.sleep(fault.delay)
        if fault.cut == "before":
            raise Cut()
        if fault.status is not None:
            raise fault.error(request)
        return fault

    def after(self, fault: Fault | None, response: Response) -> Response:
        """Strike after the request was handled: its answer is cut in the middle (``body``) or never sent."""
        if fault is not None and fault.cut:
            raise Cut(response if fault.cut == "body" else None)
        return response

    def _next(self, request: Request) -> Fault | None:
        with self._lock:
            for fault in self._all:
                if not fault.fits(request) or (fault.times is not None and fault.hits >= fault.times):
                    continue
                fault.seen += 1
                if fault.seen > fault.after:
                    fault.hits += 1
                    return fault
        return None
