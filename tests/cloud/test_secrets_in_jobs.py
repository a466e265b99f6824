"""A teacher's key in a submitted job: found by reference inside the step, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from loopback import Workspace
from loopback.record import forms
from loopback_teacher import LoopbackTeacher
from submit_helpers import connection_to

from azdistill.cloud.jobs.follow import Job, follow
from azdistill.cloud.submit.prepare import prepare
from azdistill.cloud.submit.submit import submit

ROOT = Path(__file__).parents[2]
CANARY = "canary-9d7e0c51f3-of-the-teacher"
ROWS = [{"id": f"{n:016x}", "messages": [{"role": "user", "content": f"What is {n} + 1?"}]} for n in range(3)]


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(tmp_path_factory.mktemp("workspace")) as workspace:
        # Put where the service keeps them: no request of ours ever carries them.
        key = {"authType": "ApiKey", "category": "ApiKey", "target": "https://t", "credentials": {"key": CANARY}}
        workspace.store.put("connections", "teacher", {"properties": key})
        workspace.vaults["loopback"]["teacher-key"] = CANARY
        yield workspace


def ask(ws: Workspace, folder: Path, teacher: LoopbackTeacher, key: str) -> Job:
    """Run one step in a job that asks the teacher with ``key``."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    step = {
        "type": "command",
        "component": str(ROOT / "components" / "teacher" / "teacher_inference" / "component.yml"),
        "inputs": {
            "rows": {"type": "uri_file", "path": "./rows.jsonl"},
            # A teacher of its own for each test: what it answered once is not asked again.
            **{"task_type": "qa", "teacher_model": folder.name, "teacher_endpoint": f"{teacher.url}/v1"},
            **{"teacher_key": key, "max_retries": 0},
        },
        "outputs": {"train": "${{parent.outputs.train}}"},
        "environment_variables": {"AZDISTILL_VAULT_ADDRESS": ws.vault_address},
    }
    pipeline = {"type": "pipeline", "outputs": {"train": {"type": "uri_file"}}, "jobs": {"teacher": step}}
    (folder / "pipeline.yml").write_text(yaml.safe_dump(pipeline))
    with ws.environ():
        connection = connection_to(ws)
        submitted = submit(connection, prepare(folder / "pipeline.yml"))
        return follow(connection, submitted.name)


def holding(folder: Path, text: str) -> list[str]:
    """Files that hold a text in any form that it could be written in."""
    needles = list(forms(text))
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    assert files
    return [str(path) for path in files if any(needle in path.read_bytes() for needle in needles)]


@pytest.mark.parametrize(
    "key", ["connection:teacher", pytest.param("keyvault:loopback/teacher-key", marks=pytest.mark.slow)]
)
def test_a_key_is_found_in_the_job_and_written_nowhere(
    ws: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    teacher: Callable[..., LoopbackTeacher],
    key: str,
) -> None:
    monkeypatch.setenv("AZDISTILL_HOME", str(tmp_path / "state"))
    asked = teacher(lambda messages: "The answer is 2.")
    job = ask(ws, tmp_path, asked, key)
    assert job.status == "Completed", job
    assert {request["headers"]["authorization"] for request in asked.requests} == {f"Bearer {CANARY}"}
    assert ws.seen(CANARY) == []
    assert ws.seen(key), "the reference itself travels"
    assert holding(ws.folder, CANARY) == []
    assert holding(tmp_path, CANARY) == []


@pytest.mark.slow
def test_a_key_that_the_service_repeats_does_not_reach_a_log(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teacher: Callable[..., LoopbackTeacher]
) -> None:
    def refuse(request: dict[str, Any], count: int) -> tuple[int, dict[str, str], Any]:
        return 401, {}, {"error": {"message": f"the key {CANARY} is not known here"}}

    monkeypatch.setenv("AZDISTILL_HOME", str(tmp_path / "state"))
    job = ask(ws, tmp_path, teacher(lambda _: "", reply=refuse), "connection:teacher")
    assert job.status == "Failed"
    assert ws.seen(CANARY) == []
    assert holding(ws.folder, CANARY) == []
    assert holding(tmp_path, CANARY) == []


@pytest.mark.slow
def test_a_connection_that_does_not_exist_is_told_by_the_step(
    ws: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, teacher: Callable[..., LoopbackTeacher]
) -> None:
    monkeypatch.setenv("AZDISTILL_HOME", str(tmp_path / "state"))
    asked = teacher(lambda _: "")
    job = ask(ws, tmp_path, asked, "connection:nobody")
    assert job.status == "Failed"
    assert asked.requests == []
    step = job.steps["teacher"]
    assert step.exit_code in (69, 77, 78)
