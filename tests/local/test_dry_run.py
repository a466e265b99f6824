"""What a run would do, said without doing it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from local_helpers import hands_on, step, write_pipeline

from azdistill import redact
from azdistill.cli.run import run_command
from azdistill.errors import UserError
from azdistill.local.pipeline_run import Finished

Run = Callable[..., Finished]


def jobs(word: str = "one") -> dict[str, Any]:
    """a -> b, and c beside them."""
    given = {"x": "${{parent.jobs.a.outputs.x}}"}
    return {
        "a": step(f"echo {word} > ${{{{outputs.x}}}}", outputs=("x",)),
        "b": step("cat ${{inputs.x}} > ${{outputs.y}}", outputs=("y",), inputs=given),
        "c": step("echo c > ${{outputs.x}}", outputs=("x",)),
    }


def dry_run(pipeline: Path, *options: str) -> Result:
    return CliRunner().invoke(run_command, [str(pipeline), "--dry-run", *options])


def foreseen(pipeline: Path, *options: str) -> dict[str, Any]:
    result = dry_run(pipeline, "--json", *options)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert told["dry_run"] is True
    steps: dict[str, Any] = told["steps"]
    return steps


def actions(pipeline: Path, *options: str) -> dict[str, str]:
    return {name: told["action"] for name, told in foreseen(pipeline, *options).items()}


def everything(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every file and folder with its size, time of change and inode."""
    found = {}
    for root, folders, names in os.walk(folder):
        for name in [".", *folders, *names]:
            stat = os.lstat(os.path.join(root, name))
            found[os.path.join(root, name)] = (stat.st_size, stat.st_mtime_ns, stat.st_ino)
    return found


def test_nothing_is_written_where_nothing_was(project: Path) -> None:
    pipeline = write_pipeline(project / "pipeline.yml", jobs())
    before = everything(project)
    assert actions(pipeline) == {"a": "run", "b": "after", "c": "run"}
    assert everything(project) == before


def test_nothing_is_written_where_there_were_runs(run: Run, project: Path) -> None:
    pipeline = write_pipeline(project / "pipeline.yml", jobs())
    run(pipeline)
    before = everything(project)
    assert actions(pipeline) == dict.fromkeys("abc", "reuse")
    write_pipeline(pipeline, jobs("two"))
    before |= {key: found for key, found in everything(project).items() if key == str(pipeline)}
    assert actions(pipeline) == {"a": "run", "b": "after", "c": "reuse"}
    assert everything(project) == before


def test_why_a_step_would_run_is_its_first_field_that_differs(run: Run, project: Path) -> None:
    pipeline = write_pipeline(project / "pipeline.yml", jobs())
    first = run(pipeline).state.run_id
    told = foreseen(write_pipeline(pipeline, jobs("two")))
    assert told["a"]["reason"] == "command is not what it was"
    assert told["a"]["compared_with"] == first
    assert told["a"]["differences"][0]["field"] == "command"
    assert told["b"]["after"] == ["a"]
    assert first in told["c"]["reason"]


def test_it_is_printed_in_a_line_for_each_step(run: Run, project: Path) -> None:
    pipeline = write_pipeline(project / "pipeline.yml", jobs())
    run(pipeline)
    shown = dry_run(write_pipeline(pipeline, jobs("two"))).output
    assert "a  run     command is not what it was: echo one" in shown
    assert "b  after   a" in shown
    assert "c  reuse" in shown
    assert "1 would run, 1 would be reused, 1 as these turn out" in shown


def test_what_it_foresees_is_what_a_run_then_does(run: Run, project: Path) -> None:
    pipeline = write_pipeline(project / "pipeline.yml", jobs())
    run(pipeline)
    write_pipeline(pipeline, jobs("two"))
    told = actions(pipeline)
    did = {name: state.status for name, state in run(pipeline).state.steps.items()}
    assert told == {"a": "run", "b": "after", "c": "reuse"}
    assert did == {"a": "completed", "b": "completed", "c": "cached"}


def test_steps_that_run_every_time_say_why(run: Run, project: Path) -> None:
    given = jobs()
    given["c"] = {"type": "command", "component": step("echo c", is_deterministic=False)}
    pipeline = write_pipeline(project / "pipeline.yml", given)
    run(pipeline)
    assert "is_deterministic" in foreseen(pipeline)["c"]["reason"]
    assert "--no-cache" in foreseen(pipeline, "--no-cache")["a"]["reason"]


def test_a_resumed_run_reuses_what_finished_in_it(run: Run, project: Path) -> None:
    given = jobs()
    given["a"] = {"type": "command", "component": given["a"] | {"is_deterministic": False}}
    given["b"]["command"] = "exit 3"
    pipeline = write_pipeline(project / "pipeline.yml", given)
    failed = run(pipeline)
    assert actions(pipeline) == {"a": "run", "b": "after", "c": "reuse"}
    told = foreseen(pipeline, "--resume", "latest")
    assert {name: step["action"] for name, step in told.items()} == {"a": "reuse", "b": "run", "c": "reuse"}
    assert failed.state.run_id in told["a"]["reason"]
    assert "did not succeed" in told["b"]["reason"]


def test_a_selection_is_foreseen_and_what_it_lacks_is_refused(run: Run, project: Path) -> None:
    pipeline = write_pipeline(project / "pipeline.yml", jobs())
    assert actions(pipeline, "--only", "c") == {"c": "run"}
    result = dry_run(pipeline, "--only", "b", "--json")
    assert isinstance(result.exception, UserError)
    assert "'a' is not selected" in json.loads(result.stdout)["error"]
    run(pipeline)
    assert actions(pipeline, "--only", "b") == {"a": "reuse", "b": "reuse"}


@pytest.mark.parametrize(
    "options",
    [("--resume", "latest"), ("--only", "z"), ("--network", "host"), ("--docker", "--python", "python3")],
)
def test_what_a_run_would_refuse_is_refused(project: Path, options: tuple[str, ...]) -> None:
    pipeline = write_pipeline(project / "pipeline.yml", jobs())
    assert isinstance(dry_run(pipeline, *options).exception, UserError)


@pytest.fixture
def my_key(monkeypatch: pytest.MonkeyPatch) -> str:
    """A secret that no run of this process has hidden yet."""
    monkeypatch.setenv("MY_KEY", "s3cr3t-Value-ABCDEFG")
    return "s3cr3t-Value-ABCDEFG"


def test_no_secret_is_in_what_it_raises(run: Run, project: Path, my_key: str) -> None:
    given = {"type": "string", "enum": ["q", "r"]}
    pipeline = hands_on(project, {"command": "true", "inputs": {"v": given}})
    run(pipeline)
    redact.forget()
    result = dry_run(pipeline, "--json")
    assert "it is '***Z', which is not allowed" in json.loads(result.stdout)["error"]
    assert my_key not in result.output + str(result.exception)


@pytest.mark.usefixtures("my_key")
def test_a_hidden_value_that_is_what_it_was_is_no_difference(run: Run, project: Path) -> None:
    pipeline = hands_on(project, {"command": "exit 1", "inputs": {"v": {"type": "string"}}})
    run(pipeline)
    redact.forget()
    told = foreseen(pipeline)["b"]
    assert told["differences"] == []
    assert told["reason"].startswith("nothing it depends on has changed, but it did not succeed in test_")
