"""What steps take along: code, data and build contexts, with their sizes; and the environments that they run in."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from azdistill.aml.models import Data, Environment, Pipeline
from azdistill.cloud.submit.command_steps import Leaf
from azdistill.cloud.submit.fingerprint import azure_only_code, snapshot_of
from azdistill.cloud.workspace.profiles import Profile
from azdistill.cloud.workspace.region import Facts
from azdistill.errors import Problem
from azdistill.snapshot import Snapshot, take
from azdistill.trees import digest, walk_files

#: Bytes of one file above which it is named: a checkpoint that lies in the code folder, more often than not.
LARGE_FILE = 100_000_000
#: Bytes of all together above which somebody has to agree.
ASK_ABOVE = 10_000_000_000

_BASE = re.compile(r"^\s*(?:ARG\s+BASE_IMAGE=|FROM\s+(?:--\S+\s+)?)([^\s$]+)", re.MULTILINE | re.IGNORECASE)
_CUDA = re.compile(r"cuda[-_]?(\d+(?:\.\d+)?)", re.IGNORECASE)


@dataclass(frozen=True)
class Upload:
    """One thing that is sent unless the workspace has it: its files and their bytes; ``ignored`` files stay here."""

    what: str
    path: str
    files: int
    size: int
    ignored: int = 0
    large: tuple[tuple[str, int], ...] = ()

    def as_json(self) -> dict[str, Any]:
        """The object of ``--json``."""
        return {
            **{"what": self.what, "path": self.path, "files": self.files, "bytes": self.size},
            **{"ignored_files": self.ignored, "large_files": [name for name, _ in self.large]},
        }


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
        match = _CUDA.search(self.base or "")
        return match[1] if match else None

    def as_json(self) -> dict[str, Any]:
        """The object of ``--json``."""
        return {**vars(self), "cuda": self.cuda}


def uploads(pipeline: Pipeline, steps: list[Leaf], replaced: frozenset[str]) -> list[Upload]:
    """Everything on this machine that the run needs; ``replaced`` names environments that are not built."""
    return [*_code(steps), *_contexts(steps, replaced), *_data(pipeline, steps)]


def _code(steps: list[Leaf]) -> Iterator[Upload]:
    by_content: dict[str, tuple[list[str], Snapshot, Path]] = {}
    for leaf in steps:
        component = leaf.component
        if leaf.step.only_on_azure and (path := azure_only_code(leaf.step)):
            snapshot = take(path, (), base=leaf.step.where.source.base)
            by_content.setdefault(str(path), ([], snapshot, path))[0].append(leaf.name)
        if component is not None and (code := snapshot_of(component)):
            content = digest([sorted((name, str(path)) for name, path in code.files.items()), sorted(code.zipped)])
            path = component.code if isinstance(component.code, Path) else component.where.source.base
            by_content.setdefault(content, ([], code, path))[0].append(leaf.name)
    for names, snapshot, path in by_content.values():
        sizes = {name: file.stat().st_size for name, file in snapshot.files.items()}
        sizes |= {name: sum(_sizes(folder).values()) for name, folder in snapshot.zipped.items()}
        yield _upload(f"code of {', '.join(names)}", path, sizes, _ignored(path, snapshot))


def _ignored(code: Path, snapshot: Snapshot) -> int:
    """Files of the code folder that ignore files leave out; what Python compiled does not count."""
    if not code.is_dir():
        return 0
    sent = {str(path) for path in snapshot.files.values()}
    return sum(1 for name, path in walk_files(code) if "__pycache__" not in Path(name).parts and str(path) not in sent)


def _contexts(steps: list[Leaf], replaced: frozenset[str]) -> Iterator[Upload]:
    folders: dict[Path, str] = {}
    for environment in (leaf.environment for leaf in steps):
        if isinstance(environment, Environment) and environment.build_path and environment.name not in replaced:
            folders.setdefault(environment.build_path, environment.name or environment.build_path.name)
    for path, name in folders.items():
        if path.is_dir():
            yield _upload(f"image {name}", path, _sizes(path))


def _data(pipeline: Pipeline, steps: list[Leaf]) -> Iterator[Upload]:
    names: dict[str, str] = {}
    for name, declared in pipeline.inputs.items():
        if declared.is_data and declared.path:
            names.setdefault(declared.path, name)
    for leaf in steps:
        for name, value in leaf.step.inputs.items():
            if isinstance(value, Data):
                names.setdefault(value.path, f"{leaf.name}.{name}")
    for path, name in names.items():
        if os.path.isabs(path) and os.path.exists(path):
            yield _upload(f"data {name}", Path(path), _sizes(Path(path)))


def _sizes(path: Path) -> dict[str, int]:
    if path.is_file():
        return {path.name: path.stat().st_size}
    return {name: file.stat().st_size for name, file in walk_files(path)}


def _upload(what: str, path: Path, sizes: dict[str, int], ignored: int = 0) -> Upload:
    large = tuple((name, size) for name, size in sizes.items() if size > LARGE_FILE)
    return Upload(what, str(path), len(sizes), sum(sizes.values()), ignored, large)


def images(steps: list[Leaf], profile: Profile, facts: Facts) -> tuple[list[Image], list[Problem]]:
    """Every environment that the steps use, each once, and a problem for each that is not registered."""
    by_name: dict[str, Image] = {}
    problems: list[Problem] = []
    for leaf in steps:
        # Of the kinds that are not looked into, Azure chooses or the step's own keys say.
        if leaf.step.only_on_azure:
            continue
        image = _image(leaf, profile)
        if image.name not in by_name and image.how == "registered" and facts.environment_exists(image.name) is False:
            message = f"the environment {image.name} is not registered in the workspace (step '{leaf.name}')"
            problems.append(Problem("AZD423", message, hint="`az ml environment list` shows those that are"))
        by_name.setdefault(image.name, image).steps.append(leaf.name)
    return list(by_name.values()), problems


def _image(leaf: Leaf, profile: Profile) -> Image:
    environment = leaf.environment
    if isinstance(environment, Environment):
        if ready := profile.environments.get(environment.name or ""):
            return _reference(ready)
        name = environment.name or environment.image or str(environment.build_path)
        if environment.build_path or environment.conda_file:
            return Image(name, "built", _base(environment))
        return Image(name, "ready", environment.image)
    return _reference(environment) if environment else Image("of the component", "unknown")


def _reference(text: str) -> Image:
    return Image(text, "registered") if text.startswith("azureml:") else Image(text, "ready", text)


def _base(environment: Environment) -> str | None:
    if environment.build_path is None:
        return environment.image
    dockerfile = Path(environment.build_path) / environment.dockerfile_path
    try:
        match = _BASE.search(dockerfile.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return match[1] if match else None
