"""What was prepared, as the SDK's own job: the same YAML, read by ``load_job``."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import yaml

from azdistill.cloud.failures import explain
from azdistill.cloud.quiet import quiet

if TYPE_CHECKING:
    from azdistill.cloud.prepare import Prepared


def pipeline_job(prepared: Prepared) -> Any:
    """The ``PipelineJob`` of what was prepared. UserError where the SDK does not take it."""
    quiet()
    with explain(f"reading {prepared.source}"):
        from azure.ai.ml import load_job

        text = yaml.safe_dump(prepared.mapping, sort_keys=False, allow_unicode=True)
        base = prepared.pipeline.where.source.base
        job = load_job(io.StringIO(text), relative_origin=str(base / "pipeline.yml"))
    _exchange_environments(cast(Any, job), prepared.profile.environments)
    return job


def _exchange_environments(job: Any, ready: dict[str, str]) -> None:
    """Put the ready environments of a profile in the place of those of their names."""
    for component in _components(job.jobs.values()):
        environment = getattr(component, "environment", None)
        name = getattr(environment, "name", None)
        if name in ready:
            component.environment = _ready(ready[str(name)])


def _ready(reference: str) -> Any:
    from azure.ai.ml.entities import Environment

    return reference if reference.startswith("azureml:") else Environment(image=reference)


def _components(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        component = getattr(node, "component", None) or getattr(node, "trial", None)
        if hasattr(component, "jobs"):
            yield from _components(component.jobs.values())
        elif component is not None and not isinstance(component, str):
            yield component
