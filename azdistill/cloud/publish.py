"""Components and environments as assets of a workspace or registry. A version is the hash of what it holds.

So publishing again what has not changed does nothing, and a version never means two things.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from azdistill import aml, assets
from azdistill.aml.models import CommandComponent, Environment, PipelineComponent
from azdistill.cloud.submit.fingerprint import of_asset
from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.cloud.workspace.quiet import hushed
from azdistill.errors import Problem, SpecError, UserError

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
    #: The file that a component's environment was read from, and how the target names that environment.
    environment_file: Path | None = None
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
        from azure.ai.ml import load_component, load_environment

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
    models: dict[Path, Any] = {}
    problems: list[Problem] = []
    for path in dict.fromkeys(file.resolve() for folder in folders for file in _files(folder)):
        model, wrong = aml.examine(path)
        problems += [problem for problem in wrong if problem.severity == "error"]
        if isinstance(model, _KINDS):
            models[path] = model
        elif not wrong:
            hint = "publish takes components and environments"
            raise UserError(f"{path} is neither a component nor an environment", code="AZD498", hint=hint)
    if problems:
        raise SpecError(problems)
    environments = {path: _asset(path, each) for path, each in models.items() if isinstance(each, Environment)}
    components = {path: _asset(path, each) for path, each in models.items() if not isinstance(each, Environment)}
    # Environments of components that lie in files of their own and were not named.
    for path, component in components.items():
        file, environment = component.environment_file, getattr(models[path], "environment", None)
        if file and file not in environments and isinstance(environment, Environment) and environment.name:
            environments[file] = _asset(file, environment)
    return [*environments.values(), *components.values()]


def publish(
    target: Target,
    selection: Sequence[Asset],
    *,
    dry_run: bool = False,
    on_asset: Callable[[Asset], None] = lambda _: None,
) -> list[Asset]:
    """Publish what the target does not have; with ``dry_run`` only say so. ``on_asset`` hears of each as it is done."""
    environments = (asset for asset in selection if asset.kind == "environment")
    references: dict[Path | None, str] = {asset.path: target.reference(asset) for asset in environments}
    outcomes = []
    for asset in selection:
        state: Literal["unchanged", "new", "published"] = "new" if dry_run else "published"
        if target.has(asset):
            state = "unchanged"
        elif not dry_run:
            target.put(replace(asset, environment=references.get(asset.environment_file)))
        outcomes.append(replace(asset, state=state))
        on_asset(outcomes[-1])
    return outcomes


def _files(path: Path) -> Iterable[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"there is no {path}", code="AZD498")
    files = sorted(file for name in _FILES for file in path.rglob(name))
    if not files:
        raise UserError(f"{path} holds no {', '.join(_FILES)}", code="AZD498", hint="name the files themselves")
    return files


def _asset(path: Path, model: Any) -> Asset:
    kind: Literal["component", "environment"] = "environment" if isinstance(model, Environment) else "component"
    if not model.name:
        raise UserError(f"{path} has no name", code="AZD498", hint=f"a published {kind} needs `name:`")
    environment = getattr(model, "environment", None)
    # The file that an environment was read from; None for one that is written in place or only referred to.
    file = Path(environment.where.source.file).resolve() if isinstance(environment, Environment) else None
    file = file if file and file.name.startswith("environment.") and file.is_file() else None
    return Asset(kind, model.name, of_asset(model)[:DIGITS], path, file)
