"""Running what is submitted: jobs through a local runner, run history, MLflow, schedules on a clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..workspace import Workspace


def install(workspace: Workspace) -> None:
    """Add routes to ``workspace.routes`` and ask for events with ``workspace.on(event, callback)``.

    Events: ``start()`` (the server answers), ``close()``; ``job_put(name, resource)``, ``job_changed(name, resource)``,
    ``job_cancel(name)``; ``schedule_put(name, resource)``, ``schedule_delete(name)``, ``schedule_trigger(name, body)``.
    """
