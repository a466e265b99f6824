"""What a pipeline says and a local run does not honour: a line for each, or with ``--strict`` an error for each.

What would give other results is refused where the plan is made; what is told here leaves results as they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from azdistill.aml.models import Binding, CommandComponent, Data, Input, Output, Pipeline, Step
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

    @staticmethod
    def at(where: Where, text: str) -> Note:
        """The line ``text``, about what stands at ``where``."""
        return Note(text, where)


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


def of_job(pipeline: Pipeline) -> Iterator[Note]:
    """What the pipeline itself says."""
    yield from _common("the pipeline", pipeline)
    yield from _registered("the pipeline", pipeline.outputs)
    for key, step in (("on_init", pipeline.settings.on_init), ("on_finalize", pipeline.settings.on_finalize)):
        if step:
            told = f"the pipeline: {key} is ignored here: step '{step}' runs as any other, in no order to them"
            yield Note.at(pipeline.where / "settings" / key, told)


def of_step(name: str, step: Step, component: CommandComponent) -> Iterator[Note]:
    """What a command step says, whatever runs it."""
    yield from _common(name, step)
    if step.queue_settings:
        keys = ", ".join(f"{key} {value}" for key, value in step.queue_settings.items())
        where = step.where / "queue_settings"
        yield Note.at(where, f"{name}: queue_settings ({keys}) are ignored, as nothing is queued here")
    resources = step.resources or component.resources or {}
    for key in sorted(resources.keys() - set(_RESOURCES)):
        where = (step if step.resources else component).where / "resources" / key
        yield Note.at(where, f"{name}: resources.{key} is ignored here")
    yield from _registered(name, step.outputs)
    for key, declared in component.inputs.items():
        if said := _MODES.get(_mode(step, key, declared) or ""):
            where = step.inputs[key].where if key in step.inputs else declared.where
            yield Note.at(where, f"{name}: input '{key}' {said}")


def of_size(name: str, step: Step, component: CommandComponent, whole: Callable[[Any, Where], int]) -> Iterator[Note]:
    """Instances, and processes beyond what this machine has; ``whole`` reads a number."""
    resources = step.resources or component.resources or {}
    if "instance_count" in resources:
        where = (step if step.resources else component).where / "resources" / "instance_count"
        count = whole(resources["instance_count"], where)
        if count > 1:
            yield Note.at(where, f"{name}: {count} instances are run as one, on this machine")
    written = (step.distribution or component.distribution or {}).get("process_count_per_instance", 1)
    if str(written).isdigit() and int(written) > (os.cpu_count() or 1):
        where = (step if step.distribution else component).where / "distribution" / "process_count_per_instance"
        yield Note.at(where, f"{name}: {written} processes share {os.cpu_count() or 1} processors here")


def of_runner(steps: Mapping[str, tuple[Mapping[str, Any], Where]], docker: bool, gpus: bool) -> Iterator[Note]:
    """What the runner does not honour of each step's ``resources`` (and where they stand); ``gpus``: whether its
    containers have any.
    """
    for name, (resources, where) in steps.items():
        limits, left = parse(resources.get("docker_args"), Limits())
        if not docker:
            for key in _ONLY_DOCKER:
                if resources.get(key) is not None:
                    told = f"{name}: resources.{key} is for containers: a process has no such limit (--docker has)"
                    yield Note.at(where / key, told)
            continue
        if left:
            yield Note.at(where / "docker_args", f"{name}: docker_args without effect here: {', '.join(left)}")
        if not gpus and (limits.gpus or _GPU_SIZE.match(str(resources.get("instance_type")))):
            yield Note.at(where, f"{name}: a GPU is asked for, and Docker has none here (no NVIDIA runtime)")


def _common(name: str, told: Pipeline | Step) -> Iterator[Note]:
    if told.identity:
        kind = told.identity.get("type", "of Azure")
        yield Note.at(told.where / "identity", f"{name}: identity ({kind}) is ignored: steps run as you")
    if told.services:
        ignored = f"{name}: services ({', '.join(told.services)}) are ignored: nothing is started beside the steps"
        yield Note.at(told.where / "services", ignored)


def _registered(name: str, outputs: Mapping[str, Binding | Output] | Mapping[str, Output]) -> Iterator[Note]:
    for key, output in outputs.items():
        if isinstance(output, Output) and output.name:
            told = f"{name}: output '{key}' is not registered as {output.name}: there is no workspace here"
            yield Note.at(output.where, told)


def _mode(step: Step, key: str, declared: Input) -> str | None:
    given = step.inputs.get(key)
    return (given.mode if isinstance(given, Binding | Data) else None) or declared.mode
