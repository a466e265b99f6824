"""Workspaces on loopback for tests of work on Azure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from following_helpers import cloud, shared_cloud  # noqa: F401  (fixtures)
from loopback import Workspace
from small_project import write_project


@pytest.fixture
def make_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Workspace]]:
    """``make_workspace(identity_storage=True)``: a workspace that this process and its children are pointed at.

    Jobs are kept and not run unless ``execute=True``.
    """
    for name in list(os.environ):
        if name.startswith(("AZURE_", "AZUREML_", "ARM_", "IDENTITY_", "MSI_")):
            monkeypatch.delenv(name)
    with ExitStack() as stack:

        def make(folder: str = "azure", **options: Any) -> Workspace:
            workspace = stack.enter_context(Workspace(tmp_path / folder, **{"execute": False, **options}))
            for name, value in workspace.environment().items():
                monkeypatch.setenv(name, value)
            return workspace

        yield make


@pytest.fixture
def workspace(make_workspace: Callable[..., Workspace]) -> Workspace:
    """A workspace that keeps jobs and does not run them."""
    return make_workspace()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a pipeline of two steps."""
    return write_project(tmp_path / "project")
