"""What a project may hold that no step should ever see: told before anything runs."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from local_helpers import step, write_pipeline

from azdistill import aml
from azdistill.errors import MachineError, SpecError, UserError
from azdistill.local.pipeline_run import Finished, Options, run_pipeline
from azdistill.local.plan.steps import PlannedStep
from azdistill.local.store.home import find_home
from azdistill.local.store.runs import list_runs


def test_a_link_that_leaves_the_project_is_refused_before_any_step_runs(project: Path) -> None:
    (project / "src").mkdir()
    (project / "src" / "passwd").symlink_to("/etc/passwd")
    ran = project / "ran"
    jobs = {
        "a": step(f"touch '{ran}'; echo 1 > ${{{{outputs.o}}}}", outputs=("o",)),
        "b": step("cat ${{inputs.i}} passwd", code="./src", inputs={"i": "${{parent.jobs.a.outputs.o}}"}),
    }
    # What a program made is not looked into by the checks of a file.
    pipeline = aml.pipeline_from({"type": "pipeline", "jobs": jobs}, project, "made")
    assert not aml.check(pipeline)
    with pytest.raises(UserError) as caught:
        run_pipeline(pipeline, Options())
    assert caught.value.code == "AZD321"
    assert not ran.exists()
    assert not (project / ".azdistill").exists()


def test_a_pipe_as_data_is_not_waited_for(run: Callable[..., Finished], project: Path) -> None:
    os.mkfifo(project / "rows.jsonl")
    jobs = {"a": step("cat ${{inputs.i}}", inputs={"i": {"type": "uri_file", "path": "azureml:rows:1"}})}
    (project / "azdistill.yml").write_text("local: {data: {rows: ./rows.jsonl}}\n")
    with pytest.raises(SpecError, match="a pipe"):
        run(jobs)


@pytest.mark.parametrize(
    "path",
    [
        "azureml://datastores/../paths/x",
        "azureml://datastores/d/paths/../../x",
        "azureml://datastores/d/paths/azdistill/cache/ab",
        "azureml://datastores/d/paths/azdistill/runs",
        "azureml://datastores/d/paths/azdistill",
    ],
)
def test_a_standing_folder_is_none_of_the_folders_that_azdistill_keeps(project: Path, path: str) -> None:
    outputs = {"o": {"type": "uri_folder", "path": path}}
    jobs = {"a": {**step("touch ${{outputs.o}}/f"), "outputs": outputs}}
    pipeline = aml.load_pipeline(write_pipeline(project / "pipeline.yml", jobs))
    assert [problem.code for problem in aml.check(pipeline) if problem.severity == "error"] == ["AZD344"]
    with pytest.raises(SpecError) as caught:
        run_pipeline(pipeline, Options())
    assert caught.value.code == "AZD344"


def test_code_that_may_not_be_read_is_told_before_anything_runs(
    run: Callable[..., Finished], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "code").mkdir()
    asked = []

    def refused(planned: PlannedStep) -> None:
        asked.append(planned.name)
        raise PermissionError(errno.EACCES, "Permission denied", "inner")

    monkeypatch.setattr("azdistill.local.pipeline_run.take_code", refused)
    with pytest.raises(MachineError, match=r"step 'a': Permission denied \(.*inner\)"):
        run({name: step("true", code="./code") for name in ("a", "b")})
    assert asked == ["a"]
    assert list_runs(find_home()) == []
