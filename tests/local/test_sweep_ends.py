"""A sweep whose runner is killed or interrupted: nothing of it lives on, and it ends as a clean one would."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_helpers import write_pipeline
from sweep_helpers import choice, log, sweep_step, uniform

from azdistill.local.runners.guard import marked
from azdistill.local.store.events import RunState
from azdistill.local.store.home import find_home
from azdistill.local.store.runs import list_runs

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are looked up in /proc")
SAMPLINGS: dict[str, dict[str, Any]] = {
    "grid": {"space": {"x": choice(5, 3, 1, 2, 4)}, "sampling": "grid"},
    "random": {"space": {"x": uniform()}, "sampling": {"type": "random", "seed": 3}},
    "two at a time": {"space": {"x": uniform()}, "sampling": {"type": "random", "seed": 3}, "at_once": 2},
    "bayesian": {"space": {"x": uniform()}, "sampling": "bayesian"},
}


def prepare(project: Path, command: str, **more: Any) -> None:
    """Write a pipeline whose trials note down that they ran, and have a child of their own."""
    noted = f"echo ${{{{inputs.x}}}} >> '{project}/ran'; setsid sleep 60 & "
    job = sweep_step(noted + command, total=5, **more)
    job["outputs"] = {"out": "${{parent.outputs.out}}"}
    write_pipeline(project / "pipeline.yml", {"s": job}, outputs={"out": {"type": "uri_file"}})


def start(*more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "azdistill", "run", "pipeline.yml", "--no-tracking", "--out", "out", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def state() -> RunState | None:
    return next(iter(list_runs(find_home())), None)


def wait_for(what: Callable[[], object], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.01)


def ran(project: Path) -> list[str]:
    """The hyperparameter of each trial that was started, as often as it was."""
    noted = project / "ran"
    return noted.read_text().split() if noted.exists() else []


def ended() -> list[str]:
    """The hyperparameter of each trial that has ended."""
    found = state()
    known = found.steps["s"].trials.values() if found and "s" in found.steps else ()
    return [trial.hyperparameters["x"] for trial in known if trial.status == "completed"]


def nobody_lives() -> bool:
    return not [pid for run in list_runs(find_home()) for pid in marked(f"AZUREML_ROOT_RUN_ID={run.run_id}")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "after"),
    [*(("random", number) for number in (0, 2, 4)), *((name, 2) for name in SAMPLINGS if name != "random")],
)
def test_a_killed_sweep_is_resumed_without_repeating_what_finished(project: Path, name: str, after: int) -> None:
    prepare(project, "sleep 0.2; " + log() + "echo ${{inputs.x}} > '${{outputs.out}}'", **SAMPLINGS[name])
    runner = start()
    wait_for(lambda: len(ended()) >= after and len(ran(project)) > after)
    runner.send_signal(signal.SIGKILL)
    runner.communicate(timeout=60)
    wait_for(nobody_lives, 2)
    finished = ended()
    assert len(finished) >= after
    lost = state()
    assert lost
    assert lost.status == "lost"
    output, _ = (again := start("--resume", "latest")).communicate(timeout=120)
    assert again.returncode == 0, output.decode()
    resumed = state()
    assert resumed
    assert resumed.run_id == lost.run_id
    assert [ran(project).count(x) for x in finished] == [1] * len(finished)
    here = (project / "out" / "out").read_text()
    home = project / "clean"
    clean = subprocess.run(
        [sys.executable, "-m", "azdistill", "run", "pipeline.yml", "--no-tracking", "--out", "clean-out"],
        env={**os.environ, "AZDISTILL_HOME": str(home)},
        capture_output=True,
    )
    assert clean.returncode == 0, clean.stderr.decode()
    assert here == (project / "clean-out" / "out").read_text()


def test_ctrl_c_ends_every_trial(project: Path) -> None:
    prepare(project, "sleep 600", space={"x": choice(1, 2, 3)}, at_once=3)
    runner = start("--jobs", "3")
    wait_for(lambda: len(ran(project)) == 3)
    runner.send_signal(signal.SIGINT)
    output, _ = runner.communicate(timeout=60)
    assert runner.returncode == 130, output.decode()
    wait_for(nobody_lives, 2)
    found = state()
    assert found
    assert found.status == "canceled"
    assert {trial.status for trial in found.steps["s"].trials.values()} == {"canceled"}


def test_a_trial_that_was_ended_early_is_not_run_again_when_the_run_is_resumed(project: Path) -> None:
    policy = {"type": "bandit", "slack_amount": 0.5, "evaluation_interval": 1}
    waits = log() + "if [ ${{inputs.x}} = 1 ]; then echo 1 > '${{outputs.out}}'; else sleep 600; fi; "
    last = f"if [ ${{{{inputs.x}}}} = 1.25 ] && [ -e '{project}/go' ]; then echo > '${{{{outputs.out}}}}'; exit 0; fi; "
    space = {"x": choice(1, 3, 1.25)}
    prepare(project, last + waits, space=space, early_termination=policy, sampling="grid")
    runner = start()
    wait_for(lambda: "1.25" in ran(project))
    runner.send_signal(signal.SIGKILL)
    runner.communicate(timeout=60)
    (project / "go").touch()
    output, _ = (again := start("--resume", "latest")).communicate(timeout=120)
    assert again.returncode == 0, output.decode()
    found = state()
    assert found
    assert [trial.status for trial in found.steps["s"].trials.values()] == ["cached", "stopped", "completed"]
    assert ran(project) == ["1", "3", "1.25", "1.25"]
