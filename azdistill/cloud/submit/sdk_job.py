"""What was prepared, as the SDK's own job: the same YAML, read by ``load_job``."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import yaml

from azdistill.aml.models import AZURE_ONLY, LOOPS, Environment, PipelineComponent, Step
from azdistill.cloud.submit.command_steps import DEFAULT_TIMEOUT
from azdistill.cloud.submit.prepare import Submission
from azdistill.cloud.workspace.clouds import DEFAULT, Cloud
from azdistill.cloud.workspace.errors import explain
from azdistill.cloud.workspace.quiet import hushed

#: Kinds of steps that azure-ai-ml reads and sends only while a switch is on (azure-ai-ml 1.35,
#: ``is_private_preview_enabled``). The schemas that read a pipeline's steps are made when the SDK is imported, so the
#: switch comes too late for them.
PREVIEW = ("if_else", "import", *LOOPS)
_SWITCH = "AZURE_ML_CLI_PRIVATE_FEATURES_ENABLED"


def pipeline_job(prepared: Submission, cloud: Cloud | None = None) -> Any:
    """The ``PipelineJob`` of what was prepared, for ``cloud``. UserError where the SDK does not take it."""
    with explain(f"reading {prepared.source}"), hushed(), allowed(prepared.pipeline.jobs):
        from azure.ai.ml import load_job

        text = yaml.safe_dump(prepared.mapping, sort_keys=False, allow_unicode=True)
        base = prepared.pipeline.where.source.base
        job: Any = load_job(io.StringIO(text), relative_origin=str(base / "pipeline.yml"))
    _exchange_environments(job.jobs, prepared.pipeline.jobs, prepared.profile.environments)
    for node in _running(job.jobs.values()):
        if getattr(node, "type", "") == "command" and getattr(node.limits, "timeout", None) is None:
            # Steps of nested pipelines, whose file is not ours to complete.
            node.set_limits(timeout=DEFAULT_TIMEOUT)
        if addresses := variables(cloud):
            node.environment_variables = {**addresses, **(node.environment_variables or {})}
    return job


def variables(cloud: Cloud | None) -> dict[str, str]:
    """What a step has to be told of its cloud to resolve secrets (components/common/secrets.py); nothing in Azure's
    public one.
    """
    if cloud is None or cloud.name == DEFAULT:
        return {}
    addresses = {
        "AZDISTILL_ARM_ENDPOINT": cloud.resource_manager,
        "AZURE_AUTHORITY_HOST": cloud.authority,
        "AZDISTILL_VAULT_ADDRESS": f"https://{{vault}}.{cloud.vault}" if cloud.vault else "",
        "AZDISTILL_ENTRA_SCOPE": cloud.cognitive_services and f"{cloud.cognitive_services}/.default",
    }
    return {name: value for name, value in addresses.items() if value}


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
    from azure.ai.ml import entities

    for name, step in steps.items():
        component = _component(nodes.get(name))
        if component is None or isinstance(component, str) or isinstance(step.component, str):
            continue
        if isinstance(step.component, PipelineComponent):
            _exchange_environments(component.jobs, step.component.jobs, ready)
            continue
        environment = step.environment or getattr(step.component, "environment", None)
        if isinstance(environment, Environment) and (reference := ready.get(environment.name or "")):
            registered = reference.startswith("azureml:")
            component.environment = reference if registered else entities.Environment(image=reference)


def needed(jobs: Mapping[str, Step]) -> bool:
    """Whether a pipeline has steps of such a kind, at any depth."""
    nested = (step.component.jobs for step in jobs.values() if isinstance(step.component, PipelineComponent))
    return any(step.type in PREVIEW for step in jobs.values()) or any(map(needed, nested))


@contextmanager
def allowed(jobs: Mapping[str, Step]) -> Iterator[None]:
    """The SDK takes these steps meanwhile; nothing is different where none of them needs that."""
    if not needed(jobs):
        yield
        return
    before = os.environ.get(_SWITCH)
    os.environ[_SWITCH] = "true"
    try:
        _widen()
        yield
    finally:
        if before is None:
            del os.environ[_SWITCH]
        else:
            os.environ[_SWITCH] = before


def _widen() -> None:
    """Let the schemas of the SDK, which are made already, know all kinds of steps."""
    from azure.ai.ml._schema.pipeline import pipeline_component, pipeline_job

    # They declare no types.
    components: Any = pipeline_component
    jobs: Any = pipeline_job
    for schema in (jobs.PipelineJobSchema, *_with_subclasses(components.PipelineComponentSchema)):
        schema._declared_fields["jobs"] = components.PipelineJobsField()


def _with_subclasses(schema: Any) -> Iterator[Any]:
    yield schema
    for subclass in schema.__subclasses__():
        yield from _with_subclasses(subclass)
