"""Azure Resource Manager's routes for Azure Machine Learning: one module per kind of resource."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import assets, computes, datastores, jobs, metadata, workspaces
from .common import Settings

if TYPE_CHECKING:
    from ..workspace import Workspace

__all__ = ["Settings", "install"]


def install(workspace: Workspace) -> None:
    """Add every route of ARM to a workspace."""
    for module in (metadata, workspaces, computes, datastores, assets, jobs):
        module.install(workspace)
