"""A job as it goes on: its state now, canceling it, and waiting for its end whatever the service does meanwhile."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from azdistill.cloud.jobs import recent
from azdistill.cloud.jobs.job import ENDED, Job, JobStep, is_group, job_from, step_from
from azdistill.cloud.jobs.logs import LogTail
from azdistill.cloud.jobs.run_history import JOBS_VERSION, History, job_path
from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.errors import AzdistillError, ServiceError

__all__ = ["FollowListener", "Job", "JobStep", "cancel", "follow", "get_job"]

_CANCEL_VERSION = "2023-04-01-preview"
#: Seconds between two looks: at first, at most, and how fast it grows while nothing changes.
_FIRST, _MOST, _GROWTH = 1.0, 15.0, 1.3
#: Seconds of a service that does not answer before it is said, and before waiting ends.
_REPORT_AFTER, _GIVE_UP_AFTER = 10.0, 900.0
#: A service says these while it is busy or changes hands; what was asked is asked again.
_PASSING = ("AZD402", "AZD406", "AZD407", "AZD408")
#: Refused credentials are asked for anew so many times: a token may just have run out.
_REFUSALS = 3
_DEEPEST = 8

_T = TypeVar("_T")


class FollowListener:
    """Told what happens to a job; does nothing by itself."""

    def started(self, job: Job) -> None:
        """The first look at the job."""

    def step_changed(self, step: JobStep) -> None:
        """A step has got another status."""

    def line(self, step: str, text: str) -> None:
        """A step printed a line (redacted, without control sequences)."""

    def trouble(self, text: str) -> None:
        """The service does not answer; it is asked again."""

    def ended(self, job: Job) -> None:
        """Nothing will change any more."""


def get_job(connection: Connection, name: str, history: History | None = None) -> Job:
    """The job ``name`` with its steps. UserError AZD430 where the workspace has none of that name."""
    from azure.core.exceptions import ResourceNotFoundError

    history = history or History(connection)
    with explain(f"looking up the run {name}"):
        arm = _find(connection, name)
        details: dict[str, Any] = {}
        # A job that was taken a moment ago has no run yet.
        with suppress(ResourceNotFoundError):
            details = history.details(name)
        nodes = (arm.get("properties") or {}).get("jobs") or {}
        steps = _children(history, name, _names(nodes), "", 0) if details else {}
    return job_from(arm, details, steps, connection.studio_url(name))


def cancel(connection: Connection, name: str) -> str | None:
    """Ask the run ``name`` to end: it does so after a while. The status of one that had ended already, else None.

    UserError AZD430 where the workspace has no such run.
    """
    from azure.core.exceptions import HttpResponseError

    with explain(f"canceling the run {name}"):
        status = _status(connection, name)
        if status in ENDED:
            return status
        try:
            path = f"{job_path(connection, name)}/cancel"
            connection.rest.call("POST", path, api_version=_CANCEL_VERSION)
        except HttpResponseError as error:
            # It may have ended between the two requests, which is what was wanted.
            if error.status_code in (400, 409) and (status := _status(connection, name)) in ENDED:
                return status
            raise
    return None


def _status(connection: Connection, name: str) -> str:
    return str(_find(connection, name)["properties"].get("status") or "")


def _find(connection: Connection, name: str) -> dict[str, Any]:
    """The job as ARM holds it. UserError AZD430 where the workspace has none of that name."""
    job: dict[str, Any] | None = connection.rest.find(job_path(connection, name), api_version=JOBS_VERSION)
    if job is None:
        # A workspace that does not exist answers like one without the job: this tells them apart.
        _ = connection.workspace
        raise recent.unknown(connection, name)
    return job


def follow(
    connection: Connection,
    name: str,
    listener: FollowListener | None = None,
    *,
    logs: bool = True,
    steps: Sequence[str] | None = None,
    timeout: float | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> Job:
    """Wait until the job ``name`` has ended, telling ``listener``; the job as it then is.

    Lines of logs are told of ``steps`` only, where they are named; never without ``logs``.

    Answers of 429 and 5xx, cut connections and expired tokens are waited out; ServiceError AZD442 after 15 minutes
    without an answer, or when ``timeout`` seconds have passed (AZD443).
    """
    listener = listener or FollowListener()
    history = History(connection)
    tail = LogTail(history, steps) if logs else None
    began, wait = time.monotonic(), _FIRST
    job = _patiently(lambda: get_job(connection, name, history), listener, sleep)
    listener.started(job)
    reported: Mapping[str, JobStep] = {}
    while True:
        changed = _tell(listener, reported, job)
        reported = {**reported, **job.steps}
        lines = _patiently(partial(_read, tail, job, listener), listener, sleep) if tail else 0
        if job.has_ended:
            listener.ended(job)
            return job
        if timeout is not None and time.monotonic() - began > timeout:
            hint = f"it goes on without us: azdistill status {name} --wait"
            raise ServiceError(f"the run {name} has not ended after {timeout:g} s", code="AZD443", hint=hint)
        wait = _FIRST if changed or lines else min(wait * _GROWTH, _MOST)
        # Several who wait do not ask in step.
        sleep(wait * random.uniform(0.8, 1.2))
        job = _patiently(lambda: get_job(connection, name, history), listener, sleep)


def _patiently(ask: Callable[[], _T], listener: FollowListener, sleep: Callable[[float], None]) -> _T:
    """What ``ask`` answers, however often it has to be asked while the service is in trouble."""
    since, wait, refusals, is_reported = time.monotonic(), _FIRST, 0, False
    while True:
        try:
            return ask()
        except AzdistillError as error:
            refusals += error.code == "AZD402"
            silent = time.monotonic() - since
            if error.code not in _PASSING or refusals > _REFUSALS:
                raise
            if silent > _GIVE_UP_AFTER:
                raise ServiceError(f"given up: {error.message}", code="AZD442", hint=error.hint) from error
            if silent > _REPORT_AFTER and not is_reported:
                is_reported = True
                listener.trouble(error.message)
        sleep(wait * random.uniform(0.8, 1.2))
        wait = min(wait * 2, _MOST)


def _tell(listener: FollowListener, reported: Mapping[str, JobStep], job: Job) -> bool:
    changed = False
    for name, step in job.steps.items():
        before = reported.get(name)
        if (before.status, before.reused) != (step.status, step.reused) if before else step.run_id:
            changed = True
            listener.step_changed(step)
    return changed


def _read(tail: LogTail, job: Job, listener: FollowListener) -> int:
    """Pass on what the steps have printed since the last look."""
    with explain("reading logs"):
        return tail.read(job, listener.line)


def _names(nodes: Mapping[str, Any]) -> dict[str, str]:
    """Display name -> name of the node: a run is called by the former, and everything else by the latter."""
    titles = {
        str((node or {}).get("display_name") or (node or {}).get("displayName") or name): name
        for name, node in nodes.items()
    }
    return {**titles, **{name: name for name in nodes}}


def _children(history: History, run_id: str, names: Mapping[str, str], prefix: str, depth: int) -> dict[str, JobStep]:
    steps: dict[str, JobStep] = {}
    for run in history.children(run_id):
        title = str(run.get("displayName") or run.get("name") or run.get("runId"))
        # A node that was tried again has several runs: the last counts.
        name = prefix + names.get(title, title)
        # The list of children tells neither errors nor all times.
        step = step_from(name, run, history.details(str(run["runId"])) if run.get("status") == "Failed" else None)
        steps[name] = step
        if is_group(run) and depth < _DEEPEST:
            steps |= _children(history, step.run_with_results, {}, f"{name}.", depth + 1)
    return steps
