"""What a submit would do, against a workspace on loopback: nothing is uploaded and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import Workspace
from submit_helpers import connection_to, impatient, make_project

from azdistill.cli.submit import plan_lines
from azdistill.cloud.submit import uploads
from azdistill.cloud.submit.plan import SubmitPlan, plan_submission
from azdistill.cloud.submit.prepare import prepare
from azdistill.cloud.workspace.connect import Connection
from azdistill.errors import ServiceError, SpecError
from azdistill.sizing import skus

ROOT = Path(__file__).parents[2]
GPU = "Standard_NC24ads_A100_v4"


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(tmp_path_factory.mktemp("workspace"), execute=False) as workspace:
        workspace.add_compute("gpu-cluster", GPU, max_nodes=2)
        workspace.add_compute("broken", GPU, state="Failed")
        yield workspace


@pytest.fixture
def connection(ws: Workspace) -> Iterator[Connection]:
    with ws.environ(), impatient():
        yield connection_to(ws)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_project(tmp_path)


def planned(connection: Connection, file: Path, profile: str = "{}", sets: dict[str, str] | None = None) -> SubmitPlan:
    (file.parent / "azdistill.yml").write_text(f"profiles:\n  dev: {profile}\nprices: {{Standard_DS3_v2: 0.5}}\n")
    return plan_submission(connection, prepare(file, sets, profile="dev"))


def text_of(plan: SubmitPlan) -> str:
    return "\n".join(plan_lines(plan))


def only_problem(plan: SubmitPlan) -> str:
    with pytest.raises(SpecError) as caught:
        plan.raise_for_problems()
    assert len(caught.value.problems) == 1
    return str(caught.value)


def test_nothing_is_changed(ws: Workspace, connection: Connection, project: Path) -> None:
    seen = len(ws.requests)
    planned(connection, project, "{image_build_compute: cpu-cluster, max_gpu_hours: 5}").raise_for_problems()
    sent = ws.requests[seen:]
    assert sent
    assert {one.method for one in sent} - {"GET"} <= {"POST"}
    assert all("oauth2" in one.path for one in sent if one.method == "POST")


def test_a_named_cluster_is_looked_up_once(ws: Workspace, connection: Connection, project: Path) -> None:
    seen = len(ws.requests)
    plan = planned(connection, project)
    assert [(step.compute, step.size) for step in plan.steps] == [("cpu-cluster", "STANDARD_DS3_V2")] * 2
    assert sum("/computes/" in one.path for one in ws.requests[seen:]) == 1


def test_hours_and_cost_are_upper_bounds_by_the_time_limits(connection: Connection, project: Path) -> None:
    plan = planned(connection, project, "{computes: {second: gpu-cluster}}")
    sku = skus.find(GPU)
    assert sku is not None
    assert plan.gpu_hours == pytest.approx(sku.gpus * 600 / 3600)
    assert sku.price is not None
    assert plan.cost == pytest.approx(24 * 0.5 + sku.price * 600 / 3600)
    assert f"cost at most {plan.cost:,.2f} USD, at prices of {sku.as_of}" in text_of(plan)
    assert plan.unpriced == []


@pytest.mark.parametrize("size", [GPU, "Standard_NC4as_T4_v3"])
def test_spare_capacity_costs_its_own_price_or_at_most_the_full_one(
    ws: Workspace, connection: Connection, project: Path, size: str
) -> None:
    sku = skus.find(size)
    assert sku is not None
    ws.add_compute("spare", size, priority="LowPriority")
    on_cluster = planned(connection, project, "{computes: {second: spare}}").steps[1]
    serverless = planned(connection, project, f"{{spot: true, computes: {{second: {size}}}}}").steps[1]
    for step in (on_cluster, serverless):
        assert (step.spot, step.price) == (True, sku.low_priority_price or sku.price)


def test_a_step_whose_machine_azure_chooses_has_no_gpu_and_no_known_price(
    connection: Connection, project: Path
) -> None:
    plan = planned(connection, project, "{compute: azureml:serverless}")
    assert (plan.gpu_hours, plan.cost, plan.unpriced) == (0, None, ["first", "second"])
    assert "not known for first, second" in text_of(plan)


def test_a_compute_that_does_not_exist_names_the_nearest(connection: Connection, project: Path) -> None:
    said = only_problem(planned(connection, project, "{computes: {second: gpu-clustre}}"))
    assert "error[AZD421]: the workspace has no compute 'gpu-clustre' (step 'second')" in said
    assert "did you mean 'gpu-cluster'?" in said
    assert "azureml:serverless" in said


def test_a_compute_that_is_broken_is_refused(connection: Connection, project: Path) -> None:
    assert "AZD422" in only_problem(planned(connection, project, "{computes: {second: broken}}"))


def test_a_gpu_that_vllm_does_not_run_on_is_refused_before_it_is_paid(
    connection: Connection, project: Path, tmp_path: Path
) -> None:
    (tmp_path / "teacher.yml").write_text(
        "type: command\nname: teacher_in_job\nversion: 1\ncommand: nvidia-smi\nenvironment: azureml:env:1\n"
    )
    (tmp_path / "v100.yml").write_text(
        "type: pipeline\nsettings: {default_compute: azureml:serverless}\njobs:\n  ask:\n    type: command\n"
        "    component: ./teacher.yml\n    resources: {instance_type: Standard_ND40rs_v2}\n"
    )
    codes = {p.message for p in planned(connection, tmp_path / "v100.yml").problems if p.code == "AZD422"}
    reason = "V100 has compute capability 7.0, and vLLM needs 7.5 or higher"
    assert codes == {f"step 'ask' cannot run on Standard_ND40rs_v2: {reason}"}


def test_more_nodes_than_the_cluster_has_are_refused(connection: Connection, project: Path) -> None:
    project.write_text(project.read_text() + "    resources: {instance_count: 3}\n    compute: azureml:gpu-cluster\n")
    said = only_problem(planned(connection, project))
    assert "step 'second' wants 3 nodes; 'gpu-cluster' has at most 2" in said
    assert "pipeline.yml" in said


def test_several_nodes_count_several_times(connection: Connection, project: Path) -> None:
    project.write_text(project.read_text() + "    resources: {instance_count: 2}\n    compute: azureml:gpu-cluster\n")
    plan = planned(connection, project)
    assert plan.steps[1].gpu_hours == pytest.approx(2 * 600 / 3600)
    assert "2 nodes" in text_of(plan)


def test_an_unknown_instance_type_is_a_warning(connection: Connection, project: Path) -> None:
    plan = planned(connection, project, "{computes: {second: Standard_NC24ads_A100_v44}}")
    (warning,) = plan.warnings
    assert "nothing is known of the instance type" in warning
    assert GPU in warning


def test_the_ceiling_of_gpu_hours(connection: Connection, project: Path) -> None:
    plan = planned(connection, project, "{compute: gpu-cluster, max_gpu_hours: 20}")
    said = only_problem(plan)
    assert "AZD420" in said
    assert "may take 24.1667 GPU hours, and max_gpu_hours is 20" in said
    planned(connection, project, "{compute: gpu-cluster, max_gpu_hours: 25}").raise_for_problems()


def test_a_ceiling_cannot_hold_what_is_not_known(connection: Connection, project: Path) -> None:
    said = only_problem(planned(connection, project, "{computes: {second: Standard_NX99_v9}, max_gpu_hours: 20}"))
    assert "not known what second may take" in said


def test_a_model_step_without_a_gpu_is_a_warning(connection: Connection, ws: Workspace) -> None:
    sets = {"teacher_key": "connection:teacher"}
    prepared = prepare(ROOT / "pipelines" / "distill.yml", sets)
    jobs = prepared.mapping["jobs"]
    from azdistill.cloud.submit.prepare import prepare_mapping

    slow = {**prepared.mapping, "jobs": {**jobs, "finetune": {**jobs["finetune"], "compute": "azureml:cpu-cluster"}}}
    plan = plan_submission(connection, prepare_mapping(slow, ROOT / "pipelines"))
    assert any(text.startswith("finetune: ") and "has no GPU" in text for text in plan.warnings)


def test_images_name_their_base_and_cuda(connection: Connection) -> None:
    sets = {"teacher_key": "connection:teacher"}
    plan = plan_submission(connection, prepare(ROOT / "pipelines" / "distill.yml", sets))
    images = {image.name: image for image in plan.images}
    assert images["azdistill-train"].how == "built"
    assert "openmpi" in str(images["azdistill-train"].base)
    assert images["azdistill-train"].cuda
    assert images["azdistill-data"].cuda is None
    assert "finetune" in images["azdistill-train"].steps


@pytest.mark.parametrize("name", ["data", "train"])
def test_our_environments_name_their_base_and_cuda_as_their_dockerfile_does(name: str) -> None:
    from azdistill.aml import load_environment
    from azdistill.cloud.submit.uploads import Image, _base

    environment = load_environment(ROOT / "environments" / name / "environment.yml")
    assert environment.tags["base_image"] == _base(environment)
    assert environment.tags["cuda"] == (Image(name, "built", _base(environment)).cuda or "none")


def test_ready_environments_take_the_place_of_others(connection: Connection, ws: Workspace) -> None:
    ready = "mcr.microsoft.com/ready/train-cuda12.8:1"
    text = f"profiles: {{dev: {{environments: {{azdistill-train: '{ready}', azdistill-data: 'azureml:mine:3'}}}}}}"
    folder = Path(ws.folder) / "ready"
    folder.mkdir()
    (folder / "azdistill.yml").write_text(text)
    from azdistill.cloud.workspace.profiles import find_profile

    sets = {"teacher_key": "connection:teacher"}
    prepared = prepare(ROOT / "pipelines" / "distill.yml", sets, profile=find_profile("dev", folder))
    plan = plan_submission(connection, prepared)
    assert {image.name: (image.how, image.cuda) for image in plan.images} == {
        ready: ("ready", "12.8"),
        "azureml:mine:3": ("registered", None),
    }
    assert not [upload for upload in plan.uploads if upload.what.startswith("image")]
    assert "the environment azureml:mine:3 is not registered" in only_problem(plan)
    ws.store.put("environments", "mine", {"properties": {}}, version="3")
    plan_submission(connection, prepared).raise_for_problems()


def test_the_compute_that_builds_images_has_to_exist(connection: Connection, project: Path) -> None:
    assert "AZD421" in only_problem(planned(connection, project, "{image_build_compute: cpu-clstr}"))
    plan = planned(connection, project, "{image_build_compute: cpu-cluster}")
    assert any("will build its images on cpu-cluster" in text for text in plan.warnings)


def test_uploads_are_listed_once_with_their_sizes(connection: Connection, project: Path, tmp_path: Path) -> None:
    plan = planned(connection, project)
    by_name = {upload.what: upload for upload in plan.uploads}
    assert set(by_name) == {"code of first, second", "data rows"}
    code = by_name["code of first, second"]
    # component.yml, count_rows.py, .amlignore, sub/data.txt and the two of shared_code.
    assert (code.files, code.ignored) == (6, 2)
    assert by_name["data rows"].size == (tmp_path / "rows.jsonl").stat().st_size
    assert "2 ignored" in text_of(plan)


def test_a_large_file_is_named(
    connection: Connection, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "LARGE_FILE", 1000)
    (tmp_path / "component" / "checkpoint.pt").write_bytes(b"0" * 2000)
    plan = planned(connection, project)
    assert any("checkpoint.pt" in text and ".amlignore" in text for text in plan.warnings)


def test_quota_that_cannot_hold_it_is_refused(
    ws: Workspace, connection: Connection, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from azdistill.cloud.workspace.region import Facts, Quota, squeezed

    sku = skus.find(GPU)
    assert sku is not None
    for limit, used, problem in ((8, 0, True), (24, 8, False)):
        monkeypatch.setattr(Facts, "quotas", {squeezed(sku.family): Quota(sku.family, used, limit)})
        plan = planned(connection, project, f"{{computes: {{second: {GPU}}}}}")
        if problem:
            assert "step 'second' wants 24 cores" in only_problem(plan)
        else:
            assert any("waits for 24 cores" in text and "16 of 24 are free" in text for text in plan.warnings)


def test_quota_is_read_from_the_workspaces_region(connection: Connection) -> None:
    from azdistill.cloud.workspace.region import Facts

    quotas = Facts(connection).quotas
    assert quotas
    assert all(quota.limit is None or quota.limit >= 0 for quota in quotas.values())


def test_quota_that_may_not_be_seen_is_not_checked(ws: Workspace, connection: Connection, project: Path) -> None:
    fault = ws.fail("*/usages", status=403)
    planned(connection, project, f"{{computes: {{second: {GPU}}}}}").raise_for_problems()
    assert fault.hits == 1
    fault.times = 0


def test_a_workspace_that_does_not_exist_is_an_error_of_the_service(
    ws: Workspace, connection: Connection, project: Path
) -> None:
    with pytest.raises(ServiceError, match="no workspace 'nowhere'"):
        plan_submission(connection_to(ws, "nowhere"), prepare(project))


def test_all_problems_are_told_at_once(connection: Connection, project: Path) -> None:
    plan = planned(connection, project, "{computes: {first: nobody, second: broken}, image_build_compute: none}")
    assert [problem.code for problem in plan.problems] == ["AZD421", "AZD422", "AZD421"]


def test_the_plan_is_json(connection: Connection, project: Path) -> None:
    import json

    plan = planned(connection, project)
    said = json.loads(json.dumps(plan.as_json()))
    assert said["steps"][0]["compute"] == "cpu-cluster"
    assert said["upload_bytes"] == plan.upload_size
    assert said["fingerprint"] == plan.fingerprint
