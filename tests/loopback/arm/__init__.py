"""Azure Resource Manager's routes for Azure Machine Learning: one module per kind of resource."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import access, assets, datastores, jobs, metadata, registries, workspaces
from .common import Settings
from .computes import Computes, Quota, add_compute
from .connections import Connections
from .endpoints import OnlineDeployments, OnlineEndpoints, ServerlessEndpoints
from .operations import Operations
from .schedules import Schedules

if TYPE_CHECKING:
    from ..workspace import Workspace

__all__ = ["Settings", "add_compute", "install"]


def install(workspace: Workspace) -> None:
    """Add every route of ARM to a workspace, and what a new workspace has."""
    workspace.operations, workspace.quota = Operations(workspace), Quota(workspace)
    for module in (metadata, workspaces, access, datastores, assets, jobs, registries):
        module.install(workspace)
    for collection in (Computes, Connections, OnlineEndpoints, OnlineDeployments, ServerlessEndpoints, Schedules):
        collection(workspace)
    add_compute(workspace, "cpu-cluster")
