"""Endpoints against a workspace on loopback: planned, made, killed at every request, listed, taken down, reaped."""

import datetime
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback import Workspace

from azdistill.cli import main
from azdistill.cloud.endpoints import inventory, ownership, resources, up
from azdistill.cloud.endpoints.ownership import expires, hours_of
from azdistill.cloud.endpoints.plan import EndpointPlan, Wish, plan_endpoint
from azdistill.cloud.endpoints.teacher import find_teacher
from azdistill.cloud.workspace.connect import Connection, connect
from azdistill.cloud.workspace.region import find_region
from azdistill.cloud.workspace.rest import Rest, parsed_time
from azdistill.errors import ServiceError, UserError

SANDBOX_TEACHER = Path(__file__).parents[2] / "examples" / "sandbox" / "teacher"
TEACHER = "llama-3.3-70b-instruct"
MODEL = "azureml:llama:1"
SHARED = Path(os.environ.get("AZDISTILL_SHARED", Path(__file__).parents[3] / "shared"))
SIZE = "Standard_NC96ads_A100_v4"
REGISTERED = {
    "modelUri": "azureml://somewhere",
    "modelType": "custom_model",
    "flavors": {},
    "properties": {},
    "tags": {},
}
MADE = ("onlineEndpoints", "onlineDeployments", "serverlessEndpoints", "connections")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(tmp_path_factory.mktemp("endpoints"), shared=SHARED, execute=False) as ws, ws.environ():
        yield ws


@pytest.fixture
def ws(served: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Workspace]:
    """The workspace with a model and no endpoints; waits are short."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(resources, "_FIRST_WAIT", 0.001)
    served.store.put("models", "llama", {"properties": {"modelUri": "azureml://somewhere"}}, version="1")
    yield served
    served.faults.clear()
    served.settings.quota.clear()
    served.settings.usage.clear()
    served.settings.provisioning_errors.clear()
    served.settings.deletion_states.clear()
    for kind in MADE:
        served.store[kind].clear()
    served.operations.all.clear()
    served.requests.clear()


@pytest.fixture
def run(ws: Workspace, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """The command line in this process: exit code, stdout, stderr."""

    def verb(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["endpoint", *arguments])
        text = capsys.readouterr()
        return int(ended.value.code or 0), text.out, text.err

    return verb


def planned(**wish: Any) -> EndpointPlan:
    return plan_endpoint(find_teacher(TEACHER), Wish(**wish))


def order(connection: Connection, **changes: Any) -> up.Order:
    settings = {
        "name": ownership.endpoint_name(TEACHER, connection.workspace_id),
        "teacher": TEACHER,
        "served_as": "Llama-3.3-70B-Instruct",
        "model": MODEL,
        "expires": "2030-01-01T00:00:00Z",
        "plan": planned(),
    }
    return up.Order(**{**settings, **changes})


def quietly(_: str) -> None:
    """Nobody listens."""


def left(ws: Workspace) -> list[str]:
    return [f"{kind}/{name}" for kind in MADE for name in ws.store[kind]]


# Planning ---------------------------------------------------------------------------------------------------------


def test_a_plan_shows_its_arithmetic_price_and_quota(run: Callable[..., Any], ws: Workspace) -> None:
    ws.settings.usage["StandardNCADSA100v4Family"] = 2
    code, out, _ = run("plan", TEACHER)
    assert code == 0
    assert "70B parameters x 16 bits (bf16) = 130.4 GiB" in out
    assert "2 x 80 layers x 2 of 8 kv heads x 128 x 2 bytes = 80.0 KiB a token" in out
    assert f"1 x {SIZE} (4 x A100 80 GB), each layer over 4 GPUs" in out
    assert "14.69 USD an hour, 117.54 for 8 hours" in out
    assert "2026-11-09" in out
    assert "96 cores of standardNCADSA100v4Family; 98 of 100 are left" in out
    assert "180 s and 5 MB a request" in out
    assert "Foundry serves llama-3.3-70b-instruct too" in out


def test_a_plan_offline_asks_nobody(run: Callable[..., Any], ws: Workspace) -> None:
    code, out, _ = run("plan", TEACHER, "--offline", "--json")
    plan = json.loads(out)
    assert code == 0
    assert not len(ws.requests)
    assert (plan["instance_type"], plan["instance_count"], plan["quota"]) == (SIZE, 1, None)
    assert plan["cost"] == pytest.approx(8 * 14.692)


def test_a_gpu_that_the_engine_refuses_is_offered_for_no_precision(run: Callable[..., Any], ws: Workspace) -> None:
    for precision in ("fp16", "fp32", "int8"):
        code, out, _ = run("plan", TEACHER, "--precision", precision, "--concurrency", "1", "--offline", "--json")
        plan = json.loads(out)
        assert code == 0
        assert "V100" not in str(plan["fits"])
        reasons = {one["instance_type"]: one["reason"] for one in plan["misfits"]}
        assert reasons["Standard_ND40rs_v2"] == "V100 has compute capability 7.0, and vLLM needs 7.5 or higher"
    code, _, err = run("plan", TEACHER, "--precision", "fp16", "--instance-type", "Standard_ND40rs_v2", "--offline")
    assert code != 0
    assert "AZD474" in err
    assert "V100 has compute capability 7.0, and vLLM needs 7.5 or higher" in err


def test_a_short_quota_is_said_in_the_plan_and_stops_up(run: Callable[..., Any], ws: Workspace) -> None:
    ws.settings.quota["StandardNCADSA100v4Family"] = 48
    code, out, _ = run("plan", TEACHER)
    assert code == 0
    assert "warning     quota: 96 cores of StandardNCADSA100v4Family are needed, 48 of 48 are left" in out
    code, _, err = run("up", TEACHER, "--model", MODEL, "--yes")
    assert (code, "AZD479" in err) == (2, True)
    assert left(ws) == []


def test_a_region_s_price_comes_before_ours_and_the_project_s_before_both(ws: Workspace, tmp_path: Path) -> None:
    region = find_region(connect())
    assert region.sizes
    region.sizes[SIZE.lower()]["estimatedVMPrices"] = {
        "billingCurrency": "USD",
        "unitOfMeasure": "OneHour",
        "values": [{"retailPrice": 7.5, "osType": "Linux", "vmTier": "Standard"}],
    }
    plan = plan_endpoint(find_teacher(TEACHER), Wish(instance_type=SIZE), region)
    assert (plan.price, plan.fit.sku.price_source) == (7.5, "Azure, for westeurope")
    assert plan_endpoint(find_teacher(TEACHER), Wish(instance_type=SIZE), region, {SIZE: 3.0}).price == 3.0


def test_prices_of_the_project_are_used(run: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "azdistill.yml").write_text(f"prices: {{{SIZE}: 1.25}}\n")
    _, out, _ = run("plan", TEACHER, "--offline")
    assert "1.25 USD an hour" in out
    assert "azdistill.yml" in out


def test_what_the_service_will_not_tell_is_named_and_the_plan_holds(run: Callable[..., Any], ws: Workspace) -> None:
    ws.fail("GET {sub}/providers/Microsoft.MachineLearningServices/locations/{location}/usages", status=403)
    code, out, _ = run("plan", TEACHER)
    assert code == 0
    assert "what is left is not known" in out
    assert "not known: not permitted (403) while reading the quota of westeurope" in out


def test_answers_that_take_longer_than_a_request_may_are_warned_of() -> None:
    slow = planned(max_tokens=8192, tokens_per_second=20)
    assert any("410 s" in text and "max_tokens to 3600" in text for text in slow.warnings)
    assert not any("180 s" in text for text in planned(max_tokens=3600, tokens_per_second=20).warnings)
    assert not planned(max_tokens=8192, in_job=True).warnings


def test_requests_larger_than_the_service_takes_are_warned_of() -> None:
    model = find_teacher("x", config=SANDBOX_TEACHER, parameters=1)
    assert any("5 MB" in text for text in plan_endpoint(model, Wish(context=2_000_000, concurrency=1)).warnings)


def test_sizes_that_hold_back_quota_take_more_of_it() -> None:
    small = find_teacher("x", config=SANDBOX_TEACHER, parameters=1)
    wish = Wish(instance_type="Standard_NV36ads_A10_v5", instance_count=10)
    assert plan_endpoint(small, wish).cores == 12 * 36
    assert plan_endpoint(small, Wish(instance_type=SIZE, instance_count=10)).cores == 10 * 96
    assert (
        plan_endpoint(small, Wish(instance_type="Standard_NV36ads_A10_v5", instance_count=10, in_job=True)).cores == 360
    )


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["gpt-4o"], "AZD472", "Microsoft Foundry (Azure OpenAI)"),
        (["claude-sonnet-4.6"], "AZD472", "${connection:NAME}"),
        (["lama-3.3-70b-instruct"], "AZD473", "did you mean 'llama-3.3-70b-instruct'"),
        (["deepseek-v4-flash"], "AZD473", "--config"),
        (["mine", "--config", str(SANDBOX_TEACHER)], "AZD473", "--parameters"),
        ([TEACHER, "--instance-type", "Standard_NC4as_T4_v3"], "AZD474", "bf16 needs 8.0"),
        ([TEACHER, "--instance-type", "Standard_NC1"], "AZD470", "known"),
        (["llama-3.1-405b-instruct", "--instance-type", "Standard_ND96isr_H100_v5"], "AZD474", "2 machines of"),
        ([TEACHER, "--for", "never"], "AZD480", "90m, 8h, 2d"),
    ],
)
def test_what_cannot_be_planned_says_why(run: Callable[..., Any], arguments: list[str], code: str, says: str) -> None:
    status, _, err = run("plan", "--offline", *arguments)
    assert status == 2
    assert code in err
    assert says in err or says == "known"


def test_without_a_workspace_a_plan_says_that_it_needs_none(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AZURE_ML_WORKSPACE", "AZUREML_ARM_WORKSPACE_NAME"):
        monkeypatch.delenv(name)
    code, _, err = run("plan", TEACHER)
    assert (code, "AZD411" in err, "--offline" in err) == (2, True, True)


def test_a_folder_of_weights_is_measured(run: Callable[..., Any]) -> None:
    folder = SANDBOX_TEACHER
    _, out, _ = run("plan", "--offline", "--json", str(folder))
    assert json.loads(out)["weights_bytes"] == (folder / "model.safetensors").stat().st_size


# Making -----------------------------------------------------------------------------------------------------------


def test_up_makes_an_endpoint_that_a_recipe_can_use(run: Callable[..., Any], ws: Workspace) -> None:
    code, out, err = run("up", TEACHER, "--model", MODEL, "--for", "4h", "--yes")
    assert code == 0, err
    name = next(iter(ws.store["onlineEndpoints"]))
    endpoint = ws.store["onlineEndpoints"][name]
    deployment = ws.store["onlineDeployments"][f"{name}/teacher"]
    assert f"endpoint: https://{name}.westeurope.inference.ml.azure.com/v1" in out
    assert f"key: ${{connection:azdistill-{name}}}" in out
    assert endpoint["properties"]["traffic"] == {"teacher": 100}
    until = parsed_time(endpoint["tags"]["azdistill.expires"])
    assert until is not None
    assert abs(until - datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=4)) < datetime.timedelta(
        minutes=2
    )
    assert deployment["properties"]["instanceType"] == SIZE
    assert deployment["properties"]["requestSettings"]["requestTimeout"] == "PT180S"
    settings = deployment["properties"]["environmentVariables"]
    assert settings["SERVED_MODEL_NAME"] == "Llama-3.3-70B-Instruct"
    assert "--tensor-parallel-size 4 --max-model-len 8192" in settings["VLLM_ARGS"]
    assert "azdistill-serve" in deployment["properties"]["environmentId"]
    assert ws.store["connections"][f"azdistill-{name}"]["properties"]["metadata"][ownership.OWNER] == name


def test_every_body_fits_the_schemas(run: Callable[..., Any], ws: Workspace) -> None:
    if ws.schemas is None:
        pytest.skip("the ARM schemas are not here (AZDISTILL_SHARED)")
    before = len(ws.violations)
    assert run("up", TEACHER, "--model", MODEL, "--yes")[0] == 0
    name = next(iter(ws.store["onlineEndpoints"]))
    assert run("down", name)[0] == 0
    assert ws.violations[before:] == []
    bodies = [one for one in ws.requests if one.method == "PUT" and "MachineLearningServices" in one.path]
    assert len(bodies) >= 4


def test_a_key_goes_into_its_connection_and_nowhere_else(
    run: Callable[..., Any], ws: Workspace, tmp_path: Path
) -> None:
    code, out, err = run("up", TEACHER, "--model", MODEL, "--yes")
    name = next(iter(ws.store["onlineEndpoints"]))
    keys = ws.endpoint_keys[ws.store["onlineEndpoints"][name]["id"]]
    listed = run("list", "--json")[1]
    for key in (keys["primaryKey"], keys["secondaryKey"]):
        holders = [(one.method, one.path.rpartition("/")[2]) for one in ws.seen(key)]
        expected = [("PUT", f"azdistill-{name}")] if key == keys["primaryKey"] else []
        assert holders == expected
        assert key not in out + err + listed
        for file in (path for path in tmp_path.rglob("*") if path.is_file()):
            assert key.encode() not in file.read_bytes()
    assert code == 0


def test_tokens_in_place_of_a_key_make_no_connection(run: Callable[..., Any], ws: Workspace) -> None:
    code, out, _ = run("up", TEACHER, "--model", MODEL, "--identity", "--yes")
    assert code == 0
    assert "key: ${entra:https://ml.azure.com/.default}" in out
    assert ws.store["connections"] == {}
    assert "half made" not in run("list")[1]


def test_up_again_changes_only_how_long_it_is_kept(run: Callable[..., Any], ws: Workspace) -> None:
    run("up", TEACHER, "--model", MODEL, "--yes")
    ws.requests.clear()
    code, _, err = run("up", TEACHER, "--model", MODEL, "--yes", "--for", "2d")
    assert (code, "it is there" in err) == (0, True)
    assert not ws.requests.find("PUT", "deployments")
    assert len(ws.store["onlineEndpoints"]) == 1
    # What is deployed already needs no quota again.
    ws.settings.quota["StandardNCADSA100v4Family"] = 96
    ws.settings.usage["StandardNCADSA100v4Family"] = 96
    assert run("up", TEACHER, "--model", MODEL, "--yes")[0] == 0


def test_another_load_changes_the_deployment(run: Callable[..., Any], ws: Workspace) -> None:
    run("up", TEACHER, "--model", MODEL, "--yes")
    ws.requests.clear()
    assert run("up", TEACHER, "--model", MODEL, "--yes", "--context", "4096")[0] == 0
    (put,) = ws.requests.find("PUT", "deployments")
    assert "--max-model-len 4096" in put.body["properties"]["environmentVariables"]["VLLM_ARGS"]


def test_a_serverless_endpoint_needs_no_machines(run: Callable[..., Any], ws: Workspace) -> None:
    registry = ws.add_registry("azureml-meta")
    registry.put("models", "Llama", {"properties": REGISTERED}, version="3")
    model = "azureml://registries/azureml-meta/models/Llama/versions/3"
    code, out, err = run("up", TEACHER, "--serverless", "--model", model, "--name", "cheap", "--yes")
    assert code == 0, err
    assert "endpoint: https://cheap.westeurope.models.ai.azure.com/v1" in out
    sent = ws.store["serverlessEndpoints"]["cheap"]["properties"]["modelSettings"]["modelId"]
    assert sent == "azureml://registries/azureml-meta/models/Llama"
    assert "cheap" in run("list")[1]
    assert run("down", "cheap")[0] == 0
    assert left(ws) == []


def test_a_registry_s_model_brings_its_own_server(ws: Workspace) -> None:
    registry = ws.add_registry("azureml-meta")
    registry.put("models", "Llama", {"properties": REGISTERED}, version="3")
    connection = connect()
    ordered = order(connection, model="azureml://registries/azureml-meta/models/Llama/versions/3")
    up.up(connection, ordered, quietly)
    properties = ws.store["onlineDeployments"][f"{ordered.name}/teacher"]["properties"]
    assert properties["model"] == "azureml://registries/azureml-meta/models/Llama/versions/3"
    assert "environmentId" not in properties


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], "AZD478", "--model"),
        (["--model", "llama"], "AZD478", "azureml:NAME:VERSION"),
        (["--model", "azureml:lama:1"], "AZD404", "azureml:lama:1"),
        (["--model", MODEL, "--environment", "azureml:none:1"], "AZD404", "azureml:none:1"),
        (["--model", MODEL, "--name", "a name"], "AZD481", "single dashes"),
        (["--model", MODEL, "--name", "a" * 24], "AZD481", "23"),
        (["--serverless", "--model", MODEL], "AZD478", "registry"),
    ],
)
def test_a_wrong_name_makes_nothing(
    run: Callable[..., Any], ws: Workspace, arguments: list[str], code: str, says: str
) -> None:
    status, _, err = run("up", TEACHER, "--yes", *arguments)
    assert status in (2, 4)
    assert code in err
    assert says in err
    assert left(ws) == []


def test_nobody_to_ask_makes_nothing(run: Callable[..., Any], ws: Workspace) -> None:
    code, _, err = run("up", TEACHER, "--model", MODEL)
    assert (code, "AZD484" in err, left(ws)) == (2, True, [])


@pytest.mark.parametrize("kind", ["onlineEndpoints", "connections"])
def test_what_is_not_ours_is_left_alone(run: Callable[..., Any], ws: Workspace, kind: str) -> None:
    name = "mine" if kind == "onlineEndpoints" else "azdistill-mine"
    properties = {"authMode": "Key", "authType": "ApiKey", "category": "ApiKey", "traffic": {}}
    ws.store.put(kind, name, {"location": "westeurope", "tags": {"team": "x"}, "properties": properties})
    code, _, err = run("up", TEACHER, "--model", MODEL, "--name", "mine", "--yes")
    assert (code, "AZD475" in err) == (2, True)
    assert "mine" not in run("list")[1]
    assert run("down", "mine")[0] == 2
    assert left(ws) == [f"{kind}/{name}"]


def test_a_deployment_that_fails_is_told_with_its_log_and_tried_anew(run: Callable[..., Any], ws: Workspace) -> None:
    ws.settings.provisioning_errors["onlineDeployments"] = ("ResourceNotReady", "the container crashed")
    code, _, err = run("up", TEACHER, "--model", MODEL, "--yes")
    assert (code, "AZD476" in err) == (4, True)
    assert "no logs on loopback" in err
    assert "half made: no deployment" in run("list")[1]
    ws.settings.provisioning_errors.clear()
    assert run("up", TEACHER, "--model", MODEL, "--yes")[0] == 0
    assert "half made" not in run("list")[1]


@pytest.mark.parametrize("ended", ["Failed", "Canceled"])
@pytest.mark.parametrize("polls", [0, 2], ids=["at once", "after a while"])
def test_a_removal_that_fails_ends_and_says_what_is_left(
    run: Callable[..., Any], ws: Workspace, monkeypatch: pytest.MonkeyPatch, ended: str, polls: int
) -> None:
    name = made(connect())
    ws.settings.deletion_states["onlineDeployments"] = ended
    monkeypatch.setattr(ws.settings, "polls", polls)
    code, out, err = run("down", name)
    assert (code, out) == (4, "")
    assert f"error[AZD476]: the deployment teacher could not be removed: the service ended with {ended}" in err
    assert f"left: the deployment teacher ({ended}), the endpoint {name} (Succeeded)" in err
    assert f"azdistill endpoint down {name}" in err
    ws.settings.deletion_states.clear()
    assert run("down", name)[0] == 0
    assert left(ws) == []


def test_what_is_gone_when_it_is_to_be_removed_is_not_waited_for(
    ws: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azure.core.exceptions import ResourceNotFoundError

    connection = connect()
    name = made(connection)
    kind = resources.Resources(connection, quietly)
    call = connection.rest.call

    def gone(method: str, path: str, **options: Any) -> Any:
        if method == "DELETE":
            raise ResourceNotFoundError("removed meanwhile")
        return call(method, path, **options)

    monkeypatch.setattr(connection.rest, "call", gone)
    # A read that is older than the removal still shows it; waiting for it to go would not end.
    monkeypatch.setattr(kind, "_poll", lambda *arguments: pytest.fail("waited for"))
    kind.delete(kind.deployment(name, "teacher"))


def test_what_had_failed_before_is_given_time_to_go(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = connect()
    name = made(connection)
    kind = resources.Resources(connection, quietly)
    path = kind.deployment(name, "teacher")
    ws.store["onlineDeployments"][f"{name}/teacher"]["properties"]["provisioningState"] = "Failed"
    ws.settings.deletion_states["onlineDeployments"] = "Failed"
    monkeypatch.setattr(ws.settings, "polls", 0)
    monkeypatch.setattr(resources, "_GRACE", 0.01)
    ws.store["onlineEndpoints"][name]["properties"]["traffic"] = {}
    with pytest.raises(ServiceError, match="could not be removed") as raised:
        kind.delete(path)
    assert raised.value.code == "AZD476"


def test_reap_goes_on_after_a_removal_that_fails(run: Callable[..., Any], ws: Workspace) -> None:
    made(connect(), name="first", expires="2020-01-01T00:00:00Z")
    made(connect(), name="second", expires="2020-01-01T00:00:00Z")
    ws.settings.deletion_states["onlineDeployments"] = "Failed"
    code, _, err = run("reap")
    assert (code, "AZD483" in err, err.count("could not be removed: the service")) == (4, True, 2)


def made(connection: Connection, **changes: Any) -> str:
    """The name of an endpoint that was made."""
    ordered = order(connection, **changes)
    up.up(connection, ordered, quietly)
    return ordered.name


def test_ctrl_c_says_what_is_left(run: Callable[..., Any], ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources.Resources, "settled", interrupted)
    code, _, err = run("up", TEACHER, "--model", MODEL, "--yes")
    assert (code, "AZD482" in err, "endpoint down" in err) == (130, True, True)


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


# Killed at every request ------------------------------------------------------------------------------------------


@pytest.fixture
def anew(ws: Workspace) -> Callable[[], Connection]:
    """A connection that knows nothing yet, as a new process has; the token is kept."""
    one = connect()

    def make() -> Connection:
        return Connection(one.subscription_id, one.resource_group, one.workspace_name, one.cloud, one.credential)

    return make


class Killed(BaseException):
    """The process is gone: nothing after this runs."""


def kill_at(monkeypatch: pytest.MonkeyPatch, request: int, *, sent: bool) -> None:
    """End the process at its n-th request, before it was sent or right after it was answered."""
    count, real = iter(range(1, 10_000)), Rest.call

    def call(self: Rest, method: str, path: str, **options: Any) -> Any:
        over = next(count) == request
        if over and not sent:
            raise Killed
        try:
            return real(self, method, path, **options)
        finally:
            if over:
                raise Killed  # an answer that is an error was an answer too

    monkeypatch.setattr(Rest, "call", call)


def killed(monkeypatch: pytest.MonkeyPatch, request: int, sent: bool, action: Callable[[], Any]) -> bool:
    """Whether the action was ended by the kill; False where it was through before."""
    with monkeypatch.context() as patch:
        kill_at(patch, request, sent=sent)
        try:
            action()
        except Killed:
            return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("sent", [False, True], ids=["before", "after"])
def test_up_killed_at_any_request_is_listed_and_goes_down(
    ws: Workspace, anew: Callable[[], Connection], monkeypatch: pytest.MonkeyPatch, sent: bool
) -> None:
    request = points = 0
    while True:
        request += 1
        connection = anew()
        ordered = order(connection)
        if not killed(monkeypatch, request, sent, lambda c=connection, o=ordered: up.up(c, o, quietly)):  # type: ignore[misc]
            break
        points += 1
        there = left(ws)
        found = inventory.list_endpoints(anew())
        assert [one.name for one in found] == ([ordered.name] if there else []), f"request {request}"
        if there:
            if not any(one.startswith("connections") for one in there):
                assert found[0].missing
            inventory.down(anew(), ordered.name, quietly)
        assert left(ws) == [], f"request {request}"
    # The last one was let through; it is whole.
    assert points >= 12
    assert [one.missing for one in inventory.list_endpoints(anew())] == [()]


@pytest.mark.slow
@pytest.mark.parametrize("sent", [False, True], ids=["before", "after"])
def test_up_killed_at_any_request_goes_on_when_called_again(
    ws: Workspace, anew: Callable[[], Connection], monkeypatch: pytest.MonkeyPatch, sent: bool
) -> None:
    ordered = order(anew())
    for request in range(1, 40):
        over = not killed(monkeypatch, request, sent, lambda: up.up(anew(), ordered, quietly))
        ready = up.up(anew(), ordered, quietly)
        (one,) = inventory.list_endpoints(anew())
        assert (one.missing, one.state, one.connection) == ((), "Succeeded", f"azdistill-{ordered.name}")
        assert ready.address.endswith("/v1")
        inventory.down(anew(), ordered.name, quietly)
        assert left(ws) == []
        if over:
            break
    else:
        pytest.fail("up never came through")


@pytest.mark.slow
@pytest.mark.parametrize("sent", [False, True], ids=["before", "after"])
def test_down_killed_at_any_request_goes_on_when_called_again(
    ws: Workspace, anew: Callable[[], Connection], monkeypatch: pytest.MonkeyPatch, sent: bool
) -> None:
    ordered = order(anew())
    for request in range(1, 40):
        up.up(anew(), ordered, quietly)
        over = not killed(monkeypatch, request, sent, lambda: inventory.down(anew(), ordered.name, quietly))
        if left(ws):
            # What is being removed may be gone by the time it is listed.
            found = [one.name for one in inventory.list_endpoints(anew())]
            if left(ws):
                assert found == [ordered.name]
                inventory.down(anew(), ordered.name, quietly)
        assert left(ws) == [], f"request {request}"
        if over:
            break
    else:
        pytest.fail("down never came through")


def test_a_killed_process_leaves_what_list_shows_and_down_removes(
    run: Callable[..., Any], ws: Workspace, tmp_path: Path
) -> None:
    route = "PUT {ws}/onlineEndpoints/{endpoint}/deployments/{name}"
    ws.fail(route, delay=20)
    command = [sys.executable, "-m", "azdistill", "endpoint", "up", TEACHER, "--model", MODEL, "--yes"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wait_for(lambda: ws.requests.find("PUT", "deployments/teacher"))
        process.send_signal(signal.SIGKILL)
    ws.faults.clear()
    code, out, _ = run("list")
    assert code == 0
    assert "half made: no deployment, no connection" in out
    name = out.split()[0]
    assert run("down", name)[0] == 0
    # A request that was on its way may still arrive after its sender is dead, but finds no endpoint any more.
    assert "onlineEndpoints" not in str(left(ws))


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.02)


# What is there ----------------------------------------------------------------------------------------------------


def test_the_list_says_what_runs_what_it_costs_and_until_when(run: Callable[..., Any], ws: Workspace) -> None:
    assert "no endpoints of ours" in run("list")[1]
    run("up", TEACHER, "--model", MODEL, "--yes")
    out = run("list")[1]
    assert re.search(rf"{TEACHER} +succeeded +1 x {SIZE} succeeded, 14.69 USD an hour +expires 20", out)


def test_a_foreign_deployment_keeps_the_endpoint(run: Callable[..., Any], ws: Workspace) -> None:
    run("up", TEACHER, "--model", MODEL, "--name", "shared", "--yes")
    ours = ws.store["onlineDeployments"]["shared/teacher"]
    body = {**ours, "tags": {"team": "x"}}
    ws.store.put("onlineDeployments", "shared/theirs", body, path="onlineEndpoints/shared/deployments/theirs")
    code, _, err = run("down", "shared")
    assert (code, "theirs" in err) == (2, True)
    assert left(ws) == ["onlineEndpoints/shared", "onlineDeployments/shared/theirs"]


def test_reap_removes_what_has_expired_and_nothing_else(run: Callable[..., Any], ws: Workspace) -> None:
    connection = connect()
    for name, until in (("old", expires(-1)), ("new", expires(5)), ("odd", "some day")):
        up.up(connection, order(connection, name=name, expires=until), quietly)
    assert "old expired" in run("reap", "--dry-run")[1]
    assert len(ws.store["onlineEndpoints"]) == 3
    code, out, _ = run("reap")
    assert (code, "old is gone" in out) == (0, True)
    assert sorted(ws.store["onlineEndpoints"]) == ["new", "odd"]
    assert "nothing has expired" in run("reap")[1]


def test_reap_goes_on_past_one_that_cannot_be_removed(run: Callable[..., Any], ws: Workspace) -> None:
    connection = connect()
    for name in ("one", "two"):
        up.up(connection, order(connection, name=name, expires=expires(-1)), quietly)
    ws.fail("DELETE */connections/azdistill-one", status=403)
    code, out, err = run("reap")
    assert (code, "two is gone" in out, "AZD483" in err, "one:" in err) == (4, True, True, True)
    assert list(ws.store["onlineEndpoints"]) == ["one"]


@pytest.mark.parametrize(("status", "code"), [(401, "AZD402"), (403, "AZD403"), (409, "AZD405"), (400, "AZD409")])
def test_what_the_service_refuses_is_said_in_our_words(
    run: Callable[..., Any], ws: Workspace, status: int, code: str
) -> None:
    ws.fail("PUT {ws}/onlineEndpoints/{name}", status=status)
    exit_code, _, err = run("up", TEACHER, "--model", MODEL, "--yes")
    assert (exit_code, code in err) == (4, True)
    assert "Traceback" not in err
    assert left(ws) == []


def test_something_that_never_settles_ends(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_MOST_SECONDS", -1.0)
    monkeypatch.setattr(ws.settings, "polls", 100)
    connection = connect()
    with pytest.raises(ServiceError, match="no end of waiting for the endpoint") as caught:
        up.up(connection, order(connection), quietly)
    assert caught.value.code == "AZD476"


# Small things -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "hours"), [("90m", 1.5), ("8h", 8), ("2d", 48), ("1.5h", 1.5), (" 4H ", 4)])
def test_times_are_read(text: str, hours: float) -> None:
    assert hours_of(text) == hours


@pytest.mark.parametrize("text", ["", "8", "h", "-1h", "0h", "91d", "8 weeks", "1h30m"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        hours_of(text)


@pytest.mark.parametrize(
    "teacher", ["llama-3.3-70b-instruct", "Qwen/Qwen3", "x", "deepseek-v3", "A_very.long--name-" * 4]
)
def test_an_endpoint_s_name_is_one_that_the_service_takes(teacher: str) -> None:
    name = ownership.endpoint_name(teacher, "/subscriptions/x")
    assert ownership.checked_name(name) == name
    assert re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_-]{2,32}", ownership.connection_name(name))
    assert name == ownership.endpoint_name(teacher, "/SUBSCRIPTIONS/x")
    assert name != ownership.endpoint_name(teacher, "/subscriptions/y")


def test_the_server_starts_with_the_shallowest_model(tmp_path: Path) -> None:
    """environments/serve/serve.sh, with a python that prints what it is told."""
    script = Path(__file__).parents[2] / "environments" / "serve" / "serve.sh"
    for place in ("deep/er/model", "model"):
        (tmp_path / "m" / place).mkdir(parents=True)
        (tmp_path / "m" / place / "config.json").write_text("{}")
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "python"
    fake.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    fake.chmod(0o755)
    settings = {
        "AZUREML_MODEL_DIR": str(tmp_path / "m"),
        "SERVED_MODEL_NAME": "a name",
        "VLLM_ARGS": "--max-model-len 8",
    }
    env = {**os.environ, **settings, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    said = subprocess.run(["bash", script], env=env, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[said.index("--model") + 1] == str(tmp_path / "m" / "model")
    assert said[said.index("--served-model-name") + 1] == "a name"
    assert said[-2:] == ["--max-model-len", "8"]
    empty = subprocess.run(
        ["bash", script], env={**env, "AZUREML_MODEL_DIR": str(tmp_path / "bin")}, capture_output=True
    )
    assert (empty.returncode, b"no config.json" in empty.stderr) == (78, True)
