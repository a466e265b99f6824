"""Paths that are no UTF-8: those that a run has to write down are refused, other names work like any."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from local_helpers import statuses, step, write_pipeline

from azdistill import aml
from azdistill.cli import main
from azdistill.errors import MachineError
from azdistill.local.dry_run import foresee
from azdistill.local.pipeline_run import Finished, Options, run_pipeline

Run = Callable[..., Finished]
#: As a terminal in Latin-1 would type it.
ODD = os.fsdecode(b"gr\xf6\xdfe\xff\xfe")


def everything(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}


@pytest.mark.parametrize("place", ["home", "project", "out", "code"])
def test_a_path_that_cannot_be_written_down_is_refused_before_anything_is(project: Path, place: str) -> None:
    where = project / ODD if place == "project" else project
    file = write_pipeline(where / "pipeline.yml", {"a": step("true") | {"code": "./src"}})
    (where / "src").mkdir()
    (where / "src" / (ODD if place == "code" else "a.py")).write_text("", encoding="utf-8")
    home, out = project / (ODD if place == "home" else "home"), project / ODD if place == "out" else None
    options, before = Options(home=home, out=out), everything(project)
    pipeline = aml.load_pipeline(file)
    with pytest.raises(MachineError) as caught:
        run_pipeline(pipeline, options)
    assert (caught.value.exit_code, caught.value.code) == (3, "AZD314")
    assert "\\xf6" in caught.value.message
    if place != "code":
        with pytest.raises(MachineError, match="is not UTF-8"):
            foresee(pipeline, options)
    assert everything(project) == before


def test_the_command_line_says_so_without_a_traceback(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pipeline(project / ODD / "pipeline.yml", {"a": step("true")})
    monkeypatch.chdir(project / ODD)
    before = everything(project)
    with pytest.raises(SystemExit) as ended:
        main(["run", "pipeline.yml"])
    assert (ended.value.code, "error[AZD314]" in capsys.readouterr().err) == (3, True)
    assert everything(project) == before


def test_names_in_data_and_in_outputs_may_be_any(run: Run, project: Path) -> None:
    (project / "data").mkdir()
    (project / "data" / ODD).write_text("kept", encoding="utf-8")
    # What a key says of by name: what may be executed, and what is empty.
    (project / "data" / f"{ODD}.sh").touch(0o755)
    (project / "data" / f"{ODD}.d").mkdir()
    copy = step("cp -r ${{inputs.d}}/. ${{outputs.o}}", inputs={"d": {"type": "uri_folder", "path": "./data"}})
    jobs = {"a": copy | {"outputs": {"o": {"type": "uri_folder"}}}}
    assert statuses(run(jobs)) == {"a": "completed"}
    again = run(jobs)
    assert statuses(again) == {"a": "cached"}
    assert (Path(again.state.steps["a"].outputs["o"]) / ODD).read_text(encoding="utf-8") == "kept"


def test_what_a_step_made_may_be_named_so_and_be_executable(run: Run, project: Path) -> None:
    table = {"type": "uri_folder", "path": "./data"}
    (project / "data").mkdir()
    (project / "data" / f"{ODD}.sh").touch(0o755)
    made = {"outputs": {"o": {"type": "uri_folder"}}}
    jobs = {
        "a": step("cp -pr ${{inputs.d}}/. ${{outputs.o}}", inputs={"d": table}) | made,
        "b": step("ls ${{inputs.d}}", inputs={"d": "${{parent.jobs.a.outputs.o}}"}),
    }
    assert set(statuses(run(jobs)).values()) == {"completed"}
    assert set(statuses(run(jobs)).values()) == {"cached"}
