"""Lists the endpoints that azdistill made, incomplete ones too, and removes them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from azdistill.cloud.endpoints import names
from azdistill.cloud.endpoints.expiry import moment_of
from azdistill.cloud.endpoints.resources import Resources, Say, state
from azdistill.cloud.workspace.connect import Connection
from azdistill.errors import AzdistillError, ServiceError, UserError, did_you_mean
from azdistill.sizing import skus

#: What an endpoint is made with; an update that leaves one of them out may reset it.
_SETTABLE = ("authMode", "description", "publicNetworkAccess", "compute", "mirrorTraffic", "properties")


@dataclass(frozen=True)
class Deployment:
    """One deployment; ``ours`` tells whether we made it."""

    name: str
    state: str
    instance_type: str
    instances: int
    ours: bool

    @property
    def price(self) -> float | None:
        """USD an hour by our list; None: unknown."""
        sku = skus.find(self.instance_type)
        return None if sku is None or sku.price is None else sku.price * self.instances


@dataclass(frozen=True)
class Kept:
    """What there is under one name. ``kind`` is online, serverless, or connection where only that is left."""

    name: str
    kind: str
    state: str
    teacher: str
    expires: str | None
    deployments: tuple[Deployment, ...] = ()
    connection: str | None = None
    missing: tuple[str, ...] = field(default=())

    def expired(self, now: datetime) -> bool:
        """Whether its time is over; what carries no readable time never expires."""
        moment = moment_of(self.expires)
        return moment is not None and moment <= now

    @property
    def price(self) -> float | None:
        """USD an hour of all its deployments; None where one is unknown, or it is paid by the token."""
        prices = [deployment.price for deployment in self.deployments]
        return None if self.kind == "serverless" or None in prices else sum(p for p in prices if p is not None)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "state": self.state,
            "teacher": self.teacher,
            "expires": self.expires,
            "deployments": [vars(deployment) for deployment in self.deployments],
            "connection": self.connection,
            "missing": list(self.missing),
            "price_per_hour": self.price,
        }


def kept(connection: Connection) -> list[Kept]:
    """Everything of ours in the workspace, by name; half-made things too."""
    resources = Resources(connection, lambda _: None)
    links = {
        names.tags(link)[names.OWNER]: str(link["name"])
        for link in resources.listed("connections")
        if names.is_ours(link)
    }
    found = [_online(resources, one, links) for one in resources.listed("onlineEndpoints") if names.is_ours(one)]
    found += [_serverless(one, links) for one in resources.listed("serverlessEndpoints") if names.is_ours(one)]
    owners = {one.name for one in found}
    for owner, link in links.items():
        if owner not in owners:
            found.append(_orphan(resources, owner, link))
    return sorted(found, key=lambda one: one.name)


def down(connection: Connection, name: str, say: Say) -> Kept:
    """Remove what was made under ``name``: the connection, the deployment, then the endpoint.

    UserError AZD477 where there is nothing of ours of the name. What somebody else deployed to the endpoint stays, and
    with it the endpoint: UserError AZD475, after the rest is removed. ServiceError AZD476, which says what is left,
    where the service does not remove something.
    """
    every = kept(connection)
    one = next((entry for entry in every if entry.name == name), None)
    if one is None:
        known = [entry.name for entry in every]
        hint = did_you_mean(name, known) if known else "there are none"
        raise UserError(f"there is no endpoint of ours called '{name}'", code="AZD477", hint=hint)
    try:
        _remove(Resources(connection, say), one)
    except ServiceError as error:
        if error.code != "AZD476":
            raise
        message = f"{error.message}; left: {_left(connection, one)}"
        hint = f"Azure ML studio shows why; azdistill endpoint down {name} goes on"
        raise ServiceError(message, code="AZD476", hint=hint) from error
    return one


def _left(connection: Connection, one: Kept) -> str:
    """What is there of it now, in words; what was there before where nobody answers."""
    with contextlib.suppress(AzdistillError):
        one = next((entry for entry in kept(connection) if entry.name == one.name), one)
    parts = [f"the connection {one.connection}"] if one.connection else []
    parts += [f"the deployment {deployment.name} ({deployment.state})" for deployment in one.deployments]
    parts += [f"the endpoint {one.name} ({one.state})"] if one.kind != "connection" else []
    return ", ".join(parts)


def _remove(resources: Resources, one: Kept) -> None:
    say = resources.say
    if one.connection:
        say(f"removing the connection {one.connection}")
        resources.delete(resources.link(one.connection))
    if one.kind == "online":
        _remove_online(resources, one)
    elif one.kind == "serverless":
        say(f"removing the serverless endpoint {one.name}")
        resources.delete(resources.serverless(one.name))


def _remove_online(resources: Resources, one: Kept) -> None:
    path = resources.online(one.name)
    endpoint = resources.settled(path)
    if endpoint is None:
        return
    if (endpoint["properties"].get("traffic") or {}).get(names.DEPLOYMENT):
        # The service lets no deployment go that gets requests.
        resources.put(path, _without_traffic(endpoint))
        resources.settled(path)
    for deployment in (entry for entry in one.deployments if entry.ours):
        resources.say(f"removing the deployment {deployment.name}")
        resources.settled(resources.deployment(one.name, deployment.name))
        resources.delete(resources.deployment(one.name, deployment.name))
    others = [entry.name for entry in one.deployments if not entry.ours]
    if others:
        raise UserError(
            f"the endpoint {one.name} stays: {', '.join(others)} was deployed to it by somebody else",
            code="AZD475",
            hint="remove it in Azure ML studio, then call down again",
        )
    resources.say(f"removing the endpoint {one.name}")
    resources.delete(path)


def _without_traffic(endpoint: dict[str, Any]) -> dict[str, Any]:
    properties = endpoint["properties"]
    traffic = {name: share for name, share in properties["traffic"].items() if name != names.DEPLOYMENT}
    return {
        "location": endpoint["location"],
        "tags": endpoint.get("tags") or {},
        "identity": _identity(endpoint),
        **({"kind": endpoint["kind"]} if endpoint.get("kind") else {}),
        "properties": {
            **{key: properties[key] for key in _SETTABLE if properties.get(key) is not None},
            "traffic": shared_out(traffic),
        },
    }


def _identity(endpoint: dict[str, Any]) -> dict[str, Any]:
    identity = endpoint.get("identity") or {"type": "SystemAssigned"}
    users = identity.get("userAssignedIdentities") or {}
    return {"type": identity["type"], **({"userAssignedIdentities": {key: {} for key in users}} if users else {})}


def shared_out(traffic: Mapping[str, int]) -> dict[str, int]:
    """Per cent of the requests for each deployment, in the proportions of ``traffic``: they add up to all or nothing.

    What rounding leaves over goes to those that it took most from (the method of largest remainders).
    """
    total = sum(traffic.values())
    if not total:
        return {}
    shares = {name: share * 100 // total for name, share in traffic.items()}
    most = sorted(traffic, key=lambda name: -(traffic[name] * 100 % total))
    for name in most[: 100 - sum(shares.values())]:
        shares[name] += 1
    return shares


def _online(resources: Resources, endpoint: dict[str, Any], links: dict[str, str]) -> Kept:
    name, tags = str(endpoint["name"]), names.tags(endpoint)
    deployments = tuple(map(_described, resources.deployments(name)))
    missing = []
    if not any(one.ours and one.state == "Succeeded" for one in deployments):
        missing.append("deployment")
    elif not (endpoint["properties"].get("traffic") or {}).get(names.DEPLOYMENT):
        missing.append("traffic")
    if name not in links and endpoint["properties"].get("authMode") == "Key":
        missing.append("connection")
    return Kept(
        name,
        "online",
        state(endpoint),
        tags.get(names.TEACHER, "?"),
        tags.get(names.EXPIRES),
        deployments,
        links.get(name),
        tuple(missing),
    )


def _described(deployment: dict[str, Any]) -> Deployment:
    properties = deployment["properties"]
    count = int((deployment.get("sku") or {}).get("capacity") or 1)
    size = str(properties.get("instanceType") or "?")
    return Deployment(str(deployment["name"]), state(deployment), size, count, names.is_ours(deployment))


def _serverless(endpoint: dict[str, Any], links: dict[str, str]) -> Kept:
    name, tags = str(endpoint["name"]), names.tags(endpoint)
    missing = () if name in links else ("connection",)
    return Kept(
        name,
        "serverless",
        state(endpoint),
        tags.get(names.TEACHER, "?"),
        tags.get(names.EXPIRES),
        connection=links.get(name),
        missing=missing,
    )


def _orphan(resources: Resources, owner: str, link: str) -> Kept:
    tags = names.tags(resources.get(resources.link(link)))
    return Kept(
        owner,
        "connection",
        "Succeeded",
        tags.get(names.TEACHER, "?"),
        tags.get(names.EXPIRES),
        connection=link,
        missing=("endpoint",),
    )
