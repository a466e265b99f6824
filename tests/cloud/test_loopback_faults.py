"""Faults, tokens and the record of the workspace on loopback."""

from __future__ import annotations

import base64
import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
import requests
from loopback import Workspace
from small_project import put


def test_faults_strike_as_often_and_where_they_are_asked_to(workspace: Workspace) -> None:
    fault = workspace.fail("GET {ws}/computes/{name}", status=503, times=2)
    workspace.client().compute.get("cpu-cluster")
    assert fault.hits == 2
    assert [one.status for one in workspace.requests.find("GET", "{ws}/computes/{name}")] == [503, 503, 200]

    later = workspace.fail("GET {ws}/computes*", status=403, after=1)
    client = workspace.client()
    client.compute.get("cpu-cluster")
    with pytest.raises(Exception, match="AuthorizationFailed"):
        client.compute.get("cpu-cluster")
    assert (later.seen, later.hits) == (2, 1)


def test_a_throttled_request_says_when_to_come_back(workspace: Workspace) -> None:
    workspace.fail("GET {ws}/computes/{name}", status=429, times=1, headers={"Retry-After": "1"})
    assert put(workspace, "computes/cpu-cluster", None, method="GET").headers["Retry-After"] == "1"
    assert put(workspace, "computes/cpu-cluster", None, method="GET").status_code == 200


@pytest.mark.parametrize(("cut", "stored"), [("before", False), ("after", True), ("body", True)])
def test_a_cut_connection_leaves_what_the_service_had_done(workspace: Workspace, cut: str, stored: bool) -> None:
    fault = workspace.fail("PUT {ws}/data/{name}/versions/{version}", cut=cut, times=1)
    body = {"properties": {"dataType": "uri_file", "dataUri": "azureml://datastores/d/paths/x"}}
    with pytest.raises(requests.RequestException):
        put(workspace, "data/x/versions/1", body)
    assert ("x/1" in workspace.store["data"]) is stored
    assert fault.hits == 1
    assert workspace.requests[-1].status == 0
    assert put(workspace, "data/x/versions/1", body).status_code == (200 if stored else 201)


def test_blob_faults_speak_as_blob_storage_does(workspace: Workspace) -> None:
    workspace.fail("PUT {blobs}/*", status=503, code="ServerBusy")
    url = f"{workspace.blobs.container_url('azureml-blobstore')}/x?{workspace.blobs.sas()}"
    answer = requests.put(url, b"x", verify=str(workspace.ca), timeout=30)
    assert (answer.status_code, answer.headers["x-ms-error-code"]) == (503, "ServerBusy")


def test_expired_missing_and_foreign_tokens_are_refused(workspace: Workspace) -> None:
    def code(**headers: str) -> str:
        url = f"{workspace.url}{workspace.id}?api-version=2024-10-01-preview"
        answer = requests.get(url, headers=headers, verify=str(workspace.ca), timeout=30)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
        return str(answer.json()["error"]["code"])

    assert code() == "AuthenticationFailed"
    assert code(Authorization="Bearer made-up") == "InvalidAuthenticationToken"
    storage = workspace.tokens.give("https://storage.azure.com/.default")
    assert code(Authorization=f"Bearer {storage}") == "InvalidAuthenticationTokenAudience"
    good = workspace.tokens.give(f"{workspace.url}/.default")
    workspace.tokens.expire_all()
    assert code(Authorization=f"Bearer {good}") == "ExpiredAuthenticationToken"
    workspace.tokens.lifetime = -10
    old = workspace.tokens.give(f"{workspace.url}/.default")
    assert code(Authorization=f"Bearer {old}") == "ExpiredAuthenticationToken"


@pytest.mark.parametrize("way", ["secret", "federation", "managed", "device"])
def test_azure_identity_signs_in_at_the_real_endpoints(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    import azure.identity as identity

    options = {"disable_instance_discovery": True}
    names = {"tenant_id": workspace.tenant_id, "client_id": workspace.client_id}
    if way == "federation":
        for name, value in workspace.federation(tmp_path).items():
            monkeypatch.setenv(name, value)
        credential: Any = identity.WorkloadIdentityCredential(**options)
    elif way == "managed":
        monkeypatch.setenv("IDENTITY_ENDPOINT", workspace.managed()["IDENTITY_ENDPOINT"])
        monkeypatch.setenv("IDENTITY_HEADER", workspace.identity_header)
        credential = identity.ManagedIdentityCredential()
    elif way == "device":
        said: list[str] = []
        ask = lambda page, code, until: said.append(page)  # noqa: E731
        credential = identity.DeviceCodeCredential(**names, **options, prompt_callback=ask)
    else:
        credential = identity.ClientSecretCredential(**names, client_secret=workspace.client_secret, **options)
    token = credential.get_token("https://storage.azure.com/.default").token
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["aud"] == "https://storage.azure.com"
    assert claims["tid"] == workspace.tenant_id


def test_a_wrong_secret_and_an_unknown_subject_get_no_token(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import azure.identity as identity

    options = {"disable_instance_discovery": True}
    bad = identity.ClientSecretCredential(workspace.tenant_id, workspace.client_id, "wrong", **options)
    with pytest.raises(Exception, match="AADSTS7000215"):
        bad.get_token("https://ml.azure.com/.default")
    for name, value in workspace.federation(tmp_path).items():
        monkeypatch.setenv(name, value)
    workspace.federated_subjects.clear()
    with pytest.raises(Exception, match="AADSTS700213"):
        identity.WorkloadIdentityCredential(**options).get_token("https://ml.azure.com/.default")


def test_a_canary_is_seen_in_every_form_it_can_travel_in(workspace: Workspace) -> None:
    canary = "sk-canary+/=é 42"
    forms = [
        canary,
        urllib.parse.quote(canary, safe=""),
        *(base64.b64encode(b"x" * shift + canary.encode() + b"tail").decode() for shift in range(3)),
        base64.urlsafe_b64encode(canary.encode()).decode(),
        json.dumps(canary),
        canary.encode().hex(),
    ]
    url = f"{workspace.blobs.container_url('azureml-blobstore')}/x?{workspace.blobs.sas()}"
    for form in forms:
        workspace.requests.clear()
        requests.put(url, f"a{form}b".encode(), verify=str(workspace.ca), timeout=30)
        assert len(workspace.seen(canary)) == 1, form
    assert workspace.seen("sk-another") == []
    workspace.requests.clear()
    requests.get(url + "&q=" + urllib.parse.quote(canary), verify=str(workspace.ca), timeout=30)
    requests.get(url, headers={"x-note": "sk-plain-canary"}, verify=str(workspace.ca), timeout=30)
    assert (len(workspace.seen(canary)), len(workspace.seen("sk-plain-canary"))) == (1, 1)


def test_what_no_route_answers_is_an_error_of_arm(workspace: Workspace) -> None:
    answer = put(workspace, "unheard/of", {"a": 1})
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "InvalidResourceType")


def test_a_secret_of_key_vault_needs_a_token_of_key_vault(workspace: Workspace) -> None:
    workspace.vaults["loopback"]["teacher-key"] = "K-2"
    url = f"{workspace.url}/keyvault/loopback/secrets/teacher-key?api-version=7.4"
    token = workspace.tokens.give("https://vault.azure.net/.default")
    options: dict[str, Any] = {"verify": str(workspace.ca), "timeout": 10}
    assert requests.get(url, **options).status_code == 401
    assert requests.get(url, headers={"Authorization": f"Bearer {token}"}, **options).json()["value"] == "K-2"


def test_roles_and_permissions_are_told(workspace: Workspace) -> None:
    workspace.settings.not_actions = ["Microsoft.MachineLearningServices/workspaces/jobs/*"]
    told = put(workspace, "providers/Microsoft.Authorization/permissions", None, method="GET").json()["value"]
    assert told[0]["notActions"] == workspace.settings.not_actions
    roles = put(workspace, "providers/Microsoft.Authorization/roleAssignments", None, method="GET").json()["value"]
    assert {one["properties"]["scope"] for one in roles} == {workspace.id}


def test_large_bodies_are_recorded_on_disk_and_searched_too(workspace: Workspace) -> None:
    url = f"{workspace.blobs.container_url('azureml-blobstore')}/x?{workspace.blobs.sas()}"
    requests.put(url, b"x" * (2 << 20) + b"sk-large-canary", verify=str(workspace.ca), timeout=30)
    assert workspace.requests[-1].file is not None
    assert workspace.requests[-1].raw.endswith(b"sk-large-canary")
    assert len(workspace.seen("sk-large-canary")) == 1
    workspace.requests.clear()
    assert list((workspace.folder / "requests").iterdir()) == []


def test_latency_is_added_and_a_refused_token_is_said_as_such(workspace: Workspace) -> None:
    workspace.fail("GET {ws}/computes/{name}", delay=0.2, times=1)
    workspace.fail("GET {ws}/computes/{name}", status=401, times=1)
    began = time.monotonic()
    assert put(workspace, "computes/cpu-cluster", None, method="GET").status_code == 200
    assert time.monotonic() - began > 0.2
    answer = put(workspace, "computes/cpu-cluster", None, method="GET")
    assert (answer.status_code, answer.headers["WWW-Authenticate"][:7]) == (401, "Bearer ")


OTHER_PROCESS = """
import os, sys
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Data
from azure.identity import DefaultAzureCredential
names = [os.environ[name] for name in ("AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", "AZURE_ML_WORKSPACE")]
client = MLClient(DefaultAzureCredential(disable_instance_discovery=True), *names, enable_telemetry=False)
print(client.data.create_or_update(Data(name="rows", path=sys.argv[1], type="uri_file")).version)
"""


@pytest.mark.slow
def test_a_workspace_started_by_hand_serves_another_process(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    command = [sys.executable, "-m", "loopback", "--folder", str(tmp_path / "ws"), "--identity-storage", "--no-execute"]
    tests = Path(__file__).parents[1]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tests) as served:
        try:
            variables = _exports(served)
            child = [sys.executable, "-c", OTHER_PROCESS, str(tmp_path / "rows.jsonl")]
            done = subprocess.run(
                child, env=os.environ | variables, capture_output=True, text=True, timeout=60, check=False
            )
        finally:
            served.send_signal(signal.SIGINT)
        assert (done.returncode, done.stdout.strip()) == (0, "1"), done.stderr
        assert served.wait(10) == 0
    assert [one.read_text() for one in (tmp_path / "ws" / "blobs").rglob("rows.jsonl")] == ["{}\n"]


def _exports(served: subprocess.Popen[str]) -> dict[str, str]:
    """The variables that the workspace prints before it says that it serves."""
    assert served.stdout is not None
    lines = iter(served.stdout.readline, "")
    words = [shlex.split(line) for line in itertools.takewhile(lambda line: line.startswith("export "), lines)]
    return dict(word[1].split("=", 1) for word in words)
