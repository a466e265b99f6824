"""The environments of a run: registered ones, ready images, and images that are built, on which base and CUDA."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from azdistill.aml.models import Environment
from azdistill.cloud.submit.command_steps import Leaf
from azdistill.cloud.submit.uploads import environment_of
from azdistill.cloud.submit.workspace_facts import Facts
from azdistill.cloud.workspace.profiles import Profile
from azdistill.errors import Problem

_BASE = re.compile(r"^\s*(?:ARG\s+BASE_IMAGE=|FROM\s+(?:--\S+\s+)?)([^\s$]+)", re.MULTILINE | re.IGNORECASE)
_CUDA = re.compile(r"cuda[-_]?(\d+(?:\.\d+)?)", re.IGNORECASE)


@dataclass(frozen=True)
class Image:
    """An environment and the steps that run in it. ``base`` is the image it is built from, or the image itself."""

    name: str
    how: Literal["built", "ready", "registered", "unknown"]
    base: str | None = None
    steps: list[str] = field(default_factory=list)

    @property
    def cuda(self) -> str | None:
        """The CUDA version that the base image's name tells; None for one without."""
        found = _CUDA.search(self.base or "")
        return found[1] if found else None

    def as_json(self) -> dict[str, Any]:
        """The object of ``--json``."""
        return {**vars(self), "cuda": self.cuda}


def of(steps: list[Leaf], profile: Profile, facts: Facts) -> tuple[list[Image], list[Problem]]:
    """Every environment that the steps use, each once, and a problem for each that is not registered."""
    found: dict[str, Image] = {}
    problems: list[Problem] = []
    for leaf in steps:
        # Of the kinds that are not looked into, Azure chooses or the step's own keys say.
        if leaf.step.only_on_azure:
            continue
        image = _image(leaf, profile)
        if image.name in found:
            found[image.name].steps.append(leaf.name)
        else:
            found[image.name] = image
            if image.how == "registered" and facts.environment_exists(image.name) is False:
                message = f"the environment {image.name} is not registered in the workspace (step '{leaf.name}')"
                problems.append(Problem("AZD423", message, hint="`az ml environment list` shows those that are"))
    return list(found.values()), problems


def _image(leaf: Leaf, profile: Profile) -> Image:
    environment = environment_of(leaf)
    if isinstance(environment, Environment):
        named = environment.name or environment.image or str(environment.build_path)
        if ready := profile.environments.get(environment.name or ""):
            return _referred(ready, leaf)
        if environment.build_path or environment.conda_file:
            return Image(named, "built", _base(environment), [leaf.name])
        return Image(named, "ready", environment.image, [leaf.name])
    return _referred(environment, leaf) if environment else Image("of the component", "unknown", None, [leaf.name])


def _referred(reference: str, leaf: Leaf) -> Image:
    how: Literal["registered", "ready"] = "registered" if reference.startswith("azureml:") else "ready"
    return Image(reference, how, None if how == "registered" else reference, [leaf.name])


def _base(environment: Environment) -> str | None:
    if environment.build_path is None:
        return environment.image
    dockerfile = Path(environment.build_path) / environment.dockerfile_path
    try:
        found = _BASE.search(dockerfile.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return found[1] if found else None
