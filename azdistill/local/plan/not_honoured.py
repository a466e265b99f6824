"""What a pipeline says and a local run does not honour: a line for each, or with ``--strict`` an error for each.

What would give other results is refused where the plan is made; what is told here leaves results as they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from azdistill.aml.models import Binding, CommandComponent, Data, Output, Pipeline, Step
from azdistill.aml.source import Report, Where
from azdistill.errors import Problem, SpecError
from azdistill.local.runners.docker.limits import Limits, parse

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


class Note(str):
    """A line that knows where in the YAML what it tells of stands."""

    where: Where

    def __new__(cls, text: str, where: Where) -> Note:
        self = super().__new__(cls, text)
        self.where = where
        return self


def refuse(notes: Iterable[str]) -> None:
    """Raise a SpecError with all of ``notes``; nothing where there are none."""
    report = Report()
    for note in notes:
        if isinstance(note, Note):
            report.error("AZD377", str(note), note.where, key=True)
        else:
            report.problems.append(Problem("AZD377", note))
    if report.problems:
        raise SpecError(report.problems)


def setting(step: Step, component: CommandComponent, key: str) -> tuple[Mapping[str, Any], Where]:
    """A mapping of settings that a step may have in place of its component's, and where it stands."""
    owner = step if getattr(step, key) else component
    return getattr(owner, key) or {}, owner.where / key


def of_job(pipeline: Pipeline) -> Iterator[Note]:
    """What the pipeline itself says."""
    yield from _common("the pipeline", pipeline)
    yield from _registered("the pipeline", pipeline.outputs)
    for key, step in (("on_init", pipeline.settings.on_init), ("on_finalize", pipeline.settings.on_finalize)):
        if step:
            line = f"the pipeline: {key} is ignored here: step '{step}' runs as any other, in no order to them"
            yield Note(line, pipeline.where / "settings" / key)


def of_step(name: str, step: Step, component: CommandComponent) -> Iterator[Note]:
    """What a command step says, whatever runs it."""
    yield from _common(name, step)
    if step.queue_settings:
        keys = ", ".join(f"{key} {value}" for key, value in step.queue_settings.items())
        where = step.where / "queue_settings"
        yield Note(f"{name}: queue_settings ({keys}) are ignored, as nothing is queued here", where)
    resources, where = setting(step, component, "resources")
    for key in sorted(resources.keys() - set(_RESOURCES)):
        yield Note(f"{name}: resources.{key} is ignored here", where / key)
    yield from _registered(name, step.outputs)
    for key, declared in component.inputs.items():
        value = step.inputs.get(key)
        mode = (value.mode if isinstance(value, Binding | Data) else None) or declared.mode
        if manner := _MODES.get(mode or ""):
            yield Note(f"{name}: input '{key}' {manner}", (value or declared).where)


def of_size(
    name: str, step: Step, component: CommandComponent, read_number: Callable[[Any, Where], int]
) -> Iterator[Note]:
    """Instances, and processes beyond what this machine has; ``read_number`` reads one of their numbers."""
    resources, where = setting(step, component, "resources")
    if "instance_count" in resources:
        count = read_number(resources["instance_count"], where / "instance_count")
        if count > 1:
            yield Note(f"{name}: {count} instances are run as one, on this machine", where / "instance_count")
    distribution, where = setting(step, component, "distribution")
    processes, processors = distribution.get("process_count_per_instance", 1), os.cpu_count() or 1
    if str(processes).isdigit() and int(processes) > processors:
        line = f"{name}: {processes} processes share {processors} processors here"
        yield Note(line, where / "process_count_per_instance")


def of_runner(steps: Mapping[str, tuple[Mapping[str, Any], Where]], docker: bool, gpus: bool) -> Iterator[Note]:
    """What the runner does not honour of each step's ``resources`` (and where they stand); ``gpus``: whether its
    containers have any.
    """
    for name, (resources, where) in steps.items():
        limits, unknown = parse(resources.get("docker_args"), Limits())
        if not docker:
            for key in _ONLY_DOCKER:
                if resources.get(key) is not None:
                    line = f"{name}: resources.{key} is for containers: a process has no such limit (--docker has)"
                    yield Note(line, where / key)
            continue
        if unknown:
            yield Note(f"{name}: docker_args without effect here: {', '.join(unknown)}", where / "docker_args")
        if not gpus and (limits.gpus or _GPU_SIZE.match(str(resources.get("instance_type")))):
            yield Note(f"{name}: a GPU is asked for, and Docker has none here (no NVIDIA runtime)", where)


def _common(name: str, node: Pipeline | Step) -> Iterator[Note]:
    if node.identity:
        kind = node.identity.get("type", "of Azure")
        yield Note(f"{name}: identity ({kind}) is ignored: steps run as you", node.where / "identity")
    if node.services:
        ignored = f"{name}: services ({', '.join(node.services)}) are ignored: nothing is started beside the steps"
        yield Note(ignored, node.where / "services")


def _registered(name: str, outputs: Mapping[str, Binding | Output] | Mapping[str, Output]) -> Iterator[Note]:
    for key, output in outputs.items():
        if isinstance(output, Output) and output.name:
            line = f"{name}: output '{key}' is not registered as {output.name}: there is no workspace here"
            yield Note(line, output.where)
