"""Execution of what a workspace is sent: jobs run, schedules fire, run history and MLflow tell of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import artifacts, history, registry, tracking
from .jobs import Jobs

if TYPE_CHECKING:
    from ..workspace import Workspace

__all__ = ["Jobs", "install"]


def install(workspace: Workspace) -> None:
    """Add the routes of run history and MLflow, and run jobs when they are put.

    Events of the workspace: ``job_put(name, resource)``, ``job_changed(name, resource)``, ``job_cancel(name)``,
    ``schedule_put(name, resource)``, ``schedule_deleted(name)``, ``start()``, ``close()``.
    """
    jobs = Jobs(workspace)
    workspace.jobs = jobs
    for part in (history, artifacts, tracking):
        part.install(workspace, jobs)
    registry.install(workspace)
    workspace.on("job_put", lambda name, resource: jobs.submit(resource))
    workspace.on("job_changed", lambda name, resource: jobs.changed(name, resource))
    workspace.on("job_cancel", jobs.cancel)
    workspace.on("close", jobs.close)
