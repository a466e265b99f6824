"""References to secrets: what resolves, what is refused, and that no value is shown."""

from __future__ import annotations

import sys
import threading
import types
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from urllib.error import HTTPError

import pytest
from common import secrets

WORKSPACE = {
    "AZUREML_ARM_SUBSCRIPTION": "sub",
    "AZUREML_ARM_RESOURCEGROUP": "group",
    "AZUREML_ARM_WORKSPACE_NAME": "work",
}


@pytest.fixture
def azure(monkeypatch):
    """Azure's services: a credential, and the answers of urlopen by address. Requests are kept."""
    requests = []
    answers = {}

    class Credential:
        def __init__(self, **options):
            self.options = options

        def get_token(self, scope):
            return types.SimpleNamespace(token=f"token-for-{scope}")

    def urlopen(request, timeout):
        requests.append(request)
        url = request.full_url.split("?")[0]
        if url not in answers:
            raise HTTPError(url, 403, "Forbidden", None, None)
        return BytesIO(answers[url])

    identity = types.ModuleType("azure.identity")
    identity.DefaultAzureCredential = Credential
    monkeypatch.setitem(sys.modules, "azure.identity", identity)
    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return types.SimpleNamespace(requests=requests, answers=answers, credential=Credential())


@pytest.mark.parametrize("reference", ["env:TEACHER_KEY", "${env:TEACHER_KEY}", " env:TEACHER_KEY "])
def test_a_variable_resolves_and_its_value_is_hidden_from_then_on(monkeypatch, reference):
    monkeypatch.setenv("TEACHER_KEY", "canary-4711")
    assert secrets.resolve(reference) == "canary-4711"
    assert secrets.redact("key canary-4711!") == "key ***!"


@pytest.mark.parametrize(
    ("value", "text", "shown"),
    [
        ("k", 'kept k, "k" top-k /k/ k.', 'kept ***, "***" top-k /k/ ***.'),
        ("EMPTY", "EMPTY_CACHE EMPTY", "EMPTY_CACHE ***"),
        ("x-1", "x-10 x-1", "x-10 ***"),
        ("$$", "a$$ $$ $$$", "a$$ *** $$$"),
        ("größe", "größer größe", "größer ***"),
        ("abcdef", "xabcdefx", "x***x"),
    ],
)
def test_a_short_value_is_hidden_as_a_whole_word_only(monkeypatch, value, text, shown):
    monkeypatch.setattr(secrets, "_values", set())
    monkeypatch.setenv("TEACHER_KEY", value)
    secrets.resolve("env:TEACHER_KEY")
    assert secrets.redact(text) == shown


def test_a_blank_value_of_a_vault_hides_nothing(azure, monkeypatch):
    monkeypatch.setattr(secrets, "_values", set())
    azure.answers["https://v.vault.azure.net/secrets/s"] = b'{"value": " "}'
    assert secrets.resolve("keyvault:v/s") == " "
    assert secrets.redact("a b") == "a b"


def test_a_variable_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("TEACHER_KEY", raising=False)
    with pytest.raises(secrets.SecretError, match="TEACHER_KEY is not set"):
        secrets.resolve("env:TEACHER_KEY")


@pytest.mark.parametrize("literal", ["sk-canary-123456", "env:", "keyvault:", "plain:abc-canary", ""])
def test_what_is_no_reference_is_refused_and_not_repeated(literal):
    with pytest.raises(secrets.SecretError) as caught:
        secrets.resolve(literal)
    assert "canary" not in str(caught.value)


def test_a_key_vault_is_asked_with_a_token_for_its_own_scope(azure):
    azure.answers["https://myvault.vault.azure.net/secrets/teacher"] = b'{"value": "canary-vault"}'
    assert secrets.resolve("keyvault:myvault/teacher") == "canary-vault"
    (request,) = azure.requests
    assert request.get_header("Authorization") == "Bearer token-for-https://vault.azure.net/.default"
    assert request.get_method() == "GET"


def test_a_key_vault_of_a_sovereign_cloud_is_given_by_its_host(azure):
    azure.answers["https://v.vault.usgovcloudapi.net/secrets/s"] = b'{"value": "canary-gov"}'
    assert secrets.resolve("keyvault:v.vault.usgovcloudapi.net/s") == "canary-gov"
    assert "vault.usgovcloudapi.net/.default" in azure.requests[0].get_header("Authorization")


def test_a_connection_is_asked_of_the_jobs_workspace(azure, monkeypatch):
    for name, value in WORKSPACE.items():
        monkeypatch.setenv(name, value)
    base = "https://management.azure.com/subscriptions/sub/resourceGroups/group/providers"
    address = f"{base}/Microsoft.MachineLearningServices/workspaces/work/connections/teacher/listsecrets"
    azure.answers[address] = b'{"properties": {"authType": "ApiKey", "credentials": {"key": "canary-conn"}}}'
    assert secrets.resolve("connection:teacher") == "canary-conn"
    assert azure.requests[0].get_method() == "POST"


def test_a_connection_outside_a_job_says_why_it_cannot_resolve(monkeypatch):
    for name in WORKSPACE:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(secrets.SecretError, match="inside an Azure ML job only"):
        secrets.resolve("connection:teacher")


def test_a_service_that_refuses_is_told_from_a_reference_that_is_wrong(azure):
    with pytest.raises(secrets.SecretError, match="403 Forbidden") as caught:
        secrets.resolve("keyvault:myvault/other")
    assert caught.value.refused
    with pytest.raises(secrets.SecretError) as caught:
        secrets.resolve("env:")
    assert not caught.value.refused


def test_entra_gives_a_token_that_is_hidden_too(azure):
    token = secrets.resolve("entra")
    assert token == f"token-for-{secrets.ENTRA_SCOPE}"
    assert secrets.redact(f"Bearer {token}") == "Bearer ***"


def test_a_connection_with_one_field_of_its_own_is_that_field(azure, monkeypatch):
    for name, value in WORKSPACE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AZDISTILL_ARM_ENDPOINT", "https://management.chinacloudapi.cn/")
    base = "https://management.chinacloudapi.cn/subscriptions/sub/resourceGroups/group/providers"
    address = f"{base}/Microsoft.MachineLearningServices/workspaces/work/connections/teacher/listsecrets"
    azure.answers[address] = (
        b'{"properties": {"authType": "CustomKeys", "credentials": {"keys": {"token": "canary-own"}}}}'
    )
    assert secrets.resolve("connection:teacher") == "canary-own"
    bearer = azure.requests[0].get_header("Authorization")
    assert bearer == "Bearer token-for-https://management.chinacloudapi.cn/.default"


def test_a_name_cannot_lead_elsewhere(azure, monkeypatch):
    for name, value in WORKSPACE.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(secrets.SecretError, match="403"):
        secrets.resolve("connection:../../other?x=")
    assert "/connections/..%2F..%2Fother%3Fx%3D/listsecrets?" in azure.requests[0].full_url


@pytest.mark.parametrize(
    ("variables", "address", "scope"),
    [
        (
            {"AZDISTILL_VAULT_ADDRESS": "https://{vault}.vault.azure.cn"},
            "https://mine.vault.azure.cn/secrets/s",
            "https://vault.azure.cn/.default",
        ),
        (
            {
                "AZDISTILL_VAULT_ADDRESS": "https://vaults.example/{vault}",
                "AZDISTILL_VAULT_SCOPE": "https://v/.default",
            },
            "https://vaults.example/mine/secrets/s",
            "https://v/.default",
        ),
    ],
)
def test_vaults_of_other_clouds_by_variables(azure, monkeypatch, variables, address, scope):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    azure.answers[address] = b'{"value": "canary-there"}'
    assert secrets.resolve("keyvault:mine/s") == "canary-there"
    assert azure.requests[0].get_header("Authorization") == f"Bearer token-for-{scope}"


def test_a_private_authority_is_not_looked_up_with_the_public_one(azure, monkeypatch):
    asked = []
    monkeypatch.setattr(
        sys.modules["azure.identity"],
        "DefaultAzureCredential",
        lambda **options: asked.append(options) or azure.credential,
    )
    for authority, known in (("https://login.microsoftonline.us", True), ("login.example.com", False), ("", True)):
        monkeypatch.setenv("AZURE_AUTHORITY_HOST", authority)
        secrets.resolve("entra")
        assert ("disable_instance_discovery" in asked[-1]) is not known


def test_a_job_with_the_users_identity_asks_for_the_users_token(monkeypatch):
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200 if len(asked) == 1 else 403)
            self.end_headers()
            self.wfile.write(b'{"access_token": "canary-of-the-user", "expires_on": "1"}')

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("OBO_ENDPOINT", f"http://127.0.0.1:{server.server_port}/obo")
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        assert secrets.resolve("entra") == "canary-of-the-user"
        with pytest.raises(secrets.SecretError, match="the user's identity gave none: 403") as caught:
            secrets.resolve("entra")
        server.shutdown()
    assert caught.value.refused
    assert asked[0] == "/obo?resource=https%3A%2F%2Fcognitiveservices.azure.com"
