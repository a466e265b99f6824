"""Making an endpoint. Every step looks first at what is there: a second call goes on where a first was ended."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from azdistill.cloud.endpoints import ownership, serving
from azdistill.cloud.endpoints.ownership import DEPLOYMENT, EXPIRES, SPEC
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
        return _serverless(resources, order, model)
    environment = _environment(resources, order, model)
    path = resources.path("onlineEndpoints", order.name)
    _refuse_foreign(resources, path, order)
    endpoint = _endpoint(resources, path, order)
    _deployment(resources, order, order.plan, model.id_in(connection), environment)
    endpoint = _traffic(resources, path, order, endpoint)
    return _ready(resources, order, path, str(endpoint["properties"]["scoringUri"]))


def deployed(connection: Connection, endpoint: str) -> bool:
    """Whether the endpoint has our deployment already, in whatever state."""
    resources = Resources(connection, lambda _: None)
    return ownership.is_ours(resources.get(resources.deployment(endpoint, DEPLOYMENT)))


def _environment(resources: Resources, order: Order, model: Asset) -> str | None:
    # A registry's models bring their server; the workspace's are folders of weights.
    environment = order.environment or (OWN if model.registry else OURS)
    if environment == OWN:
        return None
    if environment == OURS:
        resources.say("the server: vLLM, in the environment azdistill-serve")
        return serving.serving_environment(resources.connection)
    return serving.find_asset(environment, "environments", resources.connection).id_in(resources.connection)


def _refuse_foreign(resources: Resources, endpoint: str, order: Order) -> None:
    """Refuse to touch an endpoint or connection of the name that is not ours."""
    for path in (endpoint, resources.path("connections", ownership.connection_name(order.name))):
        resource = resources.get(path)
        if resource is not None and not ownership.is_ours(resource):
            raise UserError(
                f"{path.split('/')[-2]}/{resource['name']} exists and was not made by azdistill endpoint up (it lacks "
                f"the tag {ownership.OWNER})",
                code="AZD475",
                hint="give another name: --name",
            )


def _endpoint(resources: Resources, path: str, order: Order) -> dict[str, Any]:
    endpoint = resources.settled(path)
    properties = (endpoint or {}).get("properties") or {}
    mode = "AADToken" if order.identity else "Key"
    tags = ownership.tags_of(order.name, order.teacher, order.expires)
    body = serving.endpoint_body(resources.connection.location, mode, tags, properties.get("traffic") or {})
    return _changed(resources, path, endpoint, body, f"endpoint {order.name}")


def _changed(
    resources: Resources, path: str, endpoint: dict[str, Any] | None, body: dict[str, Any], what: str
) -> dict[str, Any]:
    """The endpoint, put as ``body`` says unless it is there, whole, with the same expiry and authentication."""
    expires, mode = body["tags"][EXPIRES], body["properties"]["authMode"]
    is_current = state(endpoint) == "Succeeded" and ownership.tags(endpoint).get(EXPIRES) == expires
    # A serverless endpoint need not say its mode, and has no other.
    if endpoint is None or not is_current or endpoint["properties"].get("authMode", mode) != mode:
        resources.say(f"{what}: {'changing' if endpoint else 'making'} it, it expires {expires}")
        resources.put(path, body)
        endpoint = resources.settled(path)
    return _made(endpoint, f"the {what}")


def _deployment(
    resources: Resources, order: Order, plan: EndpointPlan, model_id: str, environment_id: str | None
) -> None:
    path = resources.deployment(order.name, DEPLOYMENT)
    # The expiry stands on the endpoint: keeping it longer must not deploy anew.
    tags = ownership.tags_of(order.name, order.teacher, "with its endpoint")
    body = serving.deployment_body(resources.connection.location, plan, model_id, environment_id, tags)
    deployment = resources.settled(path)
    if deployment is not None and not ownership.is_ours(deployment):
        raise UserError(f"the deployment {DEPLOYMENT} of {order.name} is not ours", code="AZD475", hint="give --name")
    if deployment is not None and state(deployment) != "Succeeded":
        resources.say(f"deployment {DEPLOYMENT}: removing one that failed")
        resources.delete(path)
    elif ownership.tags(deployment).get(SPEC) == body["tags"][SPEC]:
        resources.say(f"deployment {DEPLOYMENT}: it is there")
        return
    machines = f"{plan.instances} x {plan.fit.sku.name}"
    resources.say(f"deployment {DEPLOYMENT}: {machines}; loading a large model takes half an hour and more")
    resources.put(path, body)
    try:
        _made(resources.settled(path), f"the deployment {DEPLOYMENT} on {machines}")
    except ServiceError as error:
        raise _with_log(resources, order.name, error) from error


def _traffic(resources: Resources, path: str, order: Order, endpoint: dict[str, Any]) -> dict[str, Any]:
    if (endpoint["properties"].get("traffic") or {}).get(DEPLOYMENT) == 100:
        return endpoint
    resources.say(f"endpoint {order.name}: all requests go to {DEPLOYMENT}")
    mode = str(endpoint["properties"]["authMode"])
    resources.put(
        path, serving.endpoint_body(resources.connection.location, mode, ownership.tags(endpoint), {DEPLOYMENT: 100})
    )
    return _made(resources.settled(path), f"the traffic of {order.name}")


def _serverless(resources: Resources, order: Order, model: Asset) -> Ready:
    path = resources.path("serverlessEndpoints", order.name)
    tags = ownership.tags_of(order.name, order.teacher, order.expires)
    body = serving.serverless_body(resources.connection.location, model, tags)
    _refuse_foreign(resources, path, order)
    endpoint = _changed(resources, path, resources.settled(path), body, f"serverless endpoint {order.name}")
    return _ready(resources, order, path, str(endpoint["properties"]["inferenceEndpoint"]["uri"]))


def _ready(resources: Resources, order: Order, path: str, uri: str) -> Ready:
    """The last thing made is the connection, so what has one is whole."""
    # Requests in OpenAI's form go to the host of the scoring address.
    address = f"{urlsplit(uri).scheme}://{urlsplit(uri).netloc}/v1"
    if order.identity:
        return Ready(order.name, address, ENTRA, order.served_as, order.expires)
    name = ownership.connection_name(order.name)
    tags = ownership.tags_of(order.name, order.teacher, order.expires)
    resources.put(resources.path("connections", name), serving.connection_body(address, resources.key(path), tags))
    resources.say(f"connection {name}: it holds the key, jobs get it from there")
    return Ready(order.name, address, f"${{connection:{name}}}", order.served_as, order.expires)


def _made(resource: dict[str, Any] | None, what: str) -> dict[str, Any]:
    if resource is None:
        raise ServiceError(f"{what} was removed while it was made", code="AZD476", hint="ask for it again")
    if state(resource) != "Succeeded":
        raise ServiceError(
            f"{what} could not be made: {state(resource).lower()}",
            code="AZD476",
            hint="the endpoint's page in Azure ML studio says why; azdistill endpoint down removes what there is",
        )
    return resource


def _with_log(resources: Resources, endpoint: str, error: ServiceError) -> ServiceError:
    log: list[str] = []
    # Without a container there is no log; the first error is the one to tell.
    with contextlib.suppress(AzdistillError):
        log = resources.logs(endpoint, DEPLOYMENT)
    return ServiceError("\n    ".join([error.message, *log]), code=error.code, hint=error.hint)
