"""``MLClient``: azure-ai-ml's own client with distillation on top, or the same on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from azdistill.client.local import LocalJobs, LocalModels, needs_workspace
from azdistill.errors import UserError
from azdistill.local import Home


class MLClient:
    """A client as people write it from memory.

    ``MLClient(credential, subscription_id, resource_group_name, workspace_name)`` and ``MLClient.from_config()`` take
    what azure-ai-ml's take, and ``MLClient.local(folder)`` works on this machine. ``jobs`` also takes a
    :class:`DistillationJob`, ``models`` also evaluates; everything else is azure-ai-ml's own client, :attr:`azure`.
    """

    def __init__(
        self,
        credential: Any = None,
        subscription_id: str | None = None,
        resource_group_name: str | None = None,
        workspace_name: str | None = None,
        registry_name: str | None = None,
        **kwargs: Any,
    ) -> None:
        from azdistill.client.workspace import Workspace

        names = (subscription_id, resource_group_name, workspace_name, registry_name)
        self._become_workspace(Workspace.of(credential, *names, **kwargs))

    @classmethod
    def from_config(
        cls, credential: Any = None, *, path: str | Path | None = None, file_name: str | None = None, **kwargs: Any
    ) -> MLClient:
        """The workspace of config.json (in ``path`` or above it), or of the environment.

        Without a ``credential`` the login of the Azure CLI, an environment's or a managed identity is used.
        """
        from azdistill.client.workspace import Workspace

        client = cls.__new__(cls)
        client._become_workspace(Workspace.from_config(credential, path, file_name, **kwargs))
        return client

    @classmethod
    def local(cls, folder: str | Path = ".", *, tracking: bool = True) -> MLClient:
        """A client whose workspace is ``folder`` on this machine: runs and models are kept in ``folder/.azdistill``.

        ``tracking`` logs runs to MLflow: in ``folder/mlflow.db``, or where ``MLFLOW_TRACKING_URI`` says.
        """
        place = Path(folder).expanduser().absolute()
        if place.exists() and not place.is_dir():
            raise UserError(f"{folder} is a file", code="AZD494", hint="MLClient.local takes a folder")
        client = cls.__new__(cls)
        jobs = LocalJobs(Home(place / ".azdistill"), tracking)
        client._become(None, jobs, LocalModels(jobs))
        return client

    def _become_workspace(self, workspace: Any) -> None:
        self._become(workspace, workspace.jobs, workspace.models)

    def _become(self, workspace: Any, jobs: Any, models: Any) -> None:
        self._workspace, self.jobs, self.models = workspace, jobs, models

    @property
    def azure(self) -> Any:
        """The ``azure.ai.ml.MLClient`` inside. UserError AZD497 for a client on this machine."""
        if self._workspace is None:
            raise needs_workspace("ml_client.azure", "use MLClient.from_config() or MLClient(credential, ...)")
        return self._workspace.ml_client

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"'MLClient' object has no attribute '{name}'")
        if self._workspace is None:
            raise needs_workspace(f"ml_client.{name}", "use MLClient.from_config() or MLClient(credential, ...)")
        return getattr(self.azure, name)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(dir(self.azure) if self._workspace is not None else ())]
