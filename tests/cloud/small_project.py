"""A small project to submit, and requests made by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import requests
from loopback import Workspace

SCRIPT = "print('trained')\n"
COMPONENT = """\
$schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json
type: command
name: train
version: "1"
inputs:
  rows: {type: uri_file}
  rate: {type: number, default: 0.1, min: 0, max: 1}
  mode: {type: string, optional: true, enum: [a, b]}
outputs:
  model: {type: uri_folder}
code: ./code
environment:
  image: python:3.11
command: >-
  python train.py --rows ${{inputs.rows}} --rate ${{inputs.rate}} $[[--mode ${{inputs.mode}}]]
  --model ${{outputs.model}}
"""
PIPELINE = """\
$schema: https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json
type: pipeline
experiment_name: tests
settings: {default_compute: azureml:cpu-cluster}
inputs:
  rows: {type: uri_file, path: ./rows.jsonl}
outputs:
  model: {type: uri_folder}
jobs:
  train:
    type: command
    component: ./train.yml
    compute: azureml:cpu-cluster
    inputs: {rows: "${{parent.inputs.rows}}", rate: 0.5, mode: a}
    outputs: {model: "${{parent.outputs.model}}"}
  again:
    type: command
    component: ./train.yml
    inputs: {rows: "${{parent.inputs.rows}}"}
"""


def write_project(folder: Path) -> Path:
    """A pipeline of two steps, with a component, its code and a file of rows."""
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "train.py").write_text(SCRIPT)
    (folder / "train.yml").write_text(COMPONENT)
    (folder / "rows.jsonl").write_text('{"messages": []}\n')
    (folder / "pipeline.yml").write_text(PIPELINE)
    return folder


def submit(client: Any, project: Path) -> Any:
    """Submit the project's pipeline with azure-ai-ml alone."""
    from azure.ai.ml import load_job

    return client.jobs.create_or_update(load_job(project / "pipeline.yml"))


def nothing_wrong(workspace: Workspace) -> None:
    """Every body was checked, and fits; nothing broke in the workspace."""
    assert workspace.errors == []
    assert workspace.violations == []
    if workspace.schemas is not None:
        assert workspace.checked == workspace.sent > 0


def put(workspace: Workspace, path: str, body: Any, version: str = "2024-01-01-preview", method: str = "PUT") -> Any:
    """Send a body to the workspace's ARM with a good token; ``path`` is below the workspace."""
    headers = {"Authorization": f"Bearer {workspace.tokens.give(workspace.url + '/.default')}"}
    url = f"{workspace.url}{workspace.id}/{path}?api-version={version}"
    return requests.request(method, url, json=body, headers=headers, verify=str(workspace.ca), timeout=30)
