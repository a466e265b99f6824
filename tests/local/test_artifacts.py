"""``./outputs`` and ``./logs``: there when a step starts, and what its output ``artifacts`` holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from local_helpers import log_of, statuses, step

from azdistill import aml
from azdistill.local.pipeline_run import Finished, Options

Run = Callable[..., Finished]
ARTIFACTS: dict[str, Any] = {"outputs": {"artifacts": {"type": "uri_folder"}}}


def test_the_folders_are_there_when_a_step_starts(run: Run) -> None:
    finished = run({"a": step("echo kept > ./outputs/kept.txt && echo told > ./logs/told.txt && ls")})
    assert log_of(finished, "a") == "logs\noutputs\n"


def test_code_with_such_a_name_is_left_as_it_is(run: Run, project: Path) -> None:
    (project / "code" / "outputs").mkdir(parents=True)
    (project / "code" / "outputs" / "mine.txt").write_text("mine")
    (project / "code" / "logs").write_text("a file")
    assert log_of(run({"a": step("cat outputs/mine.txt logs", code="./code")}), "a").strip() == "minea file"


def test_the_output_artifacts_is_what_a_step_left_in_them(run: Run) -> None:
    after = step("cd '${{inputs.x}}' && cat outputs/deep/kept.txt logs/told.txt")
    after["inputs"] = {"x": "${{parent.jobs.a.outputs.artifacts}}"}
    command = "mkdir outputs/deep && echo kept > outputs/deep/kept.txt && echo told > logs/told.txt"
    jobs = {"a": step(command) | ARTIFACTS, "b": after}
    assert log_of(run(jobs), "b") == "kept\ntold\n"
    assert statuses(run(jobs)) == {"a": "cached", "b": "cached"}


def test_artifacts_that_a_step_writes_itself_are_its_own(run: Run, project: Path) -> None:
    job = step("echo x > outputs/other.txt; echo mine > '${{outputs.artifacts}}'/mine.txt")
    job["outputs"] = {"artifacts": "${{parent.outputs.o}}"}
    run({"a": job}, outputs={"o": {"type": "uri_folder"}}, options=Options(out=project / "out"))
    assert [path.name for path in (project / "out" / "o").iterdir()] == ["mine.txt"]


def test_a_step_that_failed_leaves_no_artifacts(run: Run) -> None:
    finished = run({"a": step("echo kept > outputs/kept.txt; exit 3") | ARTIFACTS})
    assert statuses(finished) == {"a": "failed"}
    assert finished.state.steps["a"].outputs == {}


def test_a_command_that_never_mentions_artifacts_is_no_mistake(project: Path) -> None:
    (project / "pipeline.yml").write_text(
        "type: pipeline\njobs:\n"
        "  a: {command: run > outputs/x, environment: azureml:e@latest, outputs: {artifacts: }}\n"
    )
    assert aml.examine(project / "pipeline.yml")[1] == []
