"""What was prepared, as the SDK's own job: the same YAML, read by ``load_job``."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from azdistill.aml.models import AZURE_ONLY, Environment, PipelineComponent, Step
from azdistill.cloud.submit.compute import DEFAULT_TIMEOUT
from azdistill.cloud.submit.prepare import Prepared
from azdistill.cloud.submit.preview_kinds import allowed
from azdistill.cloud.workspace.clouds import DEFAULT, Cloud
from azdistill.cloud.workspace.errors import explain
from azdistill.cloud.workspace.quiet import hushed, quiet


def pipeline_job(prepared: Prepared, cloud: Cloud | None = None) -> Any:
    """The ``PipelineJob`` of what was prepared, for ``cloud``. UserError where the SDK does not take it."""
    quiet()
    with explain(f"reading {prepared.source}"), hushed(), allowed(prepared.pipeline.jobs):
        from azure.ai.ml import load_job

        quiet()
        text = yaml.safe_dump(prepared.mapping, sort_keys=False, allow_unicode=True)
        base = prepared.pipeline.where.source.base
        job: Any = load_job(io.StringIO(text), relative_origin=str(base / "pipeline.yml"))
    _exchange_environments(job.jobs, prepared.pipeline.jobs, prepared.profile.environments)
    for node in _running(job.jobs.values()):
        if getattr(node, "type", "") == "command" and getattr(node.limits, "timeout", None) is None:
            # Steps of nested pipelines, whose file is not ours to complete.
            node.set_limits(timeout=DEFAULT_TIMEOUT)
        if told := variables(cloud):
            node.environment_variables = {**told, **(node.environment_variables or {})}
    return job


def variables(cloud: Cloud | None) -> dict[str, str]:
    """What a step has to be told of its cloud to resolve secrets (components/common/secrets.py); nothing in Azure's
    public one.
    """
    if cloud is None or cloud.name == DEFAULT:
        return {}
    told = {
        "AZDISTILL_ARM_ENDPOINT": cloud.resource_manager,
        "AZURE_AUTHORITY_HOST": cloud.authority,
        "AZDISTILL_VAULT_ADDRESS": f"https://{{vault}}.{cloud.vault}" if cloud.vault else "",
        "AZDISTILL_ENTRA_SCOPE": cloud.cognitive_services and f"{cloud.cognitive_services}/.default",
    }
    return {name: value for name, value in told.items() if value}


def _running(nodes: Any) -> Iterator[Any]:
    """The nodes that run a command, those of nested pipelines among them."""
    for node in nodes:
        component = _component(node)
        if hasattr(component, "jobs"):
            yield from _running(component.jobs.values())
        elif hasattr(node, "environment_variables") and getattr(node, "type", "") not in AZURE_ONLY:
            yield node


def _component(node: Any) -> Any:
    """The component of a node; of a sweep its trial. (Asked for what it does not have, a sweep makes it up.)"""
    return getattr(node, "trial" if getattr(node, "type", "") == "sweep" else "component", None)


def _exchange_environments(nodes: Any, steps: Mapping[str, Step], ready: Mapping[str, str]) -> None:
    """Put the ready environments of a profile in the place of those of their names.

    The SDK forgets the name of an environment that is written in place, so names are taken from our own reading.
    """
    for name, step in steps.items():
        component = _component(nodes.get(name))
        if component is None or isinstance(component, str) or isinstance(step.component, str):
            continue
        if isinstance(step.component, PipelineComponent):
            _exchange_environments(component.jobs, step.component.jobs, ready)
        elif (named := environment_name(step)) in ready:
            component.environment = _ready(ready[str(named)])


def environment_name(step: Step) -> str | None:
    """The name of the environment that a step runs in, where it is written in place."""
    own = getattr(step.component, "environment", None)
    environment = step.environment or own
    return environment.name if isinstance(environment, Environment) else None


def _ready(reference: str) -> Any:
    from azure.ai.ml import entities

    return reference if reference.startswith("azureml:") else entities.Environment(image=reference)
