"""``azdistill.yml``: what differs from one place to another (dev, prod, ...), beside the pipeline or above it.

profiles:
  dev:
    subscription: ...            # also: resource_group, workspace, tenant, auth, cloud
    compute: cpu-cluster         # the pipeline's default; an instance type means serverless
    computes: {finetune: gpu}    # by step
    spot: true                   # serverless steps on spare capacity
    identity: managed            # or user, none; by step: identity: {teacher: managed}
    max_gpu_hours: 40            # a run that may need more is refused
    set: {num_epochs: 1}
    environments: {azdistill-train: azureml:my-train:3}   # ready: no image is built
    image_build_compute: cpu-cluster
prices: {Standard_NC24ads_A100_v4: 3.67}
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azdistill.aml import reader
from azdistill.aml.environments import shown
from azdistill.aml.fields import Fields
from azdistill.aml.source import Report, Where
from azdistill.errors import SpecError, UserError, did_you_mean

FILE = "azdistill.yml"
IDENTITIES = ("user", "managed", "none")
_WHERE = ("subscription", "resource_group", "workspace", "tenant", "auth", "cloud")
_REST = ("compute", "computes", "spot", "identity", "max_gpu_hours", "set", "environments", "image_build_compute")


@dataclass(frozen=True)
class Profile:
    """Settings of one name. ``where`` holds those that say which workspace."""

    name: str = ""
    where: dict[str, str] = field(default_factory=dict)
    compute: str | None = None
    computes: dict[str, str] = field(default_factory=dict)
    spot: bool = False
    identity: str | dict[str, str] | None = None
    max_gpu_hours: float | None = None
    sets: dict[str, str] = field(default_factory=dict)
    environments: dict[str, str] = field(default_factory=dict)
    image_build_compute: str | None = None


@dataclass(frozen=True)
class Project:
    """What an ``azdistill.yml`` says. ``file`` is None where there is none."""

    file: Path | None = None
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    prices: Mapping[str, Any] = field(default_factory=dict)


def find_project(folder: Path) -> Project:
    """The nearest ``azdistill.yml``, in ``folder`` or above it. SpecError with everything wrong in it."""
    start = folder.resolve()
    for place in (start, *start.parents):
        if (place / FILE).is_file():
            return read_project(place / FILE)
    return Project()


def find_profile(name: str | None, folder: Path) -> Profile:
    """The profile ``name``; one that changes nothing where no name is given. UserError AZD418: no such profile."""
    if name is None:
        return Profile()
    project = find_project(folder)
    if name in project.profiles:
        return project.profiles[name]
    if project.file is None:
        raise UserError(f"--profile {name}: there is no {FILE} in {folder} or above it", code="AZD418")
    hint = did_you_mean(name, list(project.profiles)) or "it has no profiles"
    raise UserError(f"{shown(project.file)} has no profile '{name}'", code="AZD418", hint=hint)


def read_project(path: Path) -> Project:
    """The settings in ``path``. SpecError with everything wrong in it."""
    report = Report()
    top = Fields(Where(reader.read(shown(path))), report)
    # What is under `local` is for runs on this machine, which read it themselves.
    top.known(("profiles", "prices", "local"), FILE)
    profiles = {name: _profile(name, Fields(where, report)) for name, where, _ in top.each("profiles")}
    prices = top.mapping("prices")
    if report.problems:
        raise SpecError(report.problems)
    return Project(path, profiles, prices)


def _profile(name: str, fields: Fields) -> Profile:
    fields.known((*_WHERE, *_REST), "a profile")
    where = {key: fields.text(key, scalar=True) for key in _WHERE}
    return Profile(
        name=name,
        where={key: value for key, value in where.items() if value},
        compute=fields.text("compute"),
        computes=fields.words("computes"),
        spot=fields.boolean("spot") or False,
        identity=_identity(fields),
        max_gpu_hours=_hours(fields),
        sets=fields.words("set"),
        environments=fields.words("environments"),
        image_build_compute=fields.text("image_build_compute"),
    )


def _identity(fields: Fields) -> str | dict[str, str] | None:
    identity = fields.data.get("identity")
    if not isinstance(identity, dict):
        return fields.choice("identity", IDENTITIES)
    by_step = Fields(fields.where / "identity", fields.report)
    chosen = {step: by_step.choice(step, IDENTITIES) for step in identity}
    return {step: word for step, word in chosen.items() if word}


def _hours(fields: Fields) -> float | None:
    value = fields.data.get("max_gpu_hours")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        fields.wrong(fields.where / "max_gpu_hours", "a number of hours", value)
        return None
    return float(value)
