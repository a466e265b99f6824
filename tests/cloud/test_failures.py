"""What Azure's libraries raise, in words that say what was tried, what was answered and what to do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from loopback import Workspace
from submit_helpers import connection_to, impatient

from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain, translate
from azdistill.errors import AzdistillError, UserError
from azdistill.redact import forget, register

COMPUTE = "GET {ws}/computes/{name}"


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(tmp_path_factory.mktemp("workspace"), execute=False) as workspace:
        yield workspace


@pytest.fixture
def connection(ws: Workspace) -> Iterator[Connection]:
    with ws.environ(), impatient():
        yield connection_to(ws)


def failing(ws: Workspace, connection: Connection, **how: object) -> AzdistillError:
    fault = ws.fail(COMPUTE, **how)
    try:
        with pytest.raises(AzdistillError) as caught, explain("looking up the compute gpu"):
            connection.rest.call("GET", f"{connection.workspace_id}/computes/cpu-cluster")
    finally:
        fault.times = 0
    assert fault.hits
    return caught.value


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (400, "AZD409", "Azure refused (400)"),
        (401, "AZD402", "refused the credentials (401)"),
        (403, "AZD403", "not permitted (403)"),
        (404, "AZD404", "not found (404)"),
        (409, "AZD405", "a conflict (409)"),
        (429, "AZD406", "Azure asks for patience (429)"),
        (500, "AZD407", "the service failed (500)"),
        (503, "AZD407", "the service failed (503)"),
    ],
)
def test_an_answer_of_the_service(ws: Workspace, connection: Connection, status: int, code: str, words: str) -> None:
    error = failing(ws, connection, status=status, message="Something of theirs.\nOn two lines.", code="TheirCode")
    assert (error.code, error.exit_code) == (code, 4)
    assert words in error.message
    assert "while looking up the compute gpu" in error.message
    assert "Something of theirs. On two lines. (TheirCode)" in error.message


@pytest.mark.parametrize("cut", ["before", "body"])
def test_a_cut_connection(ws: Workspace, connection: Connection, cut: str) -> None:
    error = failing(ws, connection, cut=cut)
    assert (error.code, error.exit_code) == ("AZD408", 4)
    assert "no answer while looking up the compute gpu" in error.message
    assert "HTTPS_PROXY" in error.hint


def test_the_wait_that_a_busy_service_asks_for_is_kept(ws: Workspace) -> None:
    fault = ws.fail(COMPUTE, status=429, times=1, headers={"Retry-After": "7"})
    with ws.environ(), impatient() as waited:
        connection = connection_to(ws)
        found = connection.rest.call("GET", f"{connection.workspace_id}/computes/cpu-cluster")
    assert found["name"] == "cpu-cluster"
    assert (fault.hits, waited) == (1, [7.0])


def test_a_busy_service_that_stays_busy_says_how_long_it_wants(ws: Workspace, connection: Connection) -> None:
    assert "wait 7 s" in failing(ws, connection, status=429, headers={"Retry-After": "7"}).hint


@pytest.mark.parametrize(
    ("said", "role"),
    [
        ("action 'Microsoft.MachineLearningServices/workspaces/connections/listsecrets/action'", "Data Scientist"),
        ("action 'Microsoft.KeyVault/vaults/secrets/getSecret/action'", "Key Vault Secrets User"),
        ("action 'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write'", "Storage Blob Data"),
        ("action 'Microsoft.MachineLearningServices/workspaces/jobs/write'", "AzureML Data Scientist"),
        ("action 'Microsoft.MachineLearningServices/workspaces/computes/write'", "AzureML Compute Operator"),
    ],
)
def test_a_missing_role_is_named(ws: Workspace, connection: Connection, said: str, role: str) -> None:
    error = failing(ws, connection, status=403, message=f"The client has no authorization to perform {said}.")
    assert role in error.hint


def test_an_error_beneath_one_of_the_sdk_is_found() -> None:
    from azure.ai.ml.exceptions import JobException
    from azure.core.exceptions import ServiceRequestError

    below = ServiceRequestError("connection refused")
    try:
        try:
            raise below
        except ServiceRequestError as error:
            raise JobException("it failed", no_personal_data_message="it failed") from error
    except JobException as wrapped:
        found = translate(wrapped, "submitting")
    assert found is not None
    assert found.code == "AZD408"


def test_what_the_sdk_refuses_by_itself_is_the_users() -> None:
    from azure.ai.ml.exceptions import ValidationException

    error = ValidationException("\x1b[31mno such\n field\x1b[39m", no_personal_data_message="")
    with pytest.raises(UserError) as caught, explain("reading job.yml"):
        raise error
    assert caught.value.message == "azure-ai-ml refused while reading job.yml: no such field"
    assert caught.value.code == "AZD410"


def test_the_advice_around_what_the_sdk_refuses_is_left_out() -> None:
    from azure.ai.ml.exceptions import MlException

    details = "\x1b[31m(x) Asset any does not exist.\x1b[39m"
    text = f"\n\x1b[37m\n1) Resource was not found.\n\nDetails: \n\n{details}\n\nResolutions:\n1) Look twice.\n"
    found = translate(MlException(message=text, no_personal_data_message=""), "submitting")
    assert found is not None
    assert found.message == "azure-ai-ml refused while submitting: Asset any does not exist."


@pytest.mark.parametrize("error", [ValueError("of ours"), KeyError("x"), KeyboardInterrupt()])
def test_what_is_not_azures_passes(error: BaseException) -> None:
    with pytest.raises(type(error)), explain("trying"):
        raise error


def test_errors_of_ours_pass_unchanged() -> None:
    ours = UserError("mine", code="AZD411")
    with pytest.raises(UserError) as caught, explain("trying"):
        raise ours
    assert caught.value is ours


def test_no_message_holds_a_secret(ws: Workspace, connection: Connection) -> None:
    register("canary-in-an-answer")
    try:
        assert "canary" not in str(failing(ws, connection, status=403, message="key canary-in-an-answer refused"))
    finally:
        forget()
