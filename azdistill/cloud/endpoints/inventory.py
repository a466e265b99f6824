"""Lists the endpoints that azdistill made, incomplete ones too, and removes them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from azdistill.cloud.endpoints import ownership
from azdistill.cloud.endpoints.resources import Resources, Say, state
from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.rest import parsed_time
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
class Endpoint:
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
        moment = parsed_time(self.expires)
        return moment is not None and moment <= now

    @property
    def price(self) -> float | None:
        """USD an hour of all its deployments; None where one is unknown, or it is paid by the token."""
        prices = [deployment.price for deployment in self.deployments]
        return None if self.kind == "serverless" or None in prices else sum(p for p in prices if p is not None)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "price_per_hour": self.price}


def list_endpoints(connection: Connection) -> list[Endpoint]:
    """Everything of ours in the workspace, by name; incomplete endpoints too."""
    resources = Resources(connection, lambda _: None)
    connections, online, serverless = (
        [resource for resource in resources.listed(kind) if ownership.is_ours(resource)]
        for kind in ("connections", "onlineEndpoints", "serverlessEndpoints")
    )
    links = {ownership.tags(link)[ownership.OWNER]: str(link["name"]) for link in connections}
    endpoints = [_online(resources, resource, links) for resource in online]
    endpoints += [_serverless(resource, links) for resource in serverless]
    orphans = links.keys() - {endpoint.name for endpoint in endpoints}
    endpoints += [_orphan(resources, owner, links[owner]) for owner in orphans]
    return sorted(endpoints, key=lambda endpoint: endpoint.name)


def down(connection: Connection, name: str, say: Say) -> Endpoint:
    """Remove what was made under ``name``: the connection, the deployment, then the endpoint.

    UserError AZD477 where there is nothing of ours of the name. What somebody else deployed to the endpoint stays, and
    with it the endpoint: UserError AZD475, after the rest is removed. ServiceError AZD476, which says what is left,
    where the service does not remove something.
    """
    endpoints = {endpoint.name: endpoint for endpoint in list_endpoints(connection)}
    if name not in endpoints:
        hint = did_you_mean(name, list(endpoints)) if endpoints else "there are none"
        raise UserError(f"there is no endpoint of ours called '{name}'", code="AZD477", hint=hint)
    endpoint = endpoints[name]
    try:
        _remove(Resources(connection, say), endpoint)
    except ServiceError as error:
        if error.code != "AZD476":
            raise
        message = f"{error.message}; left: {_remains(connection, endpoint)}"
        hint = f"Azure ML studio shows why; azdistill endpoint down {name} goes on"
        raise ServiceError(message, code="AZD476", hint=hint) from error
    return endpoint


def _remains(connection: Connection, endpoint: Endpoint) -> str:
    """What is there of it now, in words; what was there before where nobody answers."""
    with contextlib.suppress(AzdistillError):
        endpoint = next((each for each in list_endpoints(connection) if each.name == endpoint.name), endpoint)
    parts = [f"the connection {endpoint.connection}"] if endpoint.connection else []
    parts += [f"the deployment {deployment.name} ({deployment.state})" for deployment in endpoint.deployments]
    parts += [f"the endpoint {endpoint.name} ({endpoint.state})"] if endpoint.kind != "connection" else []
    return ", ".join(parts)


def _remove(resources: Resources, endpoint: Endpoint) -> None:
    if endpoint.connection:
        resources.say(f"removing the connection {endpoint.connection}")
        resources.delete(resources.path("connections", endpoint.connection))
    if endpoint.kind == "online":
        _remove_online(resources, endpoint)
    elif endpoint.kind == "serverless":
        resources.say(f"removing the serverless endpoint {endpoint.name}")
        resources.delete(resources.path("serverlessEndpoints", endpoint.name))


def _remove_online(resources: Resources, endpoint: Endpoint) -> None:
    path = resources.path("onlineEndpoints", endpoint.name)
    body = resources.settled(path)
    if body is None:
        return
    if (body["properties"].get("traffic") or {}).get(ownership.DEPLOYMENT):
        # The service lets no deployment go that gets requests.
        resources.put(path, _without_traffic(body))
        resources.settled(path)
    for deployment in (each for each in endpoint.deployments if each.ours):
        resources.say(f"removing the deployment {deployment.name}")
        resources.settled(resources.deployment(endpoint.name, deployment.name))
        resources.delete(resources.deployment(endpoint.name, deployment.name))
    foreign = [deployment.name for deployment in endpoint.deployments if not deployment.ours]
    if foreign:
        raise UserError(
            f"the endpoint {endpoint.name} stays: {', '.join(foreign)} was deployed to it by somebody else",
            code="AZD475",
            hint="remove it in Azure ML studio, then call down again",
        )
    resources.say(f"removing the endpoint {endpoint.name}")
    resources.delete(path)


def _without_traffic(endpoint: dict[str, Any]) -> dict[str, Any]:
    properties = endpoint["properties"]
    traffic = {name: share for name, share in properties["traffic"].items() if name != ownership.DEPLOYMENT}
    return {
        **{key: endpoint[key] for key in ("location", "tags", "kind") if endpoint.get(key)},
        "identity": _identity(endpoint),
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
    by_remainder = sorted(traffic, key=lambda name: -(traffic[name] * 100 % total))
    for name in by_remainder[: 100 - sum(shares.values())]:
        shares[name] += 1
    return shares


def _online(resources: Resources, body: dict[str, Any], links: dict[str, str]) -> Endpoint:
    name, properties = str(body["name"]), body["properties"]
    deployments = tuple(map(_described, resources.deployments(name)))
    missing = []
    if not any(deployment.ours and deployment.state == "Succeeded" for deployment in deployments):
        missing.append("deployment")
    elif not (properties.get("traffic") or {}).get(ownership.DEPLOYMENT):
        missing.append("traffic")
    if name not in links and properties.get("authMode") == "Key":
        missing.append("connection")
    return Endpoint(name, "online", state(body), *_tagged(body), deployments, links.get(name), tuple(missing))


def _described(body: dict[str, Any]) -> Deployment:
    count = int((body.get("sku") or {}).get("capacity") or 1)
    size = str(body["properties"].get("instanceType") or "?")
    return Deployment(str(body["name"]), state(body), size, count, ownership.is_ours(body))


def _serverless(body: dict[str, Any], links: dict[str, str]) -> Endpoint:
    name = str(body["name"])
    missing = () if name in links else ("connection",)
    return Endpoint(name, "serverless", state(body), *_tagged(body), (), links.get(name), missing)


def _orphan(resources: Resources, owner: str, link: str) -> Endpoint:
    teacher, expires = _tagged(resources.get(resources.path("connections", link)))
    return Endpoint(owner, "connection", "Succeeded", teacher, expires, (), link, ("endpoint",))


def _tagged(body: dict[str, Any] | None) -> tuple[str, str | None]:
    """The teacher that a resource serves and when it expires, as its tags say."""
    tags = ownership.tags(body)
    return tags.get(ownership.TEACHER, "?"), tags.get(ownership.EXPIRES)
