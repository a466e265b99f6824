"""What travels to the workspace: code, data and build contexts, each thing once, with its size and what stays here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azdistill.aml.models import Data, Environment, Pipeline
from azdistill.cloud.submit import azure_only_steps
from azdistill.cloud.submit.command_steps import Leaf
from azdistill.cloud.submit.fingerprint import snapshot_of
from azdistill.snapshot import Snapshot, take
from azdistill.trees import digest, walk_files

#: Bytes of one file above which it is named: a checkpoint that lies in the code folder, more often than not.
LARGE_FILE = 100_000_000
#: Bytes of all together above which somebody has to agree.
ASK_ABOVE = 10_000_000_000


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


def uploads(pipeline: Pipeline, steps: list[Leaf], replaced: frozenset[str]) -> list[Upload]:
    """Everything on this machine that the run needs; ``replaced`` names environments that are not built."""
    return [*_code(steps), *_contexts(steps, replaced), *_data(pipeline, steps)]


def _code(steps: list[Leaf]) -> Iterator[Upload]:
    by_content: dict[str, tuple[list[str], Snapshot, Path]] = {}
    for leaf in steps:
        component = leaf.component
        taken = snapshot_of(component) if component else None
        if leaf.step.only_on_azure and (own := azure_only_steps.code_of(leaf.step)):
            by_content.setdefault(str(own), ([], take(own, (), base=leaf.step.where.source.base), own))[0].append(
                leaf.name
            )
        if component is None or taken is None:
            continue
        same = digest([sorted((name, str(path)) for name, path in taken.files.items()), sorted(taken.zipped)])
        code = component.code if isinstance(component.code, Path) else component.where.source.base
        by_content.setdefault(same, ([], taken, code))[0].append(leaf.name)
    for names, taken, code in by_content.values():
        sizes = {name: path.stat().st_size for name, path in taken.files.items()}
        for name, folder in taken.zipped.items():
            sizes[name] = sum(path.stat().st_size for _, path in walk_files(folder))
        yield _upload(f"code of {', '.join(names)}", code, sizes, _ignored(code, taken))


def _ignored(code: Path, taken: Snapshot) -> int:
    """Files of the code folder that ignore files leave out; what Python compiled does not count."""
    if not code.is_dir():
        return 0
    mine = {str(path) for path in taken.files.values()}
    here = (str(path) for name, path in walk_files(code) if "__pycache__" not in Path(name).parts)
    return sum(1 for path in here if path not in mine)


def _contexts(steps: list[Leaf], replaced: frozenset[str]) -> Iterator[Upload]:
    seen: set[Path] = set()
    for leaf in steps:
        environment = environment_of(leaf)
        if not isinstance(environment, Environment) or environment.build_path is None or environment.name in replaced:
            continue
        if environment.build_path not in seen and environment.build_path.is_dir():
            seen.add(environment.build_path)
            name = environment.name or environment.build_path.name
            yield _upload(f"image {name}", environment.build_path, _sizes(environment.build_path))


def environment_of(leaf: Leaf) -> str | Environment | None:
    """What a step runs in: its own environment, or its component's."""
    return leaf.step.environment or (leaf.component.environment if leaf.component else None)


def _data(pipeline: Pipeline, steps: list[Leaf]) -> Iterator[Upload]:
    named: dict[str, str] = {}
    for name, declared in pipeline.inputs.items():
        if declared.is_data and declared.path:
            named.setdefault(declared.path, name)
    for leaf in steps:
        for name, value in leaf.step.inputs.items():
            if isinstance(value, Data):
                named.setdefault(value.path, f"{leaf.name}.{name}")
    for path, name in named.items():
        if os.path.isabs(path) and os.path.exists(path):
            yield _upload(f"data {name}", Path(path), _sizes(Path(path)))


def _sizes(path: Path) -> dict[str, int]:
    if path.is_file():
        return {path.name: path.stat().st_size}
    return {name: inner.stat().st_size for name, inner in walk_files(path)}


def _upload(what: str, path: Path, sizes: dict[str, int], ignored: int = 0) -> Upload:
    large = tuple((name, size) for name, size in sizes.items() if size > LARGE_FILE)
    return Upload(what, str(path), len(sizes), sum(sizes.values()), ignored, large)
