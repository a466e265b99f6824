"""Kinds of steps that azure-ai-ml keeps behind a switch: it reads and sends them only while that is on.

``if_else``, ``do_while``, ``parallel_for`` and ``import`` (azure-ai-ml 1.35, ``is_private_preview_enabled``). The
schemas that read a pipeline's steps are made when the SDK is imported, so the switch comes too late for them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from azdistill.aml.models import LOOPS, PipelineComponent, Step

KINDS = ("if_else", "import", *LOOPS)
_SWITCH = "AZURE_ML_CLI_PRIVATE_FEATURES_ENABLED"


def needed(jobs: Mapping[str, Step]) -> bool:
    """Whether a pipeline has steps of such a kind, at any depth."""
    inner = (step.component.jobs for step in jobs.values() if isinstance(step.component, PipelineComponent))
    return any(step.type in KINDS for step in jobs.values()) or any(map(needed, inner))


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
    for schema in (jobs.PipelineJobSchema, *_all(components.PipelineComponentSchema)):
        schema._declared_fields["jobs"] = components.PipelineJobsField()


def _all(schema: Any) -> Iterator[Any]:
    yield schema
    for narrower in schema.__subclasses__():
        yield from _all(narrower)
