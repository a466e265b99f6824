"""What an earlier version left on a disk is read: its runs, logs and cache, its teacher's answers, its MLflow store."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ARCHIVE = Path(__file__).parent / "earlier" / "project.tar.gz"
RUN = "math__adder_to_student_20261201045758_b3157d"

Azdistill = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    (folder / "state").rename(folder / ".azdistill")
    return folder


@pytest.fixture
def azdistill(project: Path) -> Azdistill:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "azdistill", *arguments]
        return subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)

    return call


def test_its_runs_are_listed(azdistill: Azdistill) -> None:
    (run,) = json.loads(azdistill("runs", "--json").stdout)
    assert run["run_id"] == RUN
    assert run["status"] == "completed"


def test_its_metrics_are_compared(azdistill: Azdistill) -> None:
    assert "teacher.accuracy" in azdistill("compare", RUN, RUN).stdout


def test_its_logs_are_printed(azdistill: Azdistill) -> None:
    printed = azdistill("logs", "prepare", "--run", RUN).stdout
    assert "40 rows" in printed


def test_its_cache_is_listed(azdistill: Azdistill) -> None:
    assert "prepare" in azdistill("cache", "ls").stdout


def test_its_steps_are_explained(azdistill: Azdistill) -> None:
    assert "prepare" in azdistill("explain", RUN, "prepare").stdout


def test_its_answers_are_not_asked_for_again(azdistill: Azdistill) -> None:
    nobody = "teacher.endpoint=http://127.0.0.1:9/v1"
    student = f"student={ROOT / 'examples/sandbox/student_bytes'}"
    options = ("--set", nobody, "--set", student, "--until", "curate", "--no-cache", "--no-tracking")
    assert "0 requests, 0 of them again, 33 answers reused" in azdistill("run", "recipe.yml", *options).stdout
