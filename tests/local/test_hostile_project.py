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
