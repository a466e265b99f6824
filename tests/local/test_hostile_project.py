"""What a project may hold that no step should ever see: told before anything runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from local_helpers import step

from azdistill.errors import SpecError, UserError
from azdistill.local.run import Finished


def test_a_link_that_leaves_the_project_is_refused_before_any_step_runs(
    run: Callable[..., Finished], project: Path
) -> None:
    (project / "src").mkdir()
    (project / "src" / "passwd").symlink_to("/etc/passwd")
    ran = project / "ran"
    jobs = {
        "a": step(f"touch '{ran}'; echo 1 > ${{{{outputs.o}}}}", outputs=("o",)),
        "b": step("cat ${{inputs.i}} passwd", code="./src", inputs={"i": "${{parent.jobs.a.outputs.o}}"}),
    }
    with pytest.raises(UserError) as caught:
        run(jobs)
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
def test_a_standing_folder_is_none_of_the_folders_that_azdistill_keeps(run: Callable[..., Finished], path: str) -> None:
    outputs = {"o": {"type": "uri_folder", "path": path}}
    with pytest.raises(SpecError) as caught:
        run({"a": {**step("touch ${{outputs.o}}/f"), "outputs": outputs}})
    assert caught.value.code == "AZD344"
