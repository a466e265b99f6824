"""Checks every body that is sent to ARM, and keeps what does not fit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft4Validator, ValidationError
from jsonschema.exceptions import best_match

from .messages import ArmError, Request
from .schemas import PROVIDER, Schemas

TEXT = {"type": "string"}
UPLOAD = {
    "type": "object",
    "properties": {"pendingUploadType": {"enum": ["None", "TemporaryBlobReference"]}, "pendingUploadId": TEXT},
    "additionalProperties": False,
}
ACTIONS = {
    "startPendingUpload": UPLOAD,
    "listSecrets": {
        "type": "object",
        "properties": {"expirableSecret": {"type": "boolean"}, "expireAfterHours": {"type": "integer", "minimum": 1}},
        "additionalProperties": False,
    },
    "trigger": {"type": "object", "properties": {"scheduleTime": TEXT}, "additionalProperties": False},
    "regenerateKeys": {
        "type": "object",
        "properties": {"keyType": {"enum": ["Primary", "Secondary"]}, "keyValue": {"type": ["string", "null"]}},
        "required": ["keyType"],
    },
    "getLogs": {"type": "object", "properties": {"containerType": {}, "tail": {"type": ["integer", "null"]}}},
    "tempdatarefs": {
        "type": "object",
        "properties": {"assetId": TEXT, "temporaryDataReferenceType": {"enum": ["TemporaryBlobReference"]}},
        "required": ["assetId", "temporaryDataReferenceType"],
    },
}
"""Bodies of actions, which the schemas do not know, by the last literal segment of the route."""

KNOWN = ((r"codes/.*", r"properties\.properties\.hash_version"),)
"""What azure-ai-ml is known to send against the schemas, as patterns of route and place: an integer for a string."""


@dataclass(frozen=True)
class Violation:
    """A place in a body that does not fit the schema of ``version``; ``where`` is the path to it."""

    route: str
    version: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.route} ({self.version}) at {self.where or 'the top'}: {self.message}"


class Checker:
    """Counts and checks bodies; see ``Workspace.checked`` and its neighbours.

    ``fallbacks`` holds (resource, api-version asked for, api-version used) where these differ.
    """

    def __init__(self, schemas: Schemas | None) -> None:
        self._schemas = schemas
        self.checked = self.sent = 0
        self.violations: list[Violation] = []
        self.known: list[Violation] = []
        self.fallbacks: set[tuple[str, str, str]] = set()

    def body(self, request: Request) -> None:
        """Check the body of a request to ARM, if it has one."""
        if request.method not in ("PUT", "PATCH", "POST") or not request.body.strip() or not _is_arm(request.route):
            return
        self.sent += 1
        if self._schemas is None:
            return
        try:
            body = request.json()
        except ArmError as error:
            self.checked += 1
            self._keep(Violation(request.route, request.query.get("api-version", ""), "", error.message))
            return
        self._check(request, body, self._schemas)

    def unserved(self, request: Request) -> None:
        """Count a body sent to ARM that no route takes: it was sent, and not checked."""
        if request.method in ("PUT", "PATCH", "POST") and request.path.startswith(("/subscriptions/", "/mferp/")):
            self.sent += 1

    def _check(self, request: Request, body: Any, schemas: Schemas) -> None:
        asked = request.query.get("api-version", "")
        segments = _literals(request.route)
        action = ACTIONS.get("tempdatarefs" if "tempdatarefs" in segments else segments[-1])
        if action is not None:
            self._against(request, Draft4Validator(action), body, asked)
            return
        definition = "_".join(segments)
        found = schemas.validator(definition, asked)
        if found is None:
            return
        validator, used = found
        if used != asked:
            self.fallbacks.add((definition, asked, used))
        self._against(request, validator, _as_template(request, body, segments, used), used)

    def _against(self, request: Request, validator: Draft4Validator, instance: Any, version: str) -> None:
        self.checked += 1
        for error in validator.iter_errors(instance):
            for deepest in _deepest(error):
                if request.method == "PATCH" and deepest.validator == "required":
                    continue
                where = ".".join(str(one) for one in deepest.absolute_path)
                self._keep(Violation(request.route, version, where, deepest.message[:500]))

    def _keep(self, violation: Violation) -> None:
        place = (violation.route.partition("}/")[2], violation.where)
        known = any(re.match(route, place[0]) and re.fullmatch(where, place[1]) for route, where in KNOWN)
        (self.known if known else self.violations).append(violation)


def _deepest(error: ValidationError) -> Iterator[ValidationError]:
    """The errors behind one: of an ``oneOf``, those of the alternative that fits best."""
    if not error.context:
        yield error
        return
    branches: dict[Any, list[ValidationError]] = {}
    for one in error.context:
        branches.setdefault(one.schema_path[0], []).append(one)
    # The branch that is meant fits the discriminator (jobType, ...), an enum; the others do not.
    meant = [found for found in branches.values() if not any(_of_kind(one) for one in found)]
    if len(meant) == 1:
        for one in meant[0]:
            yield from _deepest(one)
        return
    best = best_match([error])
    yield best or error


def _of_kind(error: ValidationError) -> bool:
    names = [error, *(error.context or ())]
    return any(one.validator == "enum" and len(one.validator_value) == 1 for one in names)


def _is_arm(route: str) -> bool:
    template = route.partition(" ")[2]
    return template.startswith(("{ws}/", "{registry}", "{sub}", "/mferp/"))


def _literals(route: str) -> list[str]:
    """``PUT {ws}/jobs/{name}`` as the schemas have it: ``workspaces``, ``jobs``."""
    template = route.partition(" ")[2].replace("/mferp/managementfrontend", "")
    template = template.replace("{ws}", "workspaces").replace("{registry}", "registries")
    return [one for one in template.split("/") if one and not one.startswith("{")]


def _as_template(request: Request, body: Any, segments: list[str], version: str) -> Any:
    if not isinstance(body, dict):
        return body
    name = next(reversed(request.params.values()))
    return {**body, "name": name, "type": f"{PROVIDER}/{'/'.join(segments)}", "apiVersion": version}
