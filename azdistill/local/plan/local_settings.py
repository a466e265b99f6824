"""The ``local:`` part of ``azdistill.yml``: what stands on this machine for what is in a workspace.

local:
  data:                                   # a file or folder for an asset, a path on a datastore, or another address
    azdistill-reviews: ./reviews          # azureml:azdistill-reviews of any version; with :3, of that one
    azureml://datastores/raw/paths/2026: ./raw
    wasbs://data@account.blob.core.windows.net/rows.csv: ./rows.csv
  components:                             # a component's file, for one that is registered
    azureml:train_model: ./train/component.yml
  environments:                           # an image, or a folder with a Dockerfile, for an environment (--docker)
    azureml:my-train: python:3.11-slim
    docker.io/python: my-registry/python  # or for an image that cannot be had here
  pythons: {azdistill-train: ./gpu-venv/bin/python}   # the interpreter of an environment's steps (without --docker)
  docker:
    build_arguments: {azdistill-data: {BASE_IMAGE: python:3.11-slim}}   # "*" is every environment
    build_network: host
    network: none                         # of every step, whatever it asks for
    memory: 8g                            # what a container may use at most; a step's docker_args say otherwise
    pids: 4096                            # how many processes and threads
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from azdistill import aml
from azdistill.aml import reader
from azdistill.aml.environments import shown
from azdistill.aml.fields import Fields, is_remote
from azdistill.aml.models import Environment, Pipeline, PipelineComponent, Step
from azdistill.aml.pipelines import kind_of_component
from azdistill.aml.source import Report, Where
from azdistill.aml.sweeps import searched
from azdistill.errors import SpecError, raise_errors
from azdistill.local.plan.data_locations import mapped
from azdistill.local.runners.docker.images import Settings
from azdistill.local.runners.docker.limits import SIZE, Limits

FILE = "azdistill.yml"
_KEYS = ("data", "components", "environments", "pythons", "docker")
_DOCKER = ("build_arguments", "build_network", "network", "memory", "pids")


@dataclass(frozen=True, slots=True)
class LocalSettings:
    """What ``azdistill.yml`` says about local runs. Paths are absolute."""

    data: Mapping[str, Path] = field(default_factory=dict)
    pythons: Mapping[str, str] = field(default_factory=dict)
    images: Settings = field(default_factory=Settings)
    network: str | None = None
    components: Mapping[str, Path] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)

    def python_of(self, environment: str | Environment | None) -> str | None:
        """The interpreter for steps of ``environment``, by its name; None where none is given."""
        named = environment.name if isinstance(environment, Environment) else environment
        bare = re.sub(r"(/versions/[^/]+|/labels/[^/]+|@[^/@]+|:[^:/@]+)$", "", (named or "").removeprefix("azureml:"))
        last = bare.rpartition("/")[2]
        return self.pythons.get(last) if last else None


def find_settings(folder: Path) -> LocalSettings:
    """The settings of the nearest ``azdistill.yml``, in ``folder`` or above it. SpecError with all that is wrong."""
    start = folder.resolve()
    nearest = next((place / FILE for place in (start, *start.parents) if (place / FILE).is_file()), None)
    return read_settings(nearest) if nearest else LocalSettings()


def read_settings(path: Path) -> LocalSettings:
    """The settings in ``path``. SpecError with everything wrong in them."""
    report = Report()
    where = Where(reader.read(shown(path)))
    settings = LocalSettings()
    # The rest is for runs on Azure, which read it themselves.
    if isinstance(where.value, dict) and where.value.get("local") is not None:
        settings = _settings(Fields(where / "local", report), path.parent.resolve())
    if report.problems:
        raise SpecError(report.problems)
    return settings


def _settings(fields: Fields, base: Path) -> LocalSettings:
    fields.known(_KEYS, "local")
    data = {_asset(name): _place(path, base) for name, path in fields.words("data").items()}
    components = {_asset(name): _place(path, base) for name, path in fields.words("components").items()}
    pythons = {
        name: str(_place(program, base)) if "/" in program else program
        for name, program in fields.words("pythons").items()
    }
    # A folder where it is written as one (``./docker``), else the name of an image.
    environments = {
        name: _place(image, base) if image.startswith((".", "/", "~")) else image
        for name, image in fields.words("environments").items()
    }
    if fields.data.get("docker") is None:
        return LocalSettings(data, pythons, Settings(instead=environments), components=components)
    docker = Fields(fields.where / "docker", fields.report)
    docker.known(_DOCKER, "local.docker")
    images = Settings(_arguments(docker), docker.text("build_network"), environments)
    return LocalSettings(data, pythons, images, docker.text("network"), components, _limits(docker))


def _limits(docker: Fields) -> Limits:
    memory = docker.text("memory", scalar=True)
    if memory is not None and not SIZE.fullmatch(memory):
        where = docker.where / "memory"
        docker.report.error("AZD111", f"'memory' should be a size as Docker takes it (8g, 512m), not {memory!r}", where)
    docker.whole("pids", at_least=1)
    pids = str(docker.data.get("pids"))
    return Limits(memory=memory, pids=int(pids) if pids.isdigit() else None)


def _asset(name: str) -> str:
    return name if is_remote(name) else f"azureml:{name}"


def _place(path: str, base: Path) -> Path:
    return base / os.path.expanduser(path)


def _arguments(docker: Fields) -> dict[str, dict[str, str]]:
    written: Any = docker.data.get("build_arguments")
    if written is None:
        return {}
    arguments = Fields(docker.where / "build_arguments", docker.report)
    return {name: arguments.words(name) for name in arguments.data}


_Holder = TypeVar("_Holder", Pipeline, PipelineComponent)


def stand_in(pipeline: Pipeline, components: Mapping[str, Path]) -> Pipeline:
    """``pipeline`` with the files that ``components`` names in place of registered components, at any depth.

    SpecError where a file is no component, or where the pipeline uses it otherwise than it declares.
    """
    if not components:
        return pipeline
    replaced = _filled(pipeline, components, ())
    if replaced is pipeline:
        return pipeline
    problems = aml.check(replaced)
    raise_errors(problems)
    return replaced


def _filled(holder: _Holder, components: Mapping[str, Path], ancestors: tuple[Path, ...]) -> _Holder:
    jobs = {name: _step(step, components, ancestors) for name, step in holder.jobs.items()}
    unchanged = all(jobs[name] is step for name, step in holder.jobs.items())
    return holder if unchanged else replace(holder, jobs=jobs)


def _step(step: Step, components: Mapping[str, Path], ancestors: tuple[Path, ...]) -> Step:
    component = step.component
    if isinstance(component, str):
        file = mapped(component, components)
        # A file that stands for something within itself is left as it is: planning names the step.
        if file is None or file in ancestors:
            return step
        component, ancestors = aml.load_component(file), (*ancestors, file)
    if isinstance(component, PipelineComponent):
        component = _filled(component, components, ancestors)
    if component is step.component:
        return step
    if step.sweep:
        return searched(replace(step, component=component), step.sweep)
    return replace(step, component=component, type=kind_of_component(component) or step.type)
