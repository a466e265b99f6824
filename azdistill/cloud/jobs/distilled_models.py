"""Which jobs of a workspace make the models that programs ask for by name, and where those models lie."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from azdistill.cloud.jobs.job import Job
from azdistill.cloud.jobs.run_history import created, list_jobs
from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.recipe.refer import Weights

#: The tag of a job that makes a model: the model's name.
MODEL_TAG = "azdistill.model"
_OUTPUT = "model"


def makers(connection: Connection) -> dict[str, list[str]]:
    """Model name -> the jobs that make it, newest first. Jobs that measure models, and schedules' templates, do not."""
    with explain("looking for the runs that make models"):
        jobs = sorted(list_jobs(connection, tag=MODEL_TAG, jobType="Pipeline"), key=created, reverse=True)
    by_model: dict[str, list[str]] = {}
    for job in jobs:
        if name := ((job.get("properties") or {}).get("tags") or {}).get(MODEL_TAG):
            by_model.setdefault(str(name), []).append(str(job["name"]))
    return by_model


def registered(connection: Connection, name: str) -> str | None:
    """The newest version of a registered model, as an address that jobs take; None where there is none."""
    from azure.core.exceptions import ResourceNotFoundError

    versions: list[dict[str, Any]] = []
    with explain(f"looking up the model {name}"), suppress(ResourceNotFoundError):
        versions = connection.rest.listed(f"{connection.workspace_id}/models/{name}/versions")
    newest = max(versions, key=created, default=None)
    return f"azureml:{name}:{newest['name']}" if newest else None


def distilled(job: Job) -> Weights:
    """The model that a job made, as an address that other jobs take."""
    return Weights("path", f"azureml://jobs/{job.name}/outputs/{_OUTPUT}")


def inputs_of(job: Job) -> dict[str, Any]:
    """The inputs of a job: values as text, data by its address."""
    inputs = (job.body.get("properties") or {}).get("inputs") or {}
    return {name: _text(declared) for name, declared in inputs.items() if isinstance(declared, Mapping)}


def where_of(job: Job, step: str) -> dict[str, Any]:
    """The compute that a step of a job ran on, as a node says it; empty where it names none of its own."""
    node = ((job.body.get("properties") or {}).get("jobs") or {}).get(step) or {}
    resources = node.get("resources") or {}
    compute = str(node.get("computeId") or node.get("compute") or "")
    instance = resources.get("instance_type") or resources.get("instanceType")
    return {
        **({"compute": f"azureml:{compute.removeprefix('azureml:').rsplit('/', 1)[-1]}"} if compute else {}),
        **({"resources": {"instance_type": str(instance)}} if instance else {}),
    }


def _text(declared: Mapping[str, Any]) -> str:
    text = str(declared.get("uri") or declared.get("value") or "")
    # An asset's ARM id is given to a job as azureml:..., as its YAML has it.
    return f"azureml:{text}" if text.startswith("/subscriptions/") else text
