"""Azure as the caller meets it: who they are, the clock, the workspace, what they may do, storage, connections."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from typing import Any

from azdistill.cloud.doctor.finding import FAIL, OK, WARN, Finding
from azdistill.cloud.jobs.storage import Container
from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.cloud.workspace.rest import ask_anonymously

#: Tokens and signatures hold for some minutes around the time that they say.
_SKEW_WARNS, _SKEW_FAILS = 60.0, 300.0
_PERMISSIONS_VERSION = "2022-04-01"
_ML = "Microsoft.MachineLearningServices/workspaces"
#: What needs which permission, and whether nothing works without.
_ACTIONS = (
    ("submit", True, ("jobs/write", *(f"{kind}/versions/write" for kind in ("components", "codes", "environments")))),
    ("follow", True, ("jobs/read", "read")),
    ("upload with a key", False, ("datastores/listsecrets/action",)),
    ("publish", False, ("data/versions/write", "models/versions/write")),
    ("schedule", False, ("schedules/write",)),
    ("endpoint up", False, ("onlineEndpoints/write", "onlineEndpoints/deployments/write", "connections/write")),
)
_DATA_SCIENTIST = "the role AzureML Data Scientist (on the workspace) permits it"


def credentials(connection: Connection) -> Iterator[Finding]:
    """Whether a token can be had, whose it is, and of which tenant."""
    with explain("asking for a token"):
        token = connection.credential.get_token(connection.cloud.scope)
    claims = _claims(token.token)
    who = claims.get("upn") or claims.get("unique_name") or claims.get("appid") or claims.get("oid") or "somebody"
    minutes = (token.expires_on - datetime.now(UTC).timestamp()) / 60
    tenant = claims.get("tid", "unknown")
    yield Finding("credentials", OK, f"{who} of tenant {tenant}; the token holds for {minutes:.0f} minutes")


def clock(connection: Connection) -> Iterator[Finding]:
    """This machine's clock against Azure's: tokens and signatures of a wrong one are refused."""
    date = _date(connection)
    if date is None:
        yield Finding("clock", WARN, "Azure did not say what time it is", exit_code=3)
        return
    skew = datetime.now(UTC).timestamp() - parsedate_to_datetime(date).timestamp()
    offset = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} Azure's"
    todo = "set this machine's clock: tokens and signatures are refused beyond a few minutes"
    level = OK if abs(skew) < _SKEW_WARNS else WARN if abs(skew) < _SKEW_FAILS else FAIL
    yield Finding("clock", level, offset, "" if level == OK else todo, 3)


def workspace(connection: Connection) -> Iterator[Finding]:
    """Whether the workspace is there, and where it builds images."""
    properties = connection.workspace.get("properties") or {}
    yield Finding("workspace", OK, f"{connection.workspace_name} in {connection.workspace.get('location')}")
    tenant = properties.get("tenantId")
    mine = _claims(connection.credential.get_token(connection.cloud.scope).token).get("tid")
    if tenant and mine and tenant != mine:
        yield Finding("tenant", FAIL, f"the workspace is of tenant {tenant}, the token of {mine}", f"--tenant {tenant}")
    yield images(properties)


def images(properties: dict[str, Any]) -> Finding:
    """Where images of environments are built."""
    if not properties.get("containerRegistry"):
        return Finding("images", OK, "the workspace makes its container registry when the first image is built")
    where = properties.get("imageBuildCompute") or "ACR tasks"
    if properties.get("publicNetworkAccess") == "Disabled" and not properties.get("imageBuildCompute"):
        todo = "set image_build_compute in azdistill.yml: ACR tasks do not reach a private registry"
        return Finding("images", WARN, "the workspace is private, and no compute builds its images", todo)
    return Finding("images", OK, f"built by {where}")


def permissions(connection: Connection) -> Iterator[Finding]:
    """What the caller may do, by what each verb needs."""
    path = f"{connection.workspace_id}/providers/Microsoft.Authorization/permissions"
    with explain("asking what you may do"):
        granted = connection.rest.listed(path, api_version=_PERMISSIONS_VERSION)
    for verb, needed, actions in _ACTIONS:
        names = [f"{_ML}/{action}" for action in actions]
        missing = [name.removeprefix("Microsoft.MachineLearningServices/") for name in names if not may(granted, name)]
        if missing:
            level = FAIL if needed else WARN
            yield Finding("roles", level, f"{verb}: {', '.join(missing)} is not permitted", _DATA_SCIENTIST)
    if all(may(granted, f"{_ML}/{action}") for _, needed, actions in _ACTIONS if needed for action in actions):
        yield Finding("roles", OK, "submitting and following are permitted")


def may(granted: list[dict[str, Any]], action: str) -> bool:
    """Whether one of the grants has ``action`` and does not take it back; ``*`` stands for anything."""

    def fits(patterns: list[str] | None) -> bool:
        return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns or ())

    return any(fits(grant.get("actions")) and not fits(grant.get("notActions")) for grant in granted)


def storage(connection: Connection) -> Iterator[Finding]:
    """Whether the default datastore's blobs can be listed, with the key it gives or by the caller's own role."""
    base = f"{connection.workspace_id}/datastores"
    with explain("looking up the default datastore"):
        stores = connection.rest.listed(base, params={"isDefault": "true"})
    if not stores:
        yield Finding("storage", FAIL, "the workspace has no default datastore", "set one in Azure ML studio, Data")
        return
    name, properties = str(stores[0]["name"]), stores[0]["properties"]
    by_key = (properties.get("credentials") or {}).get("credentialsType") != "None"
    with explain(f"listing blobs of the datastore {name}"):
        # A path that nobody has: the answer is empty, but it is an answer.
        Container(connection, name).blobs("azdistill-doctor/none")
    how = "with the workspace's key" if by_key else "by your own role"
    yield Finding("storage", OK, f"{name} ({properties.get('accountName')}) can be listed {how}")


def connections(connection: Connection) -> Iterator[Finding]:
    """The connections by which jobs get keys."""
    with explain("listing connections"):
        connections = connection.rest.listed(f"{connection.workspace_id}/connections")
    names = ", ".join(str(each["name"]) for each in connections) or "none; a teacher's key for jobs belongs into one"
    yield Finding("connections", OK, names)


def _claims(token: str) -> dict[str, Any]:
    """What a token says of whom it was given to; nothing where it is opaque."""
    try:
        middle = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (IndexError, ValueError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _date(connection: Connection) -> str | None:
    """The Date of an answer of Resource Manager, which it gives to strangers too."""
    with explain("asking Azure for the time"):
        date: str | None = ask_anonymously(connection.cloud.resource_manager, retries=1).headers.get("Date")
    return date
