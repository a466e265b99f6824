"""The step that removes expired endpoints, against a workspace on loopback."""

from __future__ import annotations

import datetime
import json

import pytest
from loopback import Workspace

NOW = datetime.datetime.now(datetime.UTC)
PAST, FUTURE = (f"{NOW + datetime.timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}" for hours in (-1, 5))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with Workspace(tmp_path_factory.mktemp("reap"), execute=False) as ws:
        yield ws


@pytest.fixture
def ws(served):
    yield served
    served.faults.clear()
    served.requests.clear()
    for kind in ("onlineEndpoints", "onlineDeployments", "serverlessEndpoints", "connections"):
        served.store[kind].clear()


def endpoint(ws, name, expires, *, kind="onlineEndpoints", ours=True, deployed_by=("us",), link=True):
    tags = {"azdistill.endpoint": name, "azdistill.expires": expires} if ours else {"team": "x"}
    ws.store.put(kind, name, {"location": "x", "tags": tags, "properties": {"authMode": "Key", "traffic": {}}})
    for who in deployed_by if kind == "onlineEndpoints" else ():
        body = {"location": "x", "tags": tags if who == "us" else {}, "properties": {}}
        ws.store.put(
            "onlineDeployments", f"{name}/{who}", body, path=f"onlineEndpoints/{name}/deployments/{who}", shown_as=who
        )
    if link and ours:
        properties = {"authType": "ApiKey", "category": "ApiKey", "metadata": tags}
        ws.store.put("connections", f"azdistill-{name}", {"properties": properties})


@pytest.fixture
def reap(component, ws):
    def run(**inputs):
        variables = {**ws.environment(), "AZDISTILL_ARM_ENDPOINT": ws.url}
        result = component("reap_endpoints").run(inputs, env=variables)
        written = result.outputs["summary"].exists()
        return result, (json.loads(result.outputs["summary"].read_text())["endpoints"] if written else [])

    return run


def test_it_removes_what_is_over_with_its_connection(ws, reap):
    endpoint(ws, "old", PAST)
    endpoint(ws, "old-too", PAST, kind="serverlessEndpoints")
    endpoint(ws, "new", FUTURE)
    endpoint(ws, "odd", "some day")
    endpoint(ws, "theirs", PAST, ours=False)
    result, reaped = reap()
    assert result.returncode == 0, result.stderr
    assert [(one["name"], one["outcome"]) for one in reaped] == [("old", "removed"), ("old-too", "removed")]
    assert sorted(ws.store["onlineEndpoints"]) == ["new", "odd", "theirs"]
    assert sorted(ws.store["connections"]) == ["azdistill-new", "azdistill-odd"]
    assert sorted(ws.store["onlineDeployments"]) == ["new/us", "odd/us", "theirs/us"]
    assert not ws.store["serverlessEndpoints"]


def test_a_dry_run_removes_nothing(ws, reap):
    endpoint(ws, "old", PAST)
    result, reaped = reap(dry_run=True)
    assert (result.returncode, reaped[0]["outcome"]) == (0, "expired")
    assert not ws.requests.find("DELETE")
    assert list(ws.store["onlineEndpoints"]) == ["old"]


def test_nothing_to_do_is_well(ws, reap):
    result, reaped = reap()
    assert (result.returncode, reaped) == (0, [])
    assert "nothing has expired" in result.stderr


def test_what_somebody_else_deployed_to_stays_and_the_others_go(ws, reap):
    endpoint(ws, "old", PAST)
    endpoint(ws, "shared", PAST, deployed_by=("us", "them"))
    result, reaped = reap()
    assert result.returncode == 1
    assert [(one["name"], one["outcome"]) for one in reaped] == [("old", "removed"), ("shared", "failed")]
    assert "shared: somebody else deployed them to it" in result.stderr
    assert list(ws.store["onlineEndpoints"]) == ["shared"]
    assert list(ws.store["connections"]) == ["azdistill-shared"]


def test_a_connection_that_an_interrupted_removal_left_goes_too(ws, reap):
    endpoint(ws, "old", PAST)
    del ws.store["onlineEndpoints"]["old"]
    ws.store["onlineDeployments"].clear()
    result, reaped = reap()
    assert (result.returncode, reaped[0]["outcome"], ws.store["connections"]) == (0, "removed", {})


def test_a_busy_service_is_asked_again_and_a_refusal_is_told(ws, reap):
    endpoint(ws, "old", PAST)
    ws.fail("GET {ws}/connections", status=429, times=1, headers={"Retry-After": "0"})
    assert reap()[0].returncode == 0
    assert not ws.store["onlineEndpoints"]
    ws.fail("GET {ws}/onlineEndpoints", status=403)
    result, _ = reap()
    assert (result.returncode, "error[refused]" in result.stderr) == (77, True)


def test_outside_a_job_it_says_so(ws, component):
    result = component("reap_endpoints").run({})
    assert (result.returncode, "AZUREML_ARM_WORKSPACE_NAME" in result.stderr) == (78, True)
