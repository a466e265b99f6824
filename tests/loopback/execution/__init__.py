"""Execution of what a workspace is sent: jobs run, schedules fire, run history and MLflow tell of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import artifacts, history, registry, tracking
from .clock import Clock
from .jobs import Jobs
from .schedules import Schedules

if TYPE_CHECKING:
    from ..workspace import Workspace

__all__ = ["Clock", "Jobs", "Schedules", "install"]


def install(workspace: Workspace) -> None:
    """Add routes to ``workspace.routes`` and ask for events with ``workspace.on(event, callback)``.

    ``workspace.jobs``, ``workspace.schedules`` and ``workspace.clock`` are what tests ask. Events: ``start()`` (the
    server answers), ``close()``; ``job_put(name, resource)``, ``job_changed(name, resource)``, ``job_cancel(name)``;
    ``schedule_put(name, resource)``, ``schedule_deleted(name)``, ``schedule_trigger(name, time)``, which answers the
    name of a job.
    """
    jobs = workspace.jobs = Jobs(workspace)
    workspace.schedules = Schedules(workspace, jobs)
    for part in (history, artifacts, tracking):
        part.install(workspace, jobs)
    registry.install(workspace)
    workspace.on("job_put", jobs.submit)
    workspace.on("job_changed", jobs.changed)
    workspace.on("job_cancel", jobs.cancel)
    workspace.on("close", jobs.close)
