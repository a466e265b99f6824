"""What the workspace on loopback refuses, and what it reports of bodies that do not fit ARM's schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from loopback import Workspace
from small_project import put, submit


@pytest.fixture
def checked(workspace: Workspace) -> Workspace:
    if workspace.schemas is None:
        pytest.skip("ARM's schemas are looked for in $AZDISTILL_SHARED (default: ../shared)")
    return workspace


@pytest.mark.parametrize(
    ("path", "change", "where"),
    [
        ("jobs/x", {"jobType": "Pipelin"}, "properties"),
        ("jobs/x", {"displayName": 3}, "properties.displayName"),
        ("jobs/x", {"inputs": {"a": {"jobInputType": "literal", "value": 3}}}, "properties.inputs.a.value"),
        ("jobs/x", {"tags": []}, "properties.tags"),
        ("jobs/not a name", {}, "name"),
        ("data/x/versions/1", {"dataType": "uri_fil"}, "properties"),
        ("data/x/versions/1", {"dataType": "uri_file", "isArchived": "no"}, "properties.isArchived"),
    ],
)
def test_a_broken_body_is_reported(checked: Workspace, path: str, change: dict[str, Any], where: str) -> None:
    job = {"jobType": "Pipeline", "jobs": {}, "settings": {}}
    data = {"dataType": "uri_file", "dataUri": "azureml://datastores/d/paths/x"}
    good: dict[str, Any] = data if path.startswith("data") else job
    put(checked, "jobs/x" if good is job else path, {"properties": good})
    assert checked.violations == []
    put(checked, path, {"properties": {**good, **change}})
    assert checked.checked == checked.sent == 2
    assert checked.violations[0].where.startswith(where)


def test_an_unknown_version_is_checked_against_the_nearest(checked: Workspace) -> None:
    put(checked, "jobs/x", {"properties": {"jobType": "Pipeline", "displayName": 3}}, version="2024-02-01")
    assert checked.check.fallbacks == {("workspaces_jobs", "2024-02-01", "2024-10-01-preview")}
    assert len(checked.violations) == 1


def test_what_is_not_json_is_reported_and_refused(checked: Workspace) -> None:
    headers = {"Authorization": f"Bearer {checked.tokens.give(checked.url + '/.default')}"}
    url = f"{checked.url}{checked.id}/jobs/x?api-version=2024-01-01-preview"
    answer = requests.put(url, data=b"{", headers=headers, verify=str(checked.ca), timeout=30)
    assert answer.json()["error"]["code"] == "InvalidRequestContent"
    assert len(checked.violations) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"inputs": {"row": {"value": "x"}}}, "unknown input 'row'"),
        ({"inputs": {}}, "required input 'rows' is not given"),
        ({"inputs": {"rate": {"value": "much"}}}, "'much' is no number"),
        ({"inputs": {"rate": {"value": "2"}}}, "2 is not within 0.0 and 1.0"),
        ({"inputs": {"mode": {"value": "c"}}}, "'c' is not one of"),
        ({"inputs": {"rows": {"value": "./rows.jsonl"}}}, "is a uri_file, not the value"),
        ({"inputs": {"rows": {"value": "${{parent.inputs.row}}"}}}, "which the pipeline does not have"),
        ({"inputs": {"rows": {"value": "${{parent.jobs.nope.outputs.model}}"}}}, "bound to job 'nope'"),
        ({"inputs": {"rows": {"value": "${{parent.jobs.again.outputs.x}}"}}}, "output 'x' of job 'again'"),
        ({"inputs": {"rows": {"value": "${{parent.jobs.train.outputs.model}}"}}}, "wait for each other"),
        ({"outputs": {"weights": {"value": "${{parent.outputs.model}}"}}}, "unknown output 'weights'"),
        ({"computeId": "{ws}/computes/gpu"}, "computes/gpu could not be found"),
        ({"componentId": "{ws}/components/azureml_anonymous/versions/0"}, "versions/0 could not be found"),
        ({"componentId": None}, "names no component"),
        ({"type": "comand"}, "unknown type 'comand'"),
    ],
)
def test_a_job_of_a_pipeline_that_the_service_would_refuse_is_refused(
    workspace: Workspace, project: Path, change: dict[str, Any], said: str
) -> None:
    submit(workspace.client(), project)
    job = json.loads(json.dumps(next(iter(workspace.store["jobs"].values()))["properties"]))
    changed = json.loads(json.dumps(change).replace("{ws}", workspace.id))
    node = job["jobs"]["train"]
    inputs = changed.pop("inputs", None)
    node.update(changed)
    if inputs is not None:
        node["inputs"] = {**node["inputs"], **inputs} if inputs else {}
    answer = put(workspace, "jobs/changed", {"properties": job})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "ValidationError"
    assert said in answer.json()["error"]["message"]
    assert "changed" not in workspace.store["jobs"]


def test_what_was_submitted_is_not_changed_by_another_job_of_its_name(workspace: Workspace, project: Path) -> None:
    name = submit(workspace.client(), project).name
    job = workspace.store["jobs"][name]["properties"]
    assert put(workspace, f"jobs/{name}", {"properties": job}).status_code == 200
    answer = put(
        workspace, f"jobs/{name}", {"properties": {**job, "jobs": {**job["jobs"], "more": job["jobs"]["again"]}}}
    )
    assert answer.status_code == 400
    assert "A job with this name already exists" in answer.text


def test_a_sweep_gives_its_trials_what_it_searches(workspace: Workspace, project: Path) -> None:
    submit(workspace.client(), project)
    job = json.loads(json.dumps(next(iter(workspace.store["jobs"].values()))["properties"]))
    train = job["jobs"]["train"]
    sweep = {"type": "sweep", "trial": {"componentId": train["componentId"]}, "inputs": {"rate": {"value": "0.5"}}}
    job["jobs"]["train"] = {**sweep, "search_space": {"rows": {"type": "choice", "values": ["a"]}}}
    assert put(workspace, "jobs/fits", {"properties": job}).status_code == 201
    job["jobs"]["train"]["search_space"] = {"depth": {"type": "choice", "values": ["a"]}}
    message = put(workspace, "jobs/does-not", {"properties": job}).json()["error"]["message"]
    assert "unknown input 'depth'" in message
    assert "required input 'rows' is not given" in message
