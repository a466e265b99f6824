"""Where each step runs: a named compute, or serverless compute of an instance type."""

from __future__ import annotations

import re
from typing import Any

from azdistill.recipe.models import Compute
from azdistill.sizing import skus

SERVERLESS = "azureml:serverless"
#: What a step that needs a GPU gets when the recipe names nothing: one A100 with 80 GB.
GPU_INSTANCE = "Standard_NC24ads_A100_v4"
#: Words of a recipe or profile -> Azure ML's, for whose identity a step has; ``none`` says nothing.
IDENTITIES = {"user": "user_identity", "managed": "managed"}


def default_compute(compute: Compute) -> str:
    """``settings.default_compute``: the recipe's default where that is a name, else serverless compute."""
    if compute.default and not is_instance_type(compute.default):
        return _named(compute.default)
    return SERVERLESS


def resources_of(compute: Compute, role: str, gpu: bool, instance_type: str = GPU_INSTANCE) -> dict[str, Any]:
    """What a node says about where and as whom it runs; nothing where the pipeline's default does."""
    node = _machine(compute, role, gpu, instance_type)
    if compute.spot and node.get("compute", default_compute(compute)) == SERVERLESS:
        node["queue_settings"] = {"job_tier": "spot"}
    if compute.identity in IDENTITIES:
        node["identity"] = {"type": IDENTITIES[compute.identity]}
    return node


def _machine(compute: Compute, role: str, gpu: bool, instance_type: str) -> dict[str, Any]:
    where = named_for(compute, role)
    if where is None:
        needs_one = gpu and default_compute(compute) == SERVERLESS
        return {"resources": {"instance_type": instance_type}} if needs_one else {}
    if is_instance_type(where):
        elsewhere = {} if default_compute(compute) == SERVERLESS else {"compute": SERVERLESS}
        return {**elsewhere, "resources": {"instance_type": where}}
    return {} if _named(where) == default_compute(compute) else {"compute": _named(where)}


def processes_of(compute: Compute) -> int:
    """Processes that train the student on each machine: what the recipe says, else one for each GPU of its size."""
    if compute.student_gpus:
        return compute.student_gpus
    where = named_for(compute, "student") or GPU_INSTANCE
    sku = skus.find(where) if is_instance_type(where) else None
    return max(1, sku.gpus) if sku else 1


def is_instance_type(where: str) -> bool:
    """Whether this is an instance type (``Standard_NC24ads_A100_v4``) rather than the name of a compute."""
    return re.fullmatch(r"Standard_\w+", where, re.IGNORECASE) is not None


def named_for(compute: Compute, role: str) -> str | None:
    """What the recipe names for a role: the name of a compute or an instance type; None where it names nothing."""
    role_compute = getattr(compute, role) if role else None
    if role == "evaluate" and role_compute is None:
        # It holds the same models on the same device as training did.
        role_compute = compute.student
    named: str | None = role_compute or compute.default
    return named


def _named(where: str) -> str:
    return where if where.startswith(("azureml:", "/subscriptions/")) else f"azureml:{where}"
