"""A pipeline with a sweep is planned and submitted as it runs here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from loopback import Workspace
from submit_helpers import connection_to

from azdistill.cloud.submit.command_steps import leaves
from azdistill.cloud.submit.prepare import prepare
from azdistill.cloud.submit.submit import submit
from azdistill.cloud.workspace.connect import Connection

TRIAL = {
    "$schema": "https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json",
    **{"type": "command", "name": "trial", "version": "1", "code": "./code"},
    "inputs": {"x": {"type": "number"}},
    "outputs": {"out": {"type": "uri_folder"}},
    "environment": {"image": "python:3.11"},
    "command": "python train.py ${{inputs.x}} ${{outputs.out}}",
}
SWEEP = {
    **{"type": "sweep", "trial": "./trial.yml", "sampling_algorithm": "random"},
    "search_space": {"x": {"type": "uniform", "min_value": 0, "max_value": 1}},
    "objective": {"goal": "minimize", "primary_metric": "loss"},
    "limits": {"max_total_trials": 6, "max_concurrent_trials": 3, "timeout": 7200},
    "early_termination": {"type": "median_stopping", "evaluation_interval": 2, "delay_evaluation": 5},
    "outputs": {"out": "${{parent.outputs.best}}"},
}
JOB = {
    "type": "pipeline",
    "settings": {"default_compute": "azureml:cpu-cluster"},
    "outputs": {"best": {"type": "uri_folder"}},
    "jobs": {"tune": SWEEP},
}


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(tmp_path_factory.mktemp("workspace"), execute=False) as workspace:
        yield workspace


@pytest.fixture
def connection(ws: Workspace) -> Iterator[Connection]:
    with ws.environ():
        yield connection_to(ws)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "train.py").write_text("print('trained')\n")
    (tmp_path / "trial.yml").write_text(yaml.safe_dump(TRIAL))
    (tmp_path / "pipeline.yml").write_text(yaml.safe_dump(JOB))
    return tmp_path / "pipeline.yml"


def test_the_workspace_gets_the_sweep_as_it_is_written(ws: Workspace, connection: Connection, project: Path) -> None:
    submit(connection, prepare(project))
    sent = next(one for one in reversed(list(ws.requests)) if one.method == "PUT" and "/jobs/" in one.path)
    node = sent.body["properties"]["jobs"]["tune"]
    assert node["type"] == "sweep"
    assert node["trial"]["componentId"]
    assert node["search_space"] == SWEEP["search_space"]
    assert node["limits"] == SWEEP["limits"]
    assert node["objective"] == SWEEP["objective"]
    assert node["environment_variables"]["AZDISTILL_ARM_ENDPOINT"] == ws.url
    assert ws.violations == []


def test_trials_that_run_at_the_same_time_need_a_machine_each(project: Path) -> None:
    (leaf,) = leaves(prepare(project).pipeline)
    assert (leaf.nodes, leaf.timeout) == (3, 7200)


def test_what_the_trial_is_decides_the_fingerprint(project: Path) -> None:
    before = prepare(project).fingerprint
    assert prepare(project).fingerprint == before
    (project.parent / "code" / "train.py").write_text("print('otherwise')\n")
    changed = prepare(project).fingerprint
    assert changed != before
    text = project.read_text()
    project.write_text(text.replace("max_value: 1", "max_value: 2"))
    assert prepare(project).fingerprint not in (before, changed)
