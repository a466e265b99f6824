"""The runner is killed at any moment: nothing of it lives on, nothing half done is taken for done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from local_helpers import step, write_pipeline

from azdistill.local.runners.guard import marked
from azdistill.local.store.home import find_home
from azdistill.local.store.runs import list_runs

#: Seconds after the start; the three steps below take about 0.1 s to begin and 0.3 s each.
#: A few; `test_kills` has them all, aimed at what is going on.
MOMENTS = (0.5, 1.1)


def jobs() -> dict[str, object]:
    """Three steps in a row; each has a child of its own and writes the first half of its output early."""
    after = {"x": "${{parent.jobs.a.outputs.x}}"}
    half = "echo half > '${{outputs.x}}'; setsid sleep 30 & sleep 30 & sleep 0.3; echo whole >> '${{outputs.x}}'"
    return {
        "a": step(half, outputs=("x",)),
        "b": step(half + "; cat '${{inputs.x}}' >> '${{outputs.x}}'", outputs=("x",), inputs=after),
        "c": step(
            half + "; cat '${{inputs.x}}' >> '${{outputs.x}}'",
            outputs=("x",),
            inputs={"x": "${{parent.jobs.b.outputs.x}}"},
        ),
    }


def azdistill(*arguments: str, **more: object) -> subprocess.Popen[bytes]:
    """The program, as a user starts it."""
    command = [sys.executable, "-m", "azdistill", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)  # type: ignore[call-overload, no-any-return]


def living() -> list[str]:
    """What is left of the runs of this project: processes with their mark, and guards."""
    ids = [run.run_id for run in list_runs(find_home())]
    steps = [str(pid) for run_id in ids for pid in marked(f"AZUREML_ROOT_RUN_ID={run_id}")]
    named = [entry for entry in os.listdir("/proc") if entry.isdigit()]
    return steps + [entry for entry in named if any(run_id.encode() in _command_line(entry) for run_id in ids)]


def _command_line(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are looked up in /proc")


@needs_proc
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_runner_leaves_nothing_and_the_next_run_completes(project: Path, moment: float) -> None:
    write_pipeline(project / "pipeline.yml", jobs(), outputs={})
    runner = azdistill("run", "pipeline.yml", "--no-tracking")
    time.sleep(moment)
    runner.kill()
    runner.communicate()
    until = time.monotonic() + 2
    while living() and time.monotonic() < until:
        time.sleep(0.02)
    assert living() == []
    for made in (project / ".azdistill" / "cache").glob("??/*/outputs/x"):
        assert made.read_text().count("half") == made.read_text().count("whole")
    assert all(run.status in ("lost", "completed") for run in list_runs(find_home()))
    again = azdistill("run", "pipeline.yml", "--no-tracking")
    output, _ = again.communicate()
    assert again.returncode == 0, output.decode()
    latest = list_runs(find_home())[0]
    assert Path(latest.steps["c"].outputs["x"]).read_text() == "half\nwhole\n" * 3


@needs_proc
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_politely(project: Path, number: int) -> None:
    polite = step("trap 'echo asked to stop; exit 0' TERM; touch started; sleep 30 & wait")
    write_pipeline(project / "pipeline.yml", {"a": polite})
    runner = azdistill("run", "pipeline.yml", "--no-tracking")
    _wait_for(project / ".azdistill", "started")
    runner.send_signal(number)
    output, _ = runner.communicate(timeout=60)
    assert runner.returncode == 130
    assert b"asked to stop" in output
    assert living() == []
    assert list_runs(find_home())[0].status == "canceled"


@needs_proc
def test_the_second_signal_does_not_wait(project: Path) -> None:
    write_pipeline(project / "pipeline.yml", {"a": step("trap '' TERM; touch started; while true; do sleep 1; done")})
    runner = azdistill("run", "pipeline.yml", "--no-tracking")
    _wait_for(project / ".azdistill", "started")
    begun = time.monotonic()
    runner.send_signal(signal.SIGINT)
    time.sleep(0.3)
    runner.send_signal(signal.SIGINT)
    runner.communicate(timeout=60)
    assert runner.returncode == 130
    assert time.monotonic() - begun < 5  # the grace that a first signal gives
    assert living() == []


def _wait_for(folder: Path, name: str) -> None:
    until = time.monotonic() + 60
    while not list(folder.rglob(name)):
        assert time.monotonic() < until
        time.sleep(0.02)
