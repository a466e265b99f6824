"""Components and environments as assets of a workspace or registry. A version is the hash of what it holds.

So publishing again what has not changed does nothing, and a version never means two things.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from azdistill import aml, assets
from azdistill.aml.models import CommandComponent, Environment, PipelineComponent
from azdistill.cloud.submit.fingerprint import of_asset
from azdistill.cloud.workspace.errors import explain
from azdistill.cloud.workspace.quiet import hushed, quiet
from azdistill.errors import Problem, SpecError, UserError

if TYPE_CHECKING:
    from azdistill.cloud.workspace.connect import Connection

#: So many digits tell any two versions apart, and can be read out.
DIGITS = 16
#: What a folder is searched for.
_FILES = ("component.yml", "component.yaml", "environment.yml", "environment.yaml")
_KINDS = (CommandComponent, PipelineComponent, Environment)


@dataclass(frozen=True)
class Asset:
    """What may be published: ``version`` follows from its content. ``state`` is told by a target."""

    kind: Literal["component", "environment"]
    name: str
    version: str
    path: Path
    environment: str | None = None
    state: Literal["unknown", "new", "published", "unchanged"] = "unknown"

    def as_json(self) -> dict[str, str]:
        """The object of ``--json``."""
        return {"kind": self.kind, "name": self.name, "version": self.version, "state": self.state}


class Target:
    """A workspace, or the registry of that name."""

    def __init__(self, connection: Connection, registry: str | None) -> None:
        self.registry = registry
        self.what = f"the registry {registry}" if registry else f"the workspace {connection.workspace_name}"
        self._client = connection.registry_client(registry) if registry else connection.ml_client

    def has(self, asset: Asset) -> bool:
        """Whether this version is there already."""
        from azure.core.exceptions import ResourceNotFoundError

        with explain(f"looking up {asset.name} in {self.what}"), hushed():
            try:
                self._operations(asset).get(asset.name, asset.version)
            except ResourceNotFoundError:
                return False
        return True

    def put(self, asset: Asset) -> None:
        """Upload what it needs, then create the version."""
        with explain(f"publishing {asset.name} to {self.what}"), hushed():
            self._operations(asset).create_or_update(self._entity(asset))

    def reference(self, environment: Asset) -> str:
        """How a component names a published environment."""
        if self.registry:
            place = f"azureml://registries/{self.registry}/environments"
            return f"{place}/{environment.name}/versions/{environment.version}"
        return f"azureml:{environment.name}:{environment.version}"

    def _operations(self, asset: Asset) -> Any:
        return self._client.components if asset.kind == "component" else self._client.environments

    def _entity(self, asset: Asset) -> Any:
        quiet()
        from azure.ai.ml import load_component, load_environment

        quiet()
        if asset.kind == "environment":
            entity: Any = load_environment(asset.path)
        else:
            entity = load_component(asset.path)
            if asset.environment:
                entity.environment = asset.environment
        entity.version = asset.version
        return entity


def find(paths: Sequence[Path]) -> list[Asset]:
    """The assets in files and folders, environments first: components refer to them. Without paths, azdistill's own.

    UserError AZD498 where a path holds none, SpecError with everything wrong in them.
    """
    folders = paths or [assets.root() / "components", assets.root() / "environments"]
    found: dict[Path, Any] = {}
    problems: list[Problem] = []
    for path in dict.fromkeys(file.resolve() for folder in folders for file in _files(folder)):
        read, wrong = aml.examine(path)
        problems += [problem for problem in wrong if problem.severity == "error"]
        if isinstance(read, _KINDS):
            found[path] = read
        elif not wrong:
            hint = "publish takes components and environments"
            raise UserError(f"{path} is neither a component nor an environment", code="AZD498", hint=hint)
    if problems:
        raise SpecError(problems)
    environments = {path: _asset(path, read) for path, read in found.items() if isinstance(read, Environment)}
    components = {path: _asset(path, read) for path, read in found.items() if not isinstance(read, Environment)}
    beside = _needed(components, found, environments)
    return [*environments.values(), *beside, *components.values()]


def publish(
    target: Target, wanted: Sequence[Asset], *, dry_run: bool = False, told: Callable[[Asset], None] = lambda _: None
) -> list[Asset]:
    """Publish what the target does not have; with ``dry_run`` only say so. ``told`` hears of each as it is done."""
    references = {asset.path: target.reference(asset) for asset in wanted if asset.kind == "environment"}
    done = []
    for asset in wanted:
        if target.has(asset):
            result = replace(asset, state="unchanged")
        elif dry_run:
            result = replace(asset, state="new")
        else:
            target.put(_with_environment(asset, references))
            result = replace(asset, state="published")
        told(result)
        done.append(result)
    return done


def _files(path: Path) -> Iterable[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"there is no {path}", code="AZD498")
    found = sorted(file for name in _FILES for file in path.rglob(name))
    if not found:
        raise UserError(f"{path} holds no {', '.join(_FILES)}", code="AZD498", hint="name the files themselves")
    return found


def _asset(path: Path, read: Any) -> Asset:
    kind: Literal["component", "environment"] = "environment" if isinstance(read, Environment) else "component"
    if not read.name:
        raise UserError(f"{path} has no name", code="AZD498", hint=f"a published {kind} needs `name:`")
    return Asset(kind, read.name, of_asset(read)[:DIGITS], path)


def _needed(components: dict[Path, Asset], read: dict[Path, Any], known: dict[Path, Asset]) -> list[Asset]:
    """The environments of components that lie in files of their own and were not named."""
    more: dict[Path, Asset] = {}
    for path in components:
        environment: Any = getattr(read[path], "environment", None)
        file = environment_file(environment)
        if file and file not in known and environment.name:
            more[file] = _asset(file, environment)
    return list(more.values())


def environment_file(environment: Any) -> Path | None:
    """The file that an environment was read from; None for one that is written in place or only referred to."""
    if not isinstance(environment, Environment):
        return None
    source = environment.where.source.file
    path = Path(source).resolve()
    return path if path.name.startswith("environment.") and path.is_file() else None


def _with_environment(asset: Asset, references: dict[Path, str]) -> Asset:
    if asset.kind == "environment":
        return asset
    read, _ = aml.examine(asset.path)
    file = environment_file(getattr(read, "environment", None))
    return replace(asset, environment=references.get(file)) if file else asset
