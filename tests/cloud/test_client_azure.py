"""The client in a workspace on loopback: what people write from memory, and everything of azure-ai-ml's own client."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from client_program import PROGRAM, Ran, run, write_folder
from loopback import Workspace

from azdistill import DistillationJob, MLClient, RunFailed, ServiceError, UserError
from azdistill.client.headline import NOT_BETTER, SENTENCE
from azdistill.client.workspace import Jobs, WorkspaceModels

WORKSPACE = re.compile(r"AZURE_(SUBSCRIPTION_ID|RESOURCE_GROUP|ML_WORKSPACE)|AZUREML_ARM_.*")


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Path]]:
    """A workspace that runs what it is sent, found by config.json in a folder where the program's data lies."""
    folder = write_folder(tmp_path_factory.mktemp("program"))
    with pytest.MonkeyPatch.context() as patch, Workspace(tmp_path_factory.mktemp("workspace")) as workspace:
        for name in list(os.environ):
            if name.startswith(("AZURE_", "AZUREML_", "ARM_", "IDENTITY_", "MSI_", "MLFLOW_", "AZDISTILL_HOME")):
                patch.delenv(name)
        for name, value in {**workspace.environment(), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}.items():
            if not WORKSPACE.fullmatch(name):
                patch.setenv(name, value)
        workspace.config(folder)
        yield workspace, folder
        assert workspace.errors == []
        assert workspace.violations == []


@pytest.mark.slow
def test_the_program_works_word_for_word_and_leaves_a_model_with_its_lineage(at: tuple[Workspace, Path]) -> None:
    workspace, folder = at
    ran = run(PROGRAM, folder)
    client = ran.names["ml_client"]
    prints_a_status_at_once_and_a_difference(ran)
    says_what_it_waits_for_and_none_of_the_sdks_noise(ran)
    tags_the_job_with_what_it_makes(workspace, ran)
    registers_model_and_data(client, ran)
    hands_everything_else_to_the_sdk(client, ran, folder)
    says_everywhere_whether_the_student_is_better(client, ran, folder)


def prints_a_status_at_once_and_a_difference(ran: Ran) -> None:
    status, difference = ran.out.splitlines()
    assert "Completed" not in status
    assert float(difference) == ran.names["distilled"]["accuracy"] - ran.names["baseline"]["accuracy"]
    assert list(ran.names["distilled"]) == ["accuracy", "bleu_score", "inference_time"]
    assert ran.names["baseline"]["parameters"] > 10_000


def says_what_it_waits_for_and_none_of_the_sdks_noise(ran: Ran) -> None:
    assert f"waiting for the run that makes phi-4-mini-distilled: {ran.names['job'].name}" in ran.err
    assert "register: Completed" in ran.err
    assert not re.search("experimental|Uploading|Warning|\x1b", ran.err)


def tags_the_job_with_what_it_makes(workspace: Workspace, ran: Ran) -> None:
    tags = workspace.store["jobs"].get(ran.names["job"].name)["properties"]["tags"]
    assert tags["azdistill.model"] == "phi-4-mini-distilled"
    assert tags["azdistill.student"] == "phi-4-mini"


def registers_model_and_data(client: MLClient, ran: Ran) -> None:
    (model,) = client.models.list("phi-4-mini-distilled")
    assert model.type == "mlflow_model"
    assert model.tags["azdistill.job"] == ran.names["job"].name
    assert model.tags["azdistill.teacher"] == "DeepSeek-V3"
    name, _, version = model.tags["azdistill.data.curated"].partition(":")
    curated = client.data.get(name, version)
    assert curated.path.endswith(f"/datastores/workspaceblobstore/paths/azdistill/assets/curated/{version}/rows.jsonl")
    assert curated.tags["azdistill.job"] == ran.names["job"].name
    assert "azdistill.retention" not in curated.tags
    assert len(list(client.data.list("phi-4-mini-teacher-rows"))) == 1


def says_everywhere_whether_the_student_is_better(client: MLClient, ran: Ran, folder: Path) -> None:
    report = (folder / "got" / "named-outputs" / "report" / "report.html").read_text()
    (model,) = client.models.list("phi-4-mini-distilled")
    tag = "true" if "NOT BETTER" in report else None
    assert model.tags.get(NOT_BETTER) == tag
    # The last line of a wait reads the tag of the pipeline's run.
    assert (SENTENCE in ran.err) is (tag is not None)


def hands_everything_else_to_the_sdk(client: MLClient, ran: Ran, folder: Path) -> None:
    import azure.ai.ml

    assert isinstance(client.azure, azure.ai.ml.MLClient)
    assert ran.names["job"].name in {job.name for job in client.jobs.list()}
    assert client.workspace_name == client.azure.workspace_name
    assert isinstance(client.jobs.get(ran.names["job"].name), azure.ai.ml.entities.PipelineJob)
    assert list(client.compute.list()) is not None
    client.jobs.download(ran.names["job"].name, download_path=folder / "got", output_name="report")
    assert (folder / "got" / "named-outputs" / "report" / "report.html").is_file()


def test_an_ordinary_job_of_the_sdk_passes_straight_through(at: tuple[Workspace, Path]) -> None:
    from azure.ai.ml import command, entities

    client, environment = client_of(at), entities.Environment(image="python:3.11-slim")
    job = client.jobs.create_or_update(command(command="echo hi", environment=environment, compute="cpu-cluster"))
    assert client.jobs.get(job.name).command == "echo hi"


def test_a_registered_model_without_a_run_is_measured_by_its_version(
    at: tuple[Workspace, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, folder = at
    properties = {"modelUri": "azureml://x", "modelType": "mlflow_model"}
    workspace.store.put("models", "other-distilled", {"properties": properties}, version="3")
    sent: list[Any] = []
    monkeypatch.setattr(Jobs, "submit", lambda self, prepared, tags: sent.append(prepared) or stop())
    with pytest.raises(InterruptedError):
        client_of(at).models.evaluate("other-distilled", folder / "test_data.jsonl", task_type="chat")
    assert sent[0].mapping["inputs"]["distilled"]["path"] == "azureml:other-distilled:3"
    with pytest.raises(UserError, match="is not known"):
        client_of(at).models.evaluate("other-distilled", folder / "test_data.jsonl")


def stop() -> str:
    raise InterruptedError


def test_a_name_that_leads_nowhere_is_told_before_anything_is_submitted(at: tuple[Workspace, Path]) -> None:
    client, before = client_of(at), len(at[0].requests)
    with pytest.raises(UserError, match="did you mean 'accuracy'"):
        client.models.evaluate("phi-4-mini-distilled", "test.jsonl", metrics=["acuracy"])
    assert len(at[0].requests) == before
    with pytest.raises(UserError, match="no run makes a model 'nothing-distilled'") as raised:
        client.models.evaluate("nothing-distilled", "test.jsonl")
    assert raised.value.code == "AZD490"


@pytest.fixture
def kept(make_workspace: Callable[..., Workspace], tmp_path: Path) -> tuple[Workspace, Path]:
    """A workspace that keeps jobs and does not run them."""
    return make_workspace(), write_folder(tmp_path / "program")


def submit(client: MLClient, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(folder)
    return client.jobs.create_or_update(
        DistillationJob(
            teacher_model="echo",
            teacher_endpoint="https://teacher.example/v1",
            student_model="phi-4-mini",
            task_type="conversation",
            training_data="./training_data.jsonl",
        )
    )


@pytest.mark.slow
def test_waiting_ends_when_the_time_is_up_and_says_how_to_go_on(
    kept: tuple[Workspace, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MLClient.from_config()
    job = submit(client, kept[1], monkeypatch)
    with pytest.raises(ServiceError, match=f"the run that makes phi-4-mini-distilled .*{job.name}") as raised:
        client.models.evaluate("phi-4-mini-distilled", "test_data.jsonl", timeout=0)
    assert raised.value.code == "AZD493"


def test_a_run_that_failed_makes_no_model(kept: tuple[Workspace, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    workspace, folder = kept
    client = MLClient.from_config()
    job = submit(client, folder, monkeypatch)
    workspace.store["jobs"].get(job.name)["properties"]["status"] = "Failed"
    with pytest.raises(RunFailed, match=f"phi-4-mini-distilled is Failed .{job.name}."):
        client.models.evaluate("phi-4-mini-distilled", "test_data.jsonl")


def test_the_constructor_and_from_config_take_what_the_sdks_take(kept: tuple[Workspace, Path], tmp_path: Path) -> None:
    workspace, _ = kept
    place = (workspace.subscription_id, workspace.group, workspace.name)
    client = MLClient(workspace.credential(), *place, show_progress=True)
    assert (client.subscription_id, client.resource_group_name, client.workspace_name) == place
    (tmp_path / "elsewhere" / "deeper").mkdir(parents=True)
    workspace.config(tmp_path / "elsewhere")
    found = MLClient.from_config(credential=workspace.credential(), path=tmp_path / "elsewhere" / "deeper")
    assert found.workspace_name == workspace.name
    with pytest.raises(UserError, match=r"hold no mine\.json") as raised:
        MLClient.from_config(path=tmp_path, file_name="mine.json")
    assert raised.value.code == "AZD411"
    workspace.add_registry("shared")
    assert list(MLClient(workspace.credential(), registry_name="shared").components.list()) == []


def test_a_recipe_of_a_file_is_submitted_too(kept: tuple[Workspace, Path]) -> None:
    _, folder = kept
    recipe = folder / "recipe.yml"
    recipe.write_text(
        "task: conversation\nteacher: {model: echo, endpoint: 'https://teacher.example/v1'}\nstudent: phi-4-mini\n"
        "data: {training_data: training_data.jsonl}\n"
    )
    assert MLClient.from_config().jobs.create_or_update(recipe).display_name == "conversation: echo to phi-4-mini"


def client_of(at: tuple[Workspace, Path]) -> MLClient:
    return MLClient.from_config(path=at[1])


def test_nothing_of_the_sdks_operations_is_hidden() -> None:
    from azure.ai.ml.operations import JobOperations, ModelOperations

    for ours, theirs in ((Jobs, JobOperations), (WorkspaceModels, ModelOperations)):
        own = {name for name in dir(ours) if not name.startswith("_")}
        # What ours define beside the SDK's: `submit` and `evaluate` are no names of theirs.
        assert own & set(dir(theirs)) <= {"create_or_update"}
