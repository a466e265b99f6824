"""The doctor against a workspace on loopback, and its probe as a process."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback import Workspace

from azdistill.cli import main
from azdistill.cloud.doctor import machine, workspace
from azdistill.cloud.doctor.finding import FAIL, OK, WARN, Finding, worst
from azdistill.cloud.doctor.recipe import probe

SHARED = Path(os.environ.get("AZDISTILL_SHARED", Path(__file__).parents[3] / "shared"))
PIPELINE = """\
type: pipeline
inputs:
  teacher_endpoint: https://teacher.example/v1
  teacher_key: connection:teacher
settings:
  default_compute: azureml:{compute}
jobs:
  ask:
    type: command
    component:
      type: command
      name: ask
      inputs: {{key: {{type: string}}}}
      command: echo '${{{{inputs.key}}}}'
      environment: {{image: 'python:3.11-slim'}}
    inputs: {{key: '${{{{parent.inputs.teacher_key}}}}'}}
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(tmp_path_factory.mktemp("doctor"), shared=SHARED) as ws, ws.environ():
        yield ws


@pytest.fixture
def ws(served: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "docker", lambda: Finding("docker", OK, "24.0", exit_code=3))
    yield served
    served.faults.clear()
    served.settings.actions[:] = ["*"]
    served.settings.not_actions.clear()
    served.store["connections"].clear()
    served.requests.clear()


Doctor = Callable[..., tuple[int, dict[str, list[dict[str, Any]]]]]


@pytest.fixture
def doctor(ws: Workspace, capsys: pytest.CaptureFixture[str]) -> Doctor:
    """Exit code and findings by name."""

    def run(*arguments: str) -> tuple[int, dict[str, list[dict[str, Any]]]]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["doctor", "--json", *arguments])
        found: dict[str, list[dict[str, Any]]] = {}
        for finding in json.loads(capsys.readouterr().out):
            found.setdefault(finding["name"], []).append(finding)
        return int(ended.value.code or 0), found

    return run


def levels(findings: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    return {name: found[0]["level"] for name, found in findings.items()}


def test_all_is_well_where_all_is_well(doctor: Doctor, ws: Workspace) -> None:
    code, found = doctor()
    assert code == 0
    for name in ("clock", "credentials", "workspace", "images", "roles", "storage", "connections", "mlflow", "python"):
        assert levels(found)[name] == OK, found[name]
    assert ws.tenant_id in found["credentials"][0]["said"]
    assert "with the workspace's key" in found["storage"][0]["said"]


def test_nothing_is_written_and_nothing_secret_is_shown(
    doctor: Doctor, ws: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    doctor()
    assert {one.method for one in ws.requests} <= {"GET", "POST", "HEAD"}
    assert {one.path.rpartition("/")[2] for one in ws.requests.find("POST")} <= {"token", "listSecrets"}
    with pytest.raises(SystemExit):
        main(["doctor"])
    assert ws.client_secret not in capsys.readouterr().out


def test_offline_asks_nobody_and_says_what_it_can(doctor: Doctor, ws: Workspace) -> None:
    code, found = doctor("--offline")
    assert (code, set(found)) == (0, {"python", "packages", "mlflow", "disk", "docker"})
    assert not len(ws.requests)


def test_without_a_workspace_the_rest_is_still_looked_at(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_ML_WORKSPACE", "AZUREML_ARM_WORKSPACE_NAME"):
        monkeypatch.delenv(name)
    code, found = doctor()
    assert code == 2
    assert levels(found)["workspace"] == FAIL
    assert levels(found)["azure"] == "skip"
    assert levels(found)["python"] == OK


def test_a_workspace_that_is_not_there_stops_what_needs_it(doctor: Doctor) -> None:
    code, found = doctor("--workspace", "lopback")
    assert code == 4
    assert "AZD404" in found["workspace"][0]["said"]
    assert "loopback" in found["workspace"][0]["todo"]
    assert {levels(found)[name] for name in ("roles", "storage", "connections")} == {"skip"}


def test_wrong_credentials_are_told_once(doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "a wrong one")
    code, found = doctor()
    assert code in (3, 4)
    assert levels(found)["credentials"] == FAIL
    assert levels(found)["clock"] == OK
    assert levels(found)["workspace"] == "skip"


def test_missing_roles_are_told_by_what_needs_them(doctor: Doctor, ws: Workspace) -> None:
    ws.settings.actions[:] = ["*/read"]
    code, found = doctor()
    said = {finding["said"]: finding["level"] for finding in found["roles"]}
    assert code == 4
    assert any(text.startswith("submit: workspaces/jobs/write") and level == FAIL for text, level in said.items())
    assert any(text.startswith("schedule:") and level == WARN for text, level in said.items())
    assert not any(text.startswith("follow") for text in said)
    ws.settings.actions[:] = ["*"]
    ws.settings.not_actions.append("Microsoft.MachineLearningServices/workspaces/schedules/*")
    code, found = doctor()
    assert code == 0
    assert [finding["level"] for finding in found["roles"]] == [WARN, OK]


@pytest.mark.parametrize("status", [403, 404])
def test_storage_that_refuses_is_told(doctor: Doctor, ws: Workspace, status: int) -> None:
    ws.fail("GET {ws}/datastores/{name}", status=status)
    code, found = doctor()
    assert (code, levels(found)["storage"], levels(found)["connections"]) == (4, FAIL, OK)


def test_storage_by_identity(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Workspace(tmp_path, identity_storage=True, execute=False) as ws, ws.environ():
        with pytest.raises(SystemExit) as ended:
            main(["doctor"])
        assert ended.value.code == 0
    assert "can be listed by your own role" in capsys.readouterr().out


@pytest.mark.parametrize(("seconds", "level"), [(0, OK), (100, WARN), (4000, FAIL), (-4000, FAIL)])
def test_a_wrong_clock_is_told(doctor: Doctor, monkeypatch: pytest.MonkeyPatch, seconds: int, level: str) -> None:
    from email.utils import formatdate
    from time import time

    monkeypatch.setattr(workspace, "_date", lambda _: formatdate(time() - seconds, usegmt=True))
    code, found = doctor()
    assert (levels(found)["clock"], code) == (level, 3 if level == FAIL else 0)


def test_a_pipeline_is_held_against_the_workspace(doctor: Doctor, ws: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yml"
    file.write_text(PIPELINE.format(compute="cpu-cluster"))
    code, found = doctor(str(file))
    assert code == 4
    assert found["recipe"][0]["level"] in (OK, WARN)
    assert found["connection"][0]["said"] == "the workspace has no connection 'teacher'"
    properties = {"authType": "ApiKey", "category": "ApiKey", "metadata": {}}
    ws.store.put("connections", "teacher", {"properties": properties})
    code, found = doctor(str(file))
    assert (code, levels(found)["connection"], levels(found)["plan"]) == (0, OK, OK)


def test_a_compute_that_is_not_there_fails_the_plan(doctor: Doctor, ws: Workspace, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yml"
    file.write_text(PIPELINE.format(compute="gpu-cluster").replace("connection:teacher", "entra"))
    code, found = doctor(str(file))
    assert (code, levels(found)["plan"]) == (4, FAIL)
    assert "gpu-cluster" in found["plan"][0]["said"]


def test_a_file_that_cannot_be_submitted_is_told_with_its_line(doctor: Doctor, tmp_path: Path) -> None:
    file = tmp_path / "pipeline.yml"
    file.write_text(PIPELINE.format(compute="cpu-cluster").replace("connection:teacher", "env:KEY"))
    code, found = doctor("--offline", str(file))
    assert (code, levels(found)["recipe"]) == (2, FAIL)
    assert "pipeline.yml:4" in found["recipe"][0]["said"]


def test_people_see_one_line_and_what_to_do(ws: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    ws.settings.actions[:] = ["*/read"]
    with pytest.raises(SystemExit):
        main(["doctor"])
    lines = capsys.readouterr().out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("fail  roles"))
    assert lines[at + 1].strip().startswith("the role AzureML Data Scientist")


# This machine -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plugin", "mlflow", "level"),
    [("1.62.0.post6", "3.15.0", OK), ("1.62.0.post6", "3.17.2", FAIL), ("1.60.0", "3.10.0", FAIL), (None, "3.1", WARN)],
)
def test_the_pins_of_mlflow(monkeypatch: pytest.MonkeyPatch, plugin: str | None, mlflow: str, level: str) -> None:
    known = {"azureml-mlflow": plugin, "mlflow-skinny": mlflow}
    monkeypatch.setattr(machine, "_version", known.get)
    monkeypatch.setattr(machine, "requires", lambda _: ["azure-core>=1", "mlflow_skinny<=3.15.0,>1", "pytz<=2025.2"])
    finding = machine.mlflow_pin()
    assert (finding.level, finding.exit_code) == (level, 3)
    if mlflow == "3.17.2":
        assert "mlflow<=3.15.0" in finding.todo


def test_a_missing_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_version", lambda name: None if name == "azure-identity" else "1")
    (finding,) = machine.packages()
    assert (finding.level, finding.todo) == (FAIL, "pip install azure-identity")


def test_a_docker_that_does_not_run_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "docker"
    fake.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (machine.docker().level, machine.docker().said) == (WARN, "Cannot connect to the Docker daemon")
    fake.unlink()
    assert machine.docker().said == "not installed"


def test_a_full_disk_is_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)._replace(free=10**9)
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: usage)
    assert machine.disk(tmp_path / "not" / "yet").level == WARN


def test_the_worst_failure_is_the_exit_code() -> None:
    found = [Finding("a", OK, ""), Finding("b", FAIL, "", exit_code=3), Finding("c", WARN, "", exit_code=4)]
    assert worst(found) == 3
    assert worst([*found, Finding("d", FAIL, "", exit_code=4)]) == 4
    assert worst(found[:1]) == 0


@pytest.mark.parametrize(
    ("actions", "hidden", "action", "allowed"),
    [
        (["*"], [], "A/b/write", True),
        (["A/*/write"], [], "A/b/c/write", True),
        (["a/B/write"], [], "A/b/Write", True),
        (["A/b/read"], [], "A/b/write", False),
        (["*"], ["A/b/*"], "A/b/write", False),
        (["A/b.write"], [], "A/b/write", False),
        ([], [], "A/b/write", False),
    ],
)
def test_permissions_are_read_with_their_wildcards(
    actions: list[str], hidden: list[str], action: str, allowed: bool
) -> None:
    assert workspace.may([{"actions": actions, "notActions": hidden}], action) is allowed


# The probe --------------------------------------------------------------------------------------------------------


def test_the_probe_is_one_step_on_a_cluster_or_a_size(tmp_path: Path) -> None:
    cluster = probe("cpu-cluster", {"teacher_endpoint": "https://t/v1"}, tmp_path, None)
    step = cluster.mapping["jobs"]["probe"]
    assert (step["compute"], step["inputs"]) == ("azureml:cpu-cluster", {"teacher_endpoint": "https://t/v1"})
    size = probe("Standard_NC24ads_A100_v4", {}, tmp_path, None).mapping["jobs"]["probe"]
    assert size["resources"]["instance_type"] == "Standard_NC24ads_A100_v4"


def test_the_probe_runs_as_a_job_and_is_followed(
    ws: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["doctor", "--compute", "cpu-cluster"])
    text = capsys.readouterr()
    assert ended.value.code == 0, text.err
    assert "outputs are written and read back" in text.out + text.err
    (job,) = ws.store["jobs"].values()
    assert job["properties"]["status"] == "Completed"
