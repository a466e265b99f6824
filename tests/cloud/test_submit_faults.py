"""A service that refuses, stalls or goes away at any step of a submit, and a submit that is killed.

Whatever happened, the error is clear, the exit code is right, and the next submit succeeds as if nothing had been.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback import Workspace
from submit_helpers import connection_to, impatient, make_project

from azdistill.cloud.submit.plan import plan_submission
from azdistill.cloud.submit.prepare import prepare
from azdistill.cloud.submit.submit import submit
from azdistill.errors import AzdistillError

#: They start real models or go through a whole submit many times over.
pytestmark = pytest.mark.slow

#: Every request of a submit, by route: which of them may be answered by "not found" without harm.
ROUTES = {
    "workspace": "GET {ws}",
    "compute": "GET {ws}/computes/{name}",
    "earlier runs": "GET {ws}/jobs",
    "datastore": "GET {ws}/datastores/{name}",
    "datastore secrets": "POST {ws}/datastores/{name}/listSecrets",
    "environment": "PUT {ws}/environments/{name}/versions/{version}",
    "code lookup": "GET {ws}/codes/{name}/versions",
    "pending upload": "POST {ws}/codes/{name}/versions/{version}/startPendingUpload",
    "code": "PUT {ws}/codes/{name}/versions/{version}",
    "component": "PUT {ws}/components/{name}/versions/{version}",
    "blob": "PUT /blob/*",
    "job": "PUT {ws}/jobs/{name}",
}
CODES = {401: "AZD402", 403: "AZD403", 404: "AZD404", 409: "AZD405", 429: "AZD406", 500: "AZD407", 503: "AZD407"}


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(tmp_path_factory.mktemp("workspace"), execute=False) as workspace:
        yield workspace


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = make_project(tmp_path)
    head, _, _ = file.read_text().partition("  second:")
    file.write_text(head.replace("outputs:\n  counted: {type: uri_file}\n", ""))
    for name in ("rows.jsonl", "component/sub/data.txt"):
        # Another content each time, so that everything is uploaded.
        (tmp_path / name).write_text(f'{{"test": "{tmp_path}"}}\n')
    component = tmp_path / "component" / "component.yml"
    component.write_text(component.read_text().replace("name: count_rows", f"name: count_{abs(hash(tmp_path))}"))
    monkeypatch.setenv("AZDISTILL_HOME", str(tmp_path / "state"))
    return file


def whole(ws: Workspace, file: Path) -> str:
    """A submit from the plan to the job, as the command line does it."""
    connection = connection_to(ws)
    prepared = prepare(file)
    plan = plan_submission(connection, prepared)
    plan.raise_for_problems()
    return submit(connection, prepared).name


def under(ws: Workspace, project: Path, route: str, **how: Any) -> AzdistillError | None:
    """The error of a submit under a fault, which leaves no job; None where it got over the fault."""
    jobs = set(ws.store["jobs"])
    fault = ws.fail(ROUTES[route], **how)
    try:
        whole(ws, project)
    except AzdistillError as error:
        assert set(ws.store["jobs"]) == jobs, "a submit that fails leaves no job"
        return error
    finally:
        fault.times = 0
        assert fault.hits, "the fault was never met"
    return None


@pytest.fixture
def disturbed(ws: Workspace, project: Path) -> Iterator[Callable[..., AzdistillError | None]]:
    """Submits under a fault and gives the error; in the end a submit without one has to succeed."""
    with ws.environ(), impatient():
        yield lambda route, **how: under(ws, project, route, **how)
        assert whole(ws, project) in ws.store["jobs"]
    assert ws.errors == []


def test_every_request_of_a_submit_is_among_the_routes(ws: Workspace, project: Path) -> None:
    seen = len(ws.requests)
    with ws.environ():
        whole(ws, project)
    met = {one.route for one in ws.requests[seen:] if one.route.partition(" ")[2].startswith("{ws}")}
    assert met <= {*ROUTES.values(), "GET {ws}/datastores/{name}", "GET {ws}/jobs/{name}"}
    assert {route for route in ROUTES.values() if "/blob/" not in route} <= met


@pytest.mark.parametrize("route", ROUTES)
def test_refusals_that_stay(disturbed: Any, route: str) -> None:
    for status in (401, 403, 500):
        error = disturbed(route, status=status)
        if route == "datastore secrets":
            # The SDK then writes blobs with the caller's own token.
            assert error is None
        else:
            assert (error.code, error.exit_code) == (CODES[status], 4), error


@pytest.mark.parametrize(("route", "status"), [("job", 404), ("component", 404), ("job", 409), ("code", 409)])
def test_other_refusals_that_stay(disturbed: Any, route: str, status: int) -> None:
    error = disturbed(route, status=status)
    assert (error.code, error.exit_code) == (CODES[status], 4), error


@pytest.mark.parametrize("route", ROUTES)
def test_a_busy_service_is_asked_again(ws: Workspace, project: Path, route: str) -> None:
    with ws.environ(), impatient():
        assert under(ws, project, route, status=503, times=1, headers={"Retry-After": "1"}) is None
        # What was sent is there now: something new, so that the route is met once more.
        (project.parent / "component" / "sub" / "data.txt").write_text("changed")
        (project.parent / "rows.jsonl").write_text(f"changed {project}\n")
        assert under(ws, project, route, status=429, times=1, headers={"Retry-After": "1"}) is None


@pytest.mark.parametrize("cut", ["before", "after", "body"])
@pytest.mark.parametrize("route", ["workspace", "component", "blob", "job"])
def test_a_connection_that_is_cut_once(disturbed: Any, route: str, cut: str) -> None:
    error = disturbed(route, cut=cut, times=1)
    # While planning, what is cut within an answer is not asked again.
    assert error is None or (route, cut, error.code, error.exit_code) == ("workspace", "body", "AZD408", 4)


@pytest.mark.parametrize("route", ROUTES)
def test_a_connection_that_is_cut_for_good(disturbed: Any, route: str) -> None:
    error = disturbed(route, cut="before")
    assert (error.code, error.exit_code) == ("AZD408", 4), error


def test_a_job_whose_answer_was_lost_counts_as_submitted(ws: Workspace, project: Path) -> None:
    fault = ws.fail(ROUTES["job"], cut="after")
    with ws.environ(), impatient():
        name = submit(connection_to(ws), prepare(project)).name
    fault.times = 0
    assert fault.hits > 1
    assert name in ws.store["jobs"]


def test_an_expired_token_is_told_as_such(ws: Workspace, project: Path) -> None:
    with ws.environ(), impatient():
        connection = connection_to(ws)
        prepared = prepare(project)
        plan_submission(connection, prepared)
        lifetime, ws.tokens.lifetime = ws.tokens.lifetime, -60
        ws.tokens.expire_all()
        try:
            with pytest.raises(AzdistillError) as caught:
                submit(connection, prepared)
        finally:
            ws.tokens.lifetime = lifetime
    assert (caught.value.code, caught.value.exit_code) == ("AZD402", 4)
    assert "az login" in caught.value.hint


@pytest.mark.parametrize(
    "moment",
    [
        "GET {ws}/computes/{name}",
        "PUT {ws}/environments/{name}/versions/{version}",
        "PUT /blob/*",
        "PUT {ws}/codes/{name}/versions/{version}",
        "PUT {ws}/jobs/{name}",
    ],
)
def test_a_submit_that_is_killed_leaves_nothing_that_trips_the_next(ws: Workspace, project: Path, moment: str) -> None:
    jobs = set(ws.store["jobs"])
    fault = ws.fail(moment, delay=30, times=1)
    command = [sys.executable, "-m", "azdistill", "submit", str(project), "--yes"]
    process = subprocess.Popen(
        command, env={**os.environ, **ws.environment()}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 60
        while not fault.hits and time.monotonic() < until:
            time.sleep(0.02)
        assert fault.hits
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        fault.times = 0
    with ws.environ(), impatient():
        name = whole(ws, project)
    assert name in set(ws.store["jobs"]) - jobs
