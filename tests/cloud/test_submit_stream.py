"""azdistill submit --stream: the exit code is the run's."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import Workspace
from submit_helpers import make_project

from azdistill.cli import main


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(tmp_path_factory.mktemp("workspace")) as workspace:
        yield workspace


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = make_project(tmp_path)
    (tmp_path / "rows.jsonl").write_text("{}\n" * 3 + json.dumps(str(tmp_path)) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AZDISTILL_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PATH", os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    return file


def stream(ws: Workspace, *arguments: str) -> int:
    with ws.environ(), pytest.raises(SystemExit) as ended:
        main(["submit", "pipeline.yml", "--yes", "--stream", *arguments])
    return int(ended.value.code or 0)


def test_a_run_that_completes_ends_with_0(ws: Workspace, project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    status = stream(ws, "--json")
    out, err = capfd.readouterr()
    said = json.loads(out)
    assert (status, said["status"], said["exit_code"]) == (0, "Completed", 0), err
    assert set(said["steps"]) == {"first", "second"}
    counted = [path for path in ws.folder.rglob("*counted*") if path.is_file() and path.read_text() == "2\n"]
    assert counted, "the second step doubled the one row of the first step's result"


@pytest.mark.parametrize(("step_ends_with", "status"), [(1, 1), (65, 2), (69, 4)])
def test_a_run_that_fails_ends_as_a_local_one_does(
    ws: Workspace, project: Path, capfd: pytest.CaptureFixture[str], step_ends_with: int, status: int
) -> None:
    program = project.parent / "component" / "count_rows.py"
    program.write_text(f"import sys\nprint('error[ROWS]: no rows', file=sys.stderr)\nsys.exit({step_ends_with})\n")
    assert stream(ws) == status
    err = capfd.readouterr().err
    assert "step 'first' failed:\n  error[ROWS]: no rows" in err
    assert "AZD433" in err
