"""Making an endpoint. Every step looks first at what is there: a second call goes on where a first was ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from azdistill.cloud.endpoints import names, serving
from azdistill.cloud.endpoints.names import DEPLOYMENT, EXPIRES, SPEC
from azdistill.cloud.endpoints.plan import EndpointPlan
from azdistill.cloud.endpoints.resources import Resources, Say, state
from azdistill.cloud.endpoints.serving import Asset
from azdistill.cloud.workspace.connect import Connection
from azdistill.errors import AzdistillError, ServiceError, UserError

#: Whom tokens for an endpoint are asked of, where it takes them instead of a key.
ENTRA = "${entra:https://ml.azure.com/.default}"
#: Who brings the server: ours, or the model itself.
OURS, OWN = "vllm", "model"


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be made. ``plan`` is None for a serverless endpoint; ``environment`` is ``vllm`` (our image),
    ``model`` (what the model brings) or a reference to an environment; ``identity``: tokens instead of a key.
    """

    name: str
    teacher: str
    served_as: str
    model: str
    expires: str
    plan: EndpointPlan | None = None
    environment: str | None = None
    identity: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """An endpoint that answers. ``key`` is a reference as recipes write it, never the key."""

    name: str
    address: str
    key: str
    served_as: str
    expires: str

    def section(self) -> str:
        """What goes into a recipe."""
        return (
            f"teacher:\n  model: {self.served_as}\n  endpoint: {self.address}\n  key: {self.key}\n"
            f"  # expires {self.expires}; azdistill endpoint down {self.name} removes it before\n"
        )


def up(connection: Connection, order: Order, say: Say) -> Ready:
    """Make what the order says and wait until it answers; what is there already is kept.

    Asset lookups come first, so that a wrong name makes nothing. UserError AZD475 where something of the name is not
    ours; ServiceError AZD476 where the service cannot make it.
    """
    resources = Resources(connection, say)
    model = serving.find_asset(order.model, "models", connection)
    if order.plan is None:
        return _serverless(connection, resources, order, model)
    environment = _environment(connection, order, model, say)
    _foreign(resources, order)
    endpoint = _endpoint(connection, resources, order)
    _deployment(connection, resources, order, order.plan, model.id_in(connection), environment)
    endpoint = _traffic(connection, resources, order, endpoint)
    address = _address(str(endpoint["properties"]["scoringUri"]))
    return _ready(resources, order, resources.online(order.name), address)


def deployed(connection: Connection, endpoint: str) -> bool:
    """Whether the endpoint has our deployment already, in whatever state."""
    resources = Resources(connection, lambda _: None)
    return names.is_ours(resources.get(resources.deployment(endpoint, DEPLOYMENT)))


def _environment(connection: Connection, order: Order, model: Asset, say: Say) -> str | None:
    # A registry's models bring their server; the workspace's are folders of weights.
    wanted = order.environment or (OWN if model.registry else OURS)
    if wanted == OWN:
        return None
    if wanted == OURS:
        say("the server: vLLM, in the environment azdistill-serve")
        return serving.serving_environment(connection)
    return serving.find_asset(wanted, "environments", connection).id_in(connection)


def _foreign(resources: Resources, order: Order) -> None:
    """Refuse to touch an endpoint or connection of the name that is not ours."""
    online, link = resources.online(order.name), resources.link(names.connection_name(order.name))
    serverless = resources.serverless(order.name)
    for path in (serverless if order.plan is None else online, link):
        found = resources.get(path)
        if found is not None and not names.is_ours(found):
            kind = path.split("/")[-2]
            raise UserError(
                f"{kind}/{found['name']} exists and was not made by azdistill endpoint up (it lacks the tag "
                f"{names.OWNER})",
                code="AZD475",
                hint="give another name: --name",
            )


def _endpoint(connection: Connection, resources: Resources, order: Order) -> dict[str, Any]:
    path = resources.online(order.name)
    found = resources.settled(path)
    traffic = (found or {}).get("properties", {}).get("traffic") or {}
    mode = "AADToken" if order.identity else "Key"
    same = found is not None and found["properties"].get("authMode") == mode
    if found is None or not same or state(found) != "Succeeded" or names.tags(found).get(EXPIRES) != order.expires:
        resources.say(f"endpoint {order.name}: {'changing' if found else 'making'} it, it expires {order.expires}")
        tags = names.tags_of(order.name, order.teacher, order.expires)
        resources.put(path, serving.endpoint_body(_location(connection), mode, tags, traffic))
        found = resources.settled(path)
    return _made(found, f"the endpoint {order.name}")


def _deployment(
    connection: Connection,
    resources: Resources,
    order: Order,
    plan: EndpointPlan,
    model_id: str,
    environment_id: str | None,
) -> None:
    path = resources.deployment(order.name, DEPLOYMENT)
    # The expiry stands on the endpoint: keeping it longer must not deploy anew.
    tags = names.tags_of(order.name, order.teacher, "with its endpoint")
    body = serving.deployment_body(_location(connection), plan, model_id, environment_id, tags)
    found = resources.settled(path)
    if found is not None and not names.is_ours(found):
        raise UserError(f"the deployment {DEPLOYMENT} of {order.name} is not ours", code="AZD475", hint="give --name")
    if found is not None and state(found) == "Succeeded" and names.tags(found).get(SPEC) == body["tags"][SPEC]:
        resources.say(f"deployment {DEPLOYMENT}: it is there")
        return
    if found is not None and state(found) != "Succeeded":
        resources.say(f"deployment {DEPLOYMENT}: removing one that failed")
        resources.delete(path)
    machines = f"{plan.instances} x {plan.fit.sku.name}"
    resources.say(f"deployment {DEPLOYMENT}: {machines}; loading a large model takes half an hour and more")
    resources.put(path, body)
    try:
        _made(resources.settled(path), f"the deployment {DEPLOYMENT} on {machines}")
    except ServiceError as error:
        raise _with_log(resources, order.name, error) from error


def _traffic(connection: Connection, resources: Resources, order: Order, endpoint: dict[str, Any]) -> dict[str, Any]:
    if (endpoint["properties"].get("traffic") or {}).get(DEPLOYMENT) == 100:
        return endpoint
    resources.say(f"endpoint {order.name}: all requests go to {DEPLOYMENT}")
    path = resources.online(order.name)
    mode = str(endpoint["properties"]["authMode"])
    resources.put(path, serving.endpoint_body(_location(connection), mode, names.tags(endpoint), {DEPLOYMENT: 100}))
    return _made(resources.settled(path), f"the traffic of {order.name}")


def _serverless(connection: Connection, resources: Resources, order: Order, model: Asset) -> Ready:
    path = resources.serverless(order.name)
    tags = names.tags_of(order.name, order.teacher, order.expires)
    body = serving.serverless_body(_location(connection), model, tags)
    _foreign(resources, order)
    found = resources.settled(path)
    if found is None or state(found) != "Succeeded" or names.tags(found).get(EXPIRES) != order.expires:
        resources.say(f"serverless endpoint {order.name}: {'changing' if found else 'making'} it")
        resources.put(path, body)
        found = resources.settled(path)
    endpoint = _made(found, f"the serverless endpoint {order.name}")
    address = _address(str(endpoint["properties"]["inferenceEndpoint"]["uri"]))
    return _ready(resources, order, path, address)


def _ready(resources: Resources, order: Order, path: str, address: str) -> Ready:
    """The last thing made is the connection, so what has one is whole."""
    if order.identity:
        return Ready(order.name, address, ENTRA, order.served_as, order.expires)
    name = names.connection_name(order.name)
    tags = names.tags_of(order.name, order.teacher, order.expires)
    resources.put(resources.link(name), serving.connection_body(address, resources.key(path), tags))
    resources.say(f"connection {name}: it holds the key, jobs get it from there")
    return Ready(order.name, address, f"${{connection:{name}}}", order.served_as, order.expires)


def _address(uri: str) -> str:
    """Where requests in OpenAI's form go: the host of the scoring address, and ``/v1``."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}/v1"


def _made(found: dict[str, Any] | None, what: str) -> dict[str, Any]:
    if found is None:
        raise ServiceError(f"{what} was removed while it was made", code="AZD476", hint="ask for it again")
    if state(found) != "Succeeded":
        raise ServiceError(
            f"{what} could not be made: {state(found).lower()}",
            code="AZD476",
            hint="the endpoint's page in Azure ML studio says why; azdistill endpoint down removes what there is",
        )
    return found


def _with_log(resources: Resources, endpoint: str, error: ServiceError) -> ServiceError:
    try:
        lines = resources.logs(endpoint, DEPLOYMENT)
    except AzdistillError:
        # Without a container there is no log; the first error is the one to tell.
        lines = []
    said = "".join(f"\n    {line}" for line in lines)
    return ServiceError(f"{error.message}{said}", code=error.code, hint=error.hint)


def _location(connection: Connection) -> str:
    return str(connection.workspace["location"])
