"""The ways to log in, each with azure-identity's own credential against an authority on loopback."""

from __future__ import annotations

import io
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from loopback import Workspace
from submit_helpers import impatient

from azdistill.cloud.workspace.connect import Connection, Where, connect
from azdistill.cloud.workspace.errors import explain
from azdistill.errors import AzdistillError


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(tmp_path_factory.mktemp("workspace"), execute=False) as workspace:
        yield workspace


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ws: Workspace) -> None:
    """The cloud and workspace are known, and nothing says who is calling; no `az` is installed."""
    for name in list(os.environ):
        if name.startswith(("AZURE_", "AZUREML_", "ARM_", "IDENTITY_", "MSI_", "ACTIONS_")):
            monkeypatch.delenv(name)
    for name, value in ws.environment().items():
        if not name.startswith("AZURE_CLIENT"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))


def works(connection: Connection) -> bool:
    with explain("looking up the workspace"):
        return bool(connection.workspace["name"] == connection.workspace_name)


def test_the_default_takes_a_secret_of_the_environment(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_ID", ws.client_id)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", ws.client_secret)
    assert works(connect())


def test_a_wrong_secret_is_no_login_and_is_not_repeated(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_ID", ws.client_id)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "canary-of-a-secret")
    with pytest.raises(AzdistillError) as caught:
        works(connect())
    assert (caught.value.code, caught.value.exit_code) == ("AZD401", 3)
    assert "AADSTS7000215" in caught.value.message
    assert "az login" in caught.value.hint
    assert "canary" not in str(caught.value)


def test_nobody_logged_in_says_how_to(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without the probe of a virtual machine's identity, which waits for an address that does not answer here.
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "dev")
    with impatient(), pytest.raises(AzdistillError) as caught:
        works(connect())
    assert (caught.value.code, caught.value.exit_code) == ("AZD401", 3)
    assert "az login" in caught.value.hint


def test_the_azure_cli_is_asked_for_a_token_of_the_tenant(ws: Workspace, tmp_path: Path) -> None:
    token = ws.tokens.give(f"{ws.url}/.default")
    answer = {"accessToken": token, "expiresOn": "2099-01-01 00:00:00.000000", "expires_on": 4070908800}
    program = tmp_path / "az"
    program.write_text(f"#!/bin/sh\necho \"$@\" >> {tmp_path}/asked\necho '{json.dumps(answer)}'\n")
    program.chmod(0o755)
    assert works(connect(Where(auth="cli", tenant=ws.tenant_id)))
    assert f"--tenant {ws.tenant_id}" in (tmp_path / "asked").read_text()


def test_a_tenant_is_asked_by_the_default_credential_too(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_ID", ws.client_id)
    monkeypatch.setenv("AZURE_CLIENT_SECRET", ws.client_secret)
    monkeypatch.setenv("AZURE_TENANT_ID", "00000000-0000-0000-0000-000000000000")
    assert works(connect(Where(tenant=ws.tenant_id)))


def test_a_managed_identity(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IDENTITY_ENDPOINT", "IDENTITY_HEADER"):
        monkeypatch.setenv(name, ws.managed()[name])
    assert works(connect(Where(auth="msi")))


def test_oidc_with_a_token_in_a_file(ws: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in ws.federation(tmp_path).items():
        monkeypatch.setenv(name, value)
    assert works(connect(Where(auth="oidc")))


def test_oidc_in_github_actions_asks_for_a_token_of_the_job(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    federated = ws.federation(tmp_path)
    token = Path(federated.pop("AZURE_FEDERATED_TOKEN_FILE")).read_text()
    for name, value in federated.items():
        monkeypatch.setenv(name, value)
    with github(token) as (url, asked):
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", f"{url}/token?api-version=2.0")
        monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "bearer-of-the-job")
        assert works(connect(Where(auth="oidc")))
    ((path, bearer),) = set(asked)
    assert parse_qs(urlsplit(path).query) == {"audience": ["api://AzureADTokenExchange"], "api-version": ["2.0"]}
    assert bearer == "Bearer bearer-of-the-job"


@contextmanager
def github(token: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The endpoint that a job of GitHub Actions asks for its token; gives its address and what was asked."""
    asked: list[tuple[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization", "")))
            body = json.dumps({"value": token}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_device_code_is_shown_to_the_person(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr("sys.__stderr__", shown)
    assert works(connect(Where(auth="device", tenant=ws.tenant_id)))
    assert f"{ws.url}/device" in shown.getvalue()
    assert "enter the code" in shown.getvalue()
