"""What a pipeline says and a local run does not honour: a line for each.

What would give other results is refused where the plan is made; what is told here leaves results as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from azdistill.local.docker_args import Limits, parse
from azdistill.spec.models import Binding, CommandComponent, Data, Input, Output, Pipeline, Step

#: Keys of ``resources`` that are told elsewhere, honoured, or (the machine) what a local run is instead of.
_RESOURCES = ("instance_count", "instance_type", "shm_size", "docker_args")
_ONLY_DOCKER = ("shm_size", "docker_args")
#: Sizes of machines with GPUs, by their family's letter.
_GPU_SIZE = re.compile(r"standard_n[cdgv]\d*", re.IGNORECASE)
_MODES = {
    "direct": "is given as a path, not as a URI",
    "eval_mount": "is given as it lies, not evaluated",
    "eval_download": "is given as it lies, not evaluated",
}


def of_job(pipeline: Pipeline) -> Iterator[str]:
    """What the pipeline itself says."""
    yield from _common("the pipeline", pipeline.identity, pipeline.services)
    yield from _registered("the pipeline", pipeline.outputs)


def of_step(name: str, step: Step, component: CommandComponent) -> Iterator[str]:
    """What a command step says, whatever runs it."""
    yield from _common(name, step.identity, step.services)
    if step.queue_settings:
        keys = ", ".join(f"{key} {value}" for key, value in step.queue_settings.items())
        yield f"{name}: queue_settings ({keys}) are ignored, as nothing is queued here"
    resources = step.resources or component.resources or {}
    for key in sorted(resources.keys() - set(_RESOURCES)):
        yield f"{name}: resources.{key} is ignored here"
    yield from _registered(name, step.outputs)
    for key, declared in component.inputs.items():
        if said := _MODES.get(_mode(step, key, declared) or ""):
            yield f"{name}: input '{key}' {said}"


def of_runner(steps: Mapping[str, Mapping[str, Any]], docker: bool, gpus: bool) -> Iterator[str]:
    """What the runner does not honour of each step's ``resources``; ``gpus``: whether its containers have any."""
    for name, resources in steps.items():
        limits, left = parse(resources.get("docker_args"), Limits())
        if not docker:
            for key in _ONLY_DOCKER:
                if resources.get(key) is not None:
                    yield f"{name}: resources.{key} is for containers: a process has no such limit (--docker has)"
            continue
        if left:
            yield f"{name}: docker_args without effect here: {', '.join(left)}"
        if not gpus and (limits.gpus or _GPU_SIZE.match(str(resources.get("instance_type")))):
            yield f"{name}: a GPU is asked for, and Docker has none here (no NVIDIA runtime)"


def _common(name: str, identity: Mapping[str, Any] | None, services: Mapping[str, Any]) -> Iterator[str]:
    if identity:
        yield f"{name}: identity ({identity.get('type', 'of Azure')}) is ignored: steps run as you"
    if services:
        yield f"{name}: services ({', '.join(services)}) are ignored: nothing is started beside the steps"


def _registered(name: str, outputs: Mapping[str, Binding | Output] | Mapping[str, Output]) -> Iterator[str]:
    for key, output in outputs.items():
        if isinstance(output, Output) and output.name:
            yield f"{name}: output '{key}' is not registered as {output.name}: there is no workspace here"


def _mode(step: Step, key: str, declared: Input) -> str | None:
    given = step.inputs.get(key)
    return (given.mode if isinstance(given, Binding | Data) else None) or declared.mode
