"""Ends a run that goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from azdistill.cloud.jobs.job import ENDED
from azdistill.cloud.jobs.run_history import JOBS_VERSION
from azdistill.cloud.workspace.errors import explain
from azdistill.cloud.workspace.rest import part

if TYPE_CHECKING:
    from azdistill.cloud.workspace.connect import Connection

_CANCEL_VERSION = "2023-04-01-preview"


def cancel(connection: Connection, name: str) -> str | None:
    """Ask the run ``name`` to end: it does so after a while. The status of one that had ended already, else None.

    UserError AZD430 where the workspace has no such run.
    """
    from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

    from azdistill.cloud.jobs.recent import unknown

    job = f"{connection.workspace_id}/jobs/{part(name)}"
    with explain(f"canceling the run {name}"):
        try:
            status = _status(connection, job)
        except ResourceNotFoundError as error:
            _ = connection.workspace
            raise unknown(connection, name) from error
        if status in ENDED:
            return status
        try:
            connection.rest.call("POST", f"{job}/cancel", api_version=_CANCEL_VERSION)
        except HttpResponseError as error:
            # It may have ended between the two requests, which is what was wanted.
            if error.status_code in (400, 409) and (status := _status(connection, job)) in ENDED:
                return status
            raise
    return None


def _status(connection: Connection, job: str) -> str:
    return str(connection.rest.call("GET", job, api_version=JOBS_VERSION)["properties"].get("status") or "")
