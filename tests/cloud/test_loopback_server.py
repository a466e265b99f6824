"""The workspace on loopback, met by an unmodified azure-ai-ml."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from loopback import Workspace
from small_project import SCRIPT, nothing_wrong, submit


@pytest.mark.parametrize("identity_storage", [False, True], ids=["sas", "identity"])
def test_a_pipeline_is_submitted_as_on_azure(
    make_workspace: Callable[..., Workspace], project: Path, identity_storage: bool
) -> None:
    workspace = make_workspace(identity_storage=identity_storage)
    job = submit(workspace.client(), project)

    stored = workspace.store["jobs"][job.name]
    assert stored["properties"]["status"] == "NotStarted"
    assert set(stored["properties"]["jobs"]) == {"train", "again"}
    assert stored["properties"]["jobs"]["train"]["inputs"]["rate"]["value"] == "0.5"
    assert job.studio_url.startswith(f"https://ml.azure.com/runs/{job.name}")
    nothing_wrong(workspace)
    assert {one.where for one in workspace.known_deviations} <= {"properties.properties.hash_version"}

    code = next(iter(workspace.store["codes"].values()))["properties"]["codeUri"]
    container = code.rpartition("/")[2] if code.endswith("-1") else code.split("/")[5]
    assert (workspace.blobs.path(container) / "code" / "train.py").read_text() == SCRIPT
    data = workspace.blobs.path("azureml-blobstore").rglob("rows.jsonl")
    assert [one.read_text() for one in data] == ['{"messages": []}\n']
    how = {"authorization" in one.headers for one in workspace.requests.find("PUT", "azureml-blobstore")}
    assert how == {identity_storage}


def test_a_second_submit_uploads_nothing(workspace: Workspace, project: Path) -> None:
    client = workspace.client()
    submit(client, project)
    workspace.requests.clear()
    submit(client, project)
    assert workspace.requests.find("PUT", "{blobs}") == []


def test_jobs_are_listed_tagged_archived_and_cancelled(workspace: Workspace, project: Path) -> None:
    client = workspace.client()
    names = [submit(client, project).name for _ in range(3)]
    workspace.settings.page_size = 2
    assert [one.name for one in client.jobs.list()] == names[::-1]

    job = client.jobs.get(names[0])
    job.tags = {"owner": "me"}
    client.jobs.create_or_update(job)
    assert client.jobs.get(names[0]).tags["owner"] == "me"

    client.jobs.archive(names[1])
    assert [one.name for one in client.jobs.list()] == [names[2], names[0]]
    assert [one.name for one in client.jobs.list(list_view_type="ArchivedOnly")] == [names[1]]

    client.jobs.begin_cancel(names[0]).result()
    assert client.jobs.get(names[0]).status == "Canceled"
    with pytest.raises(Exception, match="terminal state"):
        client.jobs.begin_cancel(names[0]).result()
    nothing_wrong(workspace)


def test_assets_have_versions_that_do_not_change(workspace: Workspace, project: Path) -> None:
    from azure.ai.ml import load_component
    from azure.ai.ml.entities import Data, Environment, Model

    client = workspace.client()
    for expected in ("1", "2"):
        made = client.data.create_or_update(Data(name="rows", path=str(project / "rows.jsonl"), type="uri_file"))
        assert made.version == expected
    assert client.data.get("rows", label="latest").version == "2"
    client.data.archive("rows", version="1")
    assert [one.version for one in client.data.list("rows")] == ["2"]

    for image, expected in (("python:3.11", "1"), ("python:3.11", "1"), ("python:3.12", "2")):
        assert client.environments.create_or_update(Environment(name="env", image=image)).version == expected
    assert client.environments.get("env", label="latest").image == "python:3.12"

    component = client.components.create_or_update(load_component(project / "train.yml"))
    assert client.components.get("train", "1").command == component.command
    changed = load_component(project / "train.yml", params_override=[{"command": "echo ${{inputs.rate}}"}])
    with pytest.raises(Exception, match="already exists"):
        client.components.create_or_update(changed)

    client.models.create_or_update(Model(name="model", path=str(project / "code"), type="custom_model"))
    client.models.download("model", "1", download_path=str(project / "fetched"))
    assert (project / "fetched" / "model" / "code" / "train.py").read_text() == SCRIPT
    nothing_wrong(workspace)


def test_code_can_be_downloaded_though_the_sdk_insists_on_azures_domain(workspace: Workspace, project: Path) -> None:
    client = workspace.client()
    submit(client, project)
    name, version = next(iter(workspace.store["codes"])).split("/")
    client._code.download(name, version, download_path=str(project / "fetched"))
    assert [one.read_text() for one in (project / "fetched").rglob("train.py")] == [SCRIPT]


def test_large_files_travel_in_blocks_and_come_back_in_ranges(workspace: Workspace, tmp_path: Path) -> None:
    from azure.storage.blob import BlobServiceClient

    content = bytes(range(256)) * 4096 * 5
    service = BlobServiceClient(
        f"https://{workspace.blobs.account_host}.blob.core.windows.net",
        credential=workspace.credential(),
        max_single_put_size=1 << 20,
        max_block_size=1 << 20,
        max_single_get_size=1 << 20,
        max_chunk_get_size=1 << 20,
    )
    blob = service.get_blob_client("azureml-blobstore", "a folder/größe.bin")
    blob.upload_blob(content, metadata={"made": "here"}, validate_content=True)
    assert workspace.blobs.path("azureml-blobstore", "a folder/größe.bin").read_bytes() == content
    assert blob.download_blob().readall() == content
    assert blob.get_blob_properties().metadata == {"made": "here"}
    names = [one.name for one in service.get_container_client("azureml-blobstore").walk_blobs(delimiter="/")]
    assert names == ["a folder/"]

    log = service.get_blob_client("azureml-blobstore", "log.txt")
    log.create_append_blob()
    log.append_block(b"one\n")
    log.append_block(b"two\n")
    assert log.download_blob(offset=4).readall() == b"two\n"
    log.delete_blob()
    assert not log.exists()


def test_a_blob_name_does_not_lead_out_of_its_container(workspace: Workspace) -> None:
    import requests

    url = f"{workspace.blobs.container_url('azureml-blobstore')}/..%2f..%2fca.pem?{workspace.blobs.sas()}"
    assert requests.get(url, verify=str(workspace.ca), timeout=30).status_code == 400


def test_signatures_and_tokens_open_blobs_and_nothing_else_does(workspace: Workspace) -> None:
    import requests

    def status(query: str, **headers: str) -> int:
        url = f"{workspace.blobs.container_url('azureml-blobstore')}/x?{query}"
        return requests.put(url, b"x", headers=headers, verify=str(workspace.ca), timeout=30).status_code

    assert status(workspace.blobs.sas()) == 201
    assert status(workspace.blobs.sas(hours=-1)) == 403
    assert status(workspace.blobs.sas() + "x") == 403
    assert status("") == 401
    assert status("", Authorization=f"Bearer {workspace.tokens.give('https://storage.azure.com/.default')}") == 201
    assert status("", Authorization=f"Bearer {workspace.tokens.give('https://ml.azure.com/.default')}") == 401


def test_schedules_are_made_disabled_and_only_then_deleted(workspace: Workspace, project: Path) -> None:
    from azure.ai.ml import load_job
    from azure.ai.ml.entities import CronTrigger, JobSchedule

    fired: list[Any] = []
    workspace.on("schedule_trigger", lambda name, when: fired.append((name, when)) or "a-job")
    client = workspace.client()
    job = load_job(project / "pipeline.yml")
    schedule = JobSchedule(name="nightly", trigger=CronTrigger(expression="0 3 * * *"), create_job=job)
    made = client.schedules.begin_create_or_update(schedule).result()
    assert made.is_enabled
    assert made.provisioning_state == "Succeeded"
    assert client.schedules.trigger("nightly", schedule_time="2026-01-01T00:00:00").job_name == "a-job"
    assert fired == [("nightly", "2026-01-01T00:00:00")]

    with pytest.raises(Exception, match="Disable it"):
        client.schedules.begin_delete("nightly").result()
    client.schedules.begin_disable("nightly").result()
    assert [one.name for one in client.schedules.list()] == []
    assert [one.name for one in client.schedules.list(list_view_type="All")] == ["nightly"]
    client.schedules.begin_enable("nightly").result()
    assert [one.name for one in client.schedules.list()] == ["nightly"]
    client.schedules.begin_disable("nightly").result()
    client.schedules.begin_delete("nightly").result()
    assert "nightly" not in workspace.store["schedules"]
    nothing_wrong(workspace)


def test_connections_give_their_key_only_when_asked_for_secrets(workspace: Workspace) -> None:
    from azure.ai.ml.entities import ServerlessConnection

    client = workspace.client()
    client.connections.create_or_update(ServerlessConnection(name="teacher", endpoint="https://t", api_key="K-1"))
    nothing_wrong(workspace)
    sent = json.dumps(client.connections._operation.get(workspace.group, workspace.name, "teacher").as_dict())
    assert "K-1" not in sent
    assert client.connections.get("teacher", populate_secrets=True).credentials.key == "K-1"
    assert [one.name for one in client.connections.list(connection_type="serverless")] == ["teacher"]
    client.connections.delete("teacher")
    assert list(client.connections.list()) == []


def online(project: Path) -> tuple[Any, Any]:
    from azure.ai.ml.entities import ManagedOnlineDeployment, ManagedOnlineEndpoint, Model

    deployment = ManagedOnlineDeployment(
        name="blue",
        endpoint_name="teacher-one",
        model=Model(name="teacher", version="1", path=str(project / "code"), type="custom_model"),
        environment="azureml://registries/azureml/environments/vllm/versions/1",
        instance_type="Standard_NC24ads_A100_v4",
        instance_count=1,
    )
    return ManagedOnlineEndpoint(name="teacher-one", auth_mode="key"), deployment


def test_online_endpoints_are_long_running_and_say_their_state(workspace: Workspace, project: Path) -> None:
    client = workspace.client()
    endpoint, deployment = online(project)
    workspace.settings.polls = 3
    poller = client.online_endpoints.begin_create_or_update(endpoint)
    assert workspace.store["onlineEndpoints"]["teacher-one"]["properties"]["provisioningState"] == "Creating"
    assert poller.result().provisioning_state == "Succeeded"
    client.online_deployments.begin_create_or_update(deployment).result()
    live = client.online_endpoints.get("teacher-one")
    live.traffic = {"blue": 100}
    assert client.online_endpoints.begin_create_or_update(live).result().traffic == {"blue": 100}
    assert client.online_endpoints.get_keys("teacher-one").primary_key
    with pytest.raises(Exception, match="per cent of the traffic"):
        client.online_deployments.begin_delete("blue", "teacher-one").result()
    client.online_endpoints.begin_delete("teacher-one").result()
    assert not workspace.store["onlineEndpoints"]
    assert not workspace.store["onlineDeployments"]
    nothing_wrong(workspace)


def test_a_deployment_may_fail_or_not_fit_the_quota(workspace: Workspace, project: Path) -> None:
    client = workspace.client()
    endpoint, deployment = online(project)
    client.online_endpoints.begin_create_or_update(endpoint).result()
    workspace.settings.quota["StandardNCADSA100v4Family"] = 12
    with pytest.raises(Exception, match="Not enough quota"):
        client.online_deployments.begin_create_or_update(deployment).result()
    workspace.settings.quota.clear()
    workspace.settings.provisioning_errors["onlineDeployments"] = ("ResourceNotReady", "the container crashed")
    with pytest.raises(Exception, match="the container crashed"):
        client.online_deployments.begin_create_or_update(deployment).result()
    assert client.online_deployments.get("blue", "teacher-one").provisioning_state == "Failed"


def test_serverless_endpoints_serve_models_of_registries(workspace: Workspace) -> None:
    from azure.ai.ml.entities import ServerlessEndpoint

    client = workspace.client()
    model = "azureml://registries/azureml-meta/models/llama"
    made = client.serverless_endpoints.begin_create_or_update(ServerlessEndpoint(name="llama", model_id=model)).result()
    assert made.scoring_uri.endswith(".models.ai.azure.com")
    assert client.serverless_endpoints.get_keys("llama").primary_key
    client.serverless_endpoints.begin_delete("llama").result()
    assert list(client.serverless_endpoints.list()) == []
    nothing_wrong(workspace)


def test_registries_hold_assets_as_workspaces_do(workspace: Workspace, project: Path) -> None:
    from azure.ai.ml import load_component
    from azure.ai.ml.entities import Environment, Model

    workspace.add_registry("shop")
    client = workspace.client(registry_name="shop")
    environment = client.environments.create_or_update(Environment(name="env", version="1", image="python:3.11"))
    assert environment.id == "azureml://registries/shop/environments/env/versions/1"
    override = [{"environment": environment.id}]
    component = client.components.create_or_update(load_component(project / "train.yml", params_override=override))
    assert component.id == "azureml://registries/shop/components/train/versions/1"
    assert client.components.get("train", label="latest").version == "1"
    client.models.create_or_update(Model(name="m", version="1", path=str(project / "code"), type="custom_model"))
    assert [one.name for one in client.models.list()] == ["m"]
    with pytest.raises(Exception, match="elsewhere"):
        workspace.client(registry_name="elsewhere")
    nothing_wrong(workspace)


def test_computes_quota_and_sizes(workspace: Workspace) -> None:
    from azure.ai.ml.entities import AmlCompute

    client = workspace.client()
    workspace.add_compute("gpu", "Standard_NC24ads_A100_v4", max_nodes=2, priority="LowPriority")
    assert client.compute.get("gpu").tier == "low_priority"
    made = client.compute.begin_create_or_update(AmlCompute(name="mine", size="Standard_DS3_v2")).result()
    assert made.provisioning_state == "Succeeded"
    workspace.settings.usage["standardDSv2Family"] = 8
    # The SDK puts what the service answers into the entity under the names that it has there.
    usage = {one.name["value"]: (vars(one)["currentValue"], one.limit) for one in client.compute.list_usage()}
    assert usage["standardDSv2Family"] == (8, 100)
    assert "Standard_ND96isr_H100_v5" in {one.name for one in client.compute.list_sizes()}
    with pytest.raises(Exception, match="ComputeNotFound"):
        client.compute.get("nowhere")
    with pytest.raises(Exception, match="not available in region"):
        client.compute.begin_create_or_update(AmlCompute(name="odd", size="Standard_Odd")).result()


@pytest.mark.parametrize(
    "names", [{"workspace_name": "nowhere"}, {"subscription_id": "0" * 8}, {"resource_group_name": "x"}]
)
def test_what_does_not_exist_is_not_found(workspace: Workspace, names: dict[str, str]) -> None:
    client = workspace.client(**names)
    with pytest.raises(Exception, match=r"NotFound|not found"):
        client.compute.get("cpu-cluster")
    assert workspace.requests[-1].status == 404
    assert workspace.requests[-1].route == "GET {ws}/computes/{name}"
