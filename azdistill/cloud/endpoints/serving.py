"""The bodies that are sent: endpoint, deployment, connection; and the image that answers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from azdistill import assets, strict_json
from azdistill.cloud.endpoints.ownership import EXPIRES, SPEC, TEACHER
from azdistill.cloud.endpoints.plan import MOST_SECONDS, EndpointPlan
from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.cloud.workspace.quiet import hushed
from azdistill.cloud.workspace.rest import part
from azdistill.errors import UserError

#: Loading hundreds of gigabytes takes its time; probes wait this long before they count as failed (seconds, tries).
_PATIENCE = {
    "initialDelay": "PT600S",
    "period": "PT30S",
    "timeout": "PT10S",
    "failureThreshold": 60,
    "successThreshold": 1,
}
_READY = {**_PATIENCE, "initialDelay": "PT10S", "failureThreshold": 100}
_ENVIRONMENT = "azdistill-serve"


@dataclass(frozen=True, slots=True)
class Asset:
    """A versioned asset: of a registry, or of the workspace (``registry`` None). ``kind`` is models or environments."""

    kind: str
    registry: str | None
    name: str
    version: str

    def id_in(self, connection: Connection) -> str:
        """How a deployment names it."""
        if self.registry:
            return f"azureml://registries/{self.registry}/{self.kind}/{self.name}/versions/{self.version}"
        return f"{connection.workspace_id}/{self.kind}/{self.name}/versions/{self.version}"


def find_asset(text: str, kind: str, connection: Connection) -> Asset:
    """The asset that ``azureml:NAME:VERSION`` or ``azureml://registries/...`` names, looked up.

    UserError AZD478 for text of another form; ServiceError AZD404 for an asset that is not there.
    """
    asset = _parsed(text, kind)
    with explain(f"looking up {text}"), hushed():
        if asset.registry is None and asset.version != "latest":
            path = f"{connection.workspace_id}/{kind}/{part(asset.name)}/versions/{part(asset.version)}"
            connection.rest.call("GET", path)
            return asset
        client = connection.registry_client(asset.registry) if asset.registry else connection.ml_client
        version = {"label": "latest"} if asset.version == "latest" else {"version": asset.version}
        return replace(asset, version=str(getattr(client, kind).get(asset.name, **version).version))


def _parsed(text: str, kind: str) -> Asset:
    match = re.fullmatch(rf"azureml://registries/([^/]+)/{kind}/([^/]+)/(?:versions/([^/]+)|labels/(latest))", text)
    match = match or re.fullmatch(r"azureml:()([^:@/]+)(?::([^:@/]+)|@(latest))", text)
    if match:
        return Asset(kind, match[1] or None, match[2], match[3] or match[4])
    raise UserError(
        f"'{text}' names no {kind[:-1]} of a workspace or registry",
        code="AZD478",
        hint=f"write azureml:NAME:VERSION or azureml://registries/REGISTRY/{kind}/NAME/versions/VERSION",
    )


def serving_environment(connection: Connection) -> str:
    """The id of our serving image's environment, registered where it is not; its version is what its files hold."""
    folder = assets.root() / "environments" / "serve"
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.iterdir() if path.is_file()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    version = digest.hexdigest()[:12]
    path = f"{connection.workspace_id}/environments/{_ENVIRONMENT}/versions/{version}"
    with explain("looking up the environment of the server"):
        if connection.rest.find(path) is not None:
            return path
    with explain(f"registering the environment {_ENVIRONMENT}"), hushed():
        from azure.ai.ml import load_environment

        environment = load_environment(folder / "environment.yml")
        environment.version = version
        return str(connection.ml_client.environments.create_or_update(environment).id)


def endpoint_body(location: str, auth_mode: str, tags: Mapping[str, str], traffic: Mapping[str, int]) -> dict[str, Any]:
    """A managed online endpoint. ``auth_mode`` is Key or AADToken."""
    about = f"Teacher {tags[TEACHER]}, made by azdistill; it expires {tags[EXPIRES]}"
    return {
        "location": location,
        "tags": dict(tags),
        "identity": {"type": "SystemAssigned"},
        "properties": {"authMode": auth_mode, "description": about, "traffic": dict(traffic)},
    }


def deployment_body(
    location: str, plan: EndpointPlan, model_id: str, environment_id: str | None, tags: Mapping[str, str]
) -> dict[str, Any]:
    """The deployment that holds the plan; without an environment, the model brings its own."""
    properties = {
        "endpointComputeType": "Managed",
        "model": model_id,
        "instanceType": plan.fit.sku.name,
        "requestSettings": {
            "requestTimeout": f"PT{MOST_SECONDS}S",
            # A request that has no place at once is answered 429, which the teacher's client waits out.
            "maxConcurrentRequestsPerInstance": max(1, -(-plan.load.concurrency // plan.instances)),
        },
        "livenessProbe": _PATIENCE,
        "readinessProbe": _READY,
        "scaleSettings": {"scaleType": "Default"},
    }
    if environment_id:
        properties["environmentId"] = environment_id
        properties["environmentVariables"] = server_settings(plan)
    body = {"location": location, "properties": properties, "sku": {"name": "Default", "capacity": plan.instances}}
    digest = hashlib.sha256(strict_json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
    return {**body, "tags": {**tags, SPEC: digest}}


def server_settings(plan: EndpointPlan) -> dict[str, str]:
    """What ``environments/serve`` reads: the model's name, and vLLM's options."""
    options = [
        f"--tensor-parallel-size {plan.fit.tensor_parallel}",
        f"--max-model-len {plan.load.context}",
        f"--max-num-seqs {plan.fit.requests}",
        f"--gpu-memory-utilization {0.9:g}",
    ]
    if plan.load.kv_precision == "fp8":
        options.append("--kv-cache-dtype fp8")
    if plan.teacher.precision == "fp16":
        options.append("--dtype half")
    return {"SERVED_MODEL_NAME": plan.teacher.served_as, "VLLM_ARGS": " ".join(options)}


def serverless_body(location: str, model: Asset, tags: Mapping[str, str]) -> dict[str, Any]:
    """A serverless endpoint: the model is hosted by Microsoft, in its newest version, and paid by the token.

    UserError AZD478 for a model of the workspace: only those of a registry are offered so.
    """
    if model.registry is None:
        raise UserError(
            f"a serverless endpoint serves models of a registry, and {model.name} is the workspace's",
            code="AZD478",
            hint="name one of the catalogue: azureml://registries/REGISTRY/models/NAME/labels/latest",
        )
    model_id = f"azureml://registries/{model.registry}/models/{model.name}"
    return {
        "location": location,
        "tags": dict(tags),
        "sku": {"name": "Consumption"},
        "properties": {"authMode": "Key", "modelSettings": {"modelId": model_id}},
    }


def connection_body(address: str, key: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """The connection by which jobs get the key. This body alone carries it: the service cannot do without."""
    return {
        "properties": {
            "authType": "ApiKey",
            "category": "ApiKey",
            "target": address,
            "credentials": {"key": key},
            "isSharedToAll": True,
            "metadata": dict(tags),
        }
    }
