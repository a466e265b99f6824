"""Resuming: the same body under a new name, from what was finished."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from following_helpers import Cloud

from azdistill.cloud.jobs import recent
from azdistill.cloud.jobs.follow import get_job
from azdistill.cloud.submit.submit import RESUMED_FROM, body_again, renamed


def test_a_failed_run_goes_on_from_what_it_finished(cloud: Cloud) -> None:
    old = cloud.finished(second="fail", word="resumed")
    shown = cloud.run("resume", "--stream")
    # The second step fails again, and is all that ran again.
    assert shown.code == 2
    assert "finished before: first" in shown.out
    name = recent.resolve(cloud.connection, None)
    assert name.startswith(f"{old.name}-20")
    new = get_job(cloud.connection, name)
    assert (new.steps["first"].reused, new.steps["second"].reused) == (True, False)
    assert new.steps["first"].reused_from == old.steps["first"].run_id
    assert new.tags[RESUMED_FROM] == old.name
    sent = cloud.workspace.requests.find("PUT", f"/jobs/{name}")[-1]
    assert "x-azureml-token" in {key.lower() for key in sent.headers}
    assert not cloud.workspace.violations


@pytest.mark.slow
def test_a_canceled_one_too(cloud: Cloud, tmp_path: Path) -> None:
    name = cloud.submit(second="wait", word=str(tmp_path / "go"))
    cloud.run("cancel", "--wait")
    (tmp_path / "go").touch()
    shown = cloud.run("resume", name, "--stream", "--json")
    answer = json.loads(shown.out)
    assert (shown.code, answer["status"], answer["resumed_from"]) == (0, "Completed", name)


def test_what_completed_has_nothing_to_resume(cloud: Cloud) -> None:
    name = cloud.finished().name
    shown = cloud.run("resume", name)
    assert shown.code == 2
    assert "error[AZD436]" in shown.err
    assert f"azdistill download {name}" in shown.err


def test_what_goes_on_is_left_alone(cloud: Cloud, tmp_path: Path) -> None:
    name = cloud.submit(first="wait", word=str(tmp_path / "go"))
    shown = cloud.run("resume", name)
    assert shown.code == 2
    assert "error[AZD441]" in shown.err
    assert f"azdistill cancel {name}" in shown.err
    (tmp_path / "go").touch()


def test_a_run_that_forbade_reuse_promises_none_and_goes_on_without_the_ban(cloud: Cloud) -> None:
    cloud.finished(second="fail", word="forced", settings=", force_rerun: true")
    shown = cloud.run("resume")
    assert shown.code == 0
    assert "ran with force_rerun: Azure may reuse none of its steps; this run goes without it" in shown.err
    body = cloud.workspace.store["jobs"][recent.resolve(cloud.connection, None)]
    assert "force_rerun" not in body["properties"]["settings"]


def test_the_body_is_what_was_submitted_and_nothing_of_the_old_run() -> None:
    properties: dict[str, Any] = {
        "jobType": "Pipeline",
        "status": "Failed",
        "services": {"Studio": {}},
        "displayName": "old",
        "experimentName": "e",
        "tags": {"azdistill.fingerprint": "f"},
        "properties": {"azureml.runsource": "x", "mine": "y"},
        "settings": {"default_compute": "c", "force_rerun": True},
        "inputs": {"data": {"jobInputType": "uri_file", "uri": "azureml://datastores/w/paths/LocalUpload/a/b"}},
        "outputs": {
            "report": {"jobOutputType": "uri_folder", "uri": "azureml://datastores/w/paths/azureml/old/report/"},
            "answers": {"jobOutputType": "uri_folder", "uri": "azureml://datastores/w/paths/azdistill/answers"},
        },
        "jobs": {"a": {"type": "command"}},
        "description": None,
    }
    again = body_again(properties, "old")
    assert {"status", "services", "displayName", "description"}.isdisjoint(again)
    assert again["tags"] == {"azdistill.fingerprint": "f", RESUMED_FROM: "old"}
    assert (again["properties"], again["settings"]) == ({"mine": "y"}, {"default_compute": "c"})
    assert "uri" not in again["outputs"]["report"]
    assert again["outputs"]["answers"]["uri"].endswith("azdistill/answers")
    assert again["inputs"] == properties["inputs"]
    assert properties["settings"]["force_rerun"] is True


def test_names_do_not_grow_with_every_resume() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    once = renamed("demo", now)
    assert once.startswith("demo-20260102-030405-")
    assert len(renamed(once, now)) == len(once)
