"""What was prepared, as the SDK's own job: the same YAML, read by ``load_job``."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import yaml

from azdistill.cloud.failures import explain
from azdistill.cloud.quiet import hushed, quiet
from azdistill.spec.models import Environment, PipelineComponent, Step

if TYPE_CHECKING:
    from azdistill.cloud.prepare import Prepared


def pipeline_job(prepared: Prepared) -> Any:
    """The ``PipelineJob`` of what was prepared. UserError where the SDK does not take it."""
    quiet()
    with explain(f"reading {prepared.source}"), hushed():
        from azure.ai.ml import load_job

        quiet()
        text = yaml.safe_dump(prepared.mapping, sort_keys=False, allow_unicode=True)
        base = prepared.pipeline.where.source.base
        job = load_job(io.StringIO(text), relative_origin=str(base / "pipeline.yml"))
    _exchange_environments(cast(Any, job).jobs, prepared.pipeline.jobs, prepared.profile.environments)
    return job


def _exchange_environments(nodes: Any, steps: Mapping[str, Step], ready: Mapping[str, str]) -> None:
    """Put the ready environments of a profile in the place of those of their names.

    The SDK forgets the name of an environment that is written in place, so names are taken from our own reading.
    """
    for name, step in steps.items():
        component = getattr(nodes.get(name), "component", None)
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
