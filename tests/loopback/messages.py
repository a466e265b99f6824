"""What goes in and out of a route: requests, responses, and errors in the form each kind of service gives."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .store import Store


@dataclass
class Request:
    """One request as a route's handler sees it.

    ``params`` are the variables of the route's path, ``query`` the last value of each query parameter, ``headers``
    have lower-case names, ``store`` is the store of the workspace or registry that the path names.
    """

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    base: str = ""
    url: str = ""
    route: str = ""
    params: dict[str, str] = field(default_factory=dict)
    store: Store | None = None
    claims: dict[str, Any] = field(default_factory=dict)

    def json(self) -> Any:
        """The body as JSON; an empty one is an empty object. Refuses what is no JSON as ARM does."""
        if not self.body.strip():
            return {}
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise ArmError(400, "InvalidRequestContent", f"The request content was invalid: {error}") from None


@dataclass
class Response:
    """What a handler answers: a body (bytes, or anything JSON), a status, headers.

    A ``stream`` is sent in chunks as it is made.
    """

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    stream: Iterator[bytes] | None = None

    def content(self) -> bytes:
        """The body as bytes; sets the content type where the handler has not."""
        if isinstance(self.body, bytes):
            return self.body
        self.headers.setdefault("Content-Type", "application/json; charset=utf-8")
        return json.dumps(self.body).encode()


class ServiceError(Exception):
    """An answer that says no; a handler raises it from anywhere."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message, self.headers = status, code, message, dict(headers or {})

    def response(self) -> Response:
        """The answer this error makes."""
        return Response({"error": {"code": self.code, "message": self.message}}, self.status, self.headers)


class ArmError(ServiceError):
    """An error in ARM's form: ``{"error": {"code", "message", "details", "additionalInfo"}}``."""

    details: list[dict[str, str]] = []  # noqa: RUF012 (never changed in place)

    def response(self) -> Response:
        """The answer this error makes."""
        error = {"code": self.code, "message": self.message, "details": self.details, "additionalInfo": []}
        return Response({"error": error}, self.status, {"x-ms-failure-cause": "service", **self.headers})


class BlobError(ServiceError):
    """An error in the form of Blob storage: XML, and the code in ``x-ms-error-code``."""

    def response(self) -> Response:
        """The answer this error makes."""
        said = f"<Error><Code>{self.code}</Code><Message>{self.message}</Message></Error>"
        text = f'<?xml version="1.0" encoding="utf-8"?>{said}'
        headers = {"Content-Type": "application/xml", "x-ms-error-code": self.code, **self.headers}
        return Response(text.encode(), self.status, headers)


def invalid(what: str, problems: list[str]) -> ArmError:
    """400 for a body with so many problems, each in the details."""
    error = ArmError(400, "ValidationError", f"{what} is not valid: {'; '.join(problems)}")
    error.details = [{"code": "ValidationError", "message": one} for one in problems]
    return error


def not_found(kind: str, name: str) -> ArmError:
    """404 for a resource that a workspace does not hold."""
    return ArmError(404, "NotFound", f"Not found: {kind} '{name}' could not be found in this workspace.")
