"""Sweeps in containers: the primary metric reaches the sweep while a trial runs, and no container outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from azdistill import aml
from azdistill.local.pipeline_run import Finished, Options, run_pipeline
from azdistill.local.runners.docker.engine import LABEL, Engine
from azdistill.local.store.home import Home
from azdistill.local.store.runs import list_runs

LOG = """printf '{"kind": "metric", "name": "loss", "value": %s}\\n' ${{inputs.x}} >> "$AZDISTILL_METRICS_FILE"; """
#: What MLflow does, in an image that has none of it.
MLFLOW = (
    'd="${MLFLOW_TRACKING_URI#file://}"; '
    "d=$(python3 -c 'import sys, urllib.parse; print(urllib.parse.unquote(sys.argv[1]))' \"$d\"); "
    'mkdir -p "$d/0/r/metrics"; touch "$d/0/r/meta.yaml"; '
    'printf "1 %s 0\\n" ${{inputs.x}} > "$d/0/r/metrics/loss"; # mlflow\n'
)


def pipeline(project: Path, image: str, command: str, values: list[int], **more: Any) -> Path:
    trial = {
        "type": "command",
        "command": command,
        "environment": {"image": image},
        "inputs": {"x": {"type": "integer"}},
        "outputs": {"out": {"type": "uri_file"}},
    }
    job = {
        "type": "sweep",
        "trial": trial,
        "sampling_algorithm": "grid",
        "search_space": {"x": {"type": "choice", "values": values}},
        "objective": {"goal": "minimize", "primary_metric": "loss"},
        "limits": {"max_total_trials": 9, "max_concurrent_trials": 1},
        "outputs": {"out": "${{parent.outputs.out}}"},
        **more,
    }
    outputs = {"out": {"type": "uri_file"}}
    file = project / "pipeline.yml"
    file.write_text(
        yaml.safe_dump({"type": "pipeline", "display_name": "sweep", "jobs": {"s": job}, "outputs": outputs})
    )
    return file


def run(file: Path) -> Finished:
    return run_pipeline(aml.load_pipeline(file), Options(docker=True, out=Path("out"), home=file.parent / "home"))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("how", [LOG, MLFLOW], ids=["metrics file", "mlflow"])
def test_a_trial_that_falls_behind_is_ended_by_what_it_logs(project: Path, image: str, how: str) -> None:
    waits = how + "if [ ${{inputs.x}} -gt 5 ]; then sleep 600; fi; echo ${{inputs.x}} > '${{outputs.out}}'"
    policy = {"type": "bandit", "slack_amount": 1}
    finished = run(pipeline(project, image, waits, [2, 9, 1], early_termination=policy))
    assert finished.error is None
    found = finished.state.steps["s"].trials
    assert [(trial.status, trial.metric) for trial in found.values()] == [
        ("completed", 2),
        ("stopped", 9),
        ("completed", 1),
    ]
    assert (project / "out" / "out").read_text() == "1\n"


def test_containers_of_trials_die_with_the_runner_and_the_sweep_goes_on(
    project: Path, image: str, engine: Engine
) -> None:
    # Its first attempt would never end.
    hangs = "case ${{inputs.x}}$PWD in 2*/attempts/1/*) sleep 600;; esac; "
    once = f"{hangs}{LOG} echo ${{{{inputs.x}}}} > '${{{{outputs.out}}}}'"
    file = pipeline(project, image, once, [3, 2, 1])
    command = [sys.executable, "-m", "azdistill", "run", str(file), "--docker", "--no-tracking", "--out", "out"]
    runner = subprocess.Popen(
        command, env={**os.environ, "AZDISTILL_HOME": str(project / "home")}, stdout=subprocess.DEVNULL
    )

    def second_runs() -> bool:
        states = [trial.status for run in list_runs(Home(project / "home")) for trial in run.steps["s"].trials.values()]
        return states == ["completed", "running"] and bool(containers())

    def containers() -> list[Any]:
        ids = [run.run_id for run in list_runs(Home(project / "home"))]
        found = engine.api.containers(all=True, filters={"label": LABEL})
        return [one for one in found if one["Labels"][LABEL] in ids]

    wait_for(second_runs)
    runner.send_signal(signal.SIGKILL)
    runner.wait(60)
    wait_for(lambda: not containers(), 5)
    finished = run_pipeline(
        aml.load_pipeline(file), Options(docker=True, out=Path("out"), home=project / "home", resume="latest")
    )
    assert finished.error is None
    assert [trial.status for trial in finished.state.steps["s"].trials.values()] == ["cached", *["completed"] * 2]
    assert (project / "out" / "out").read_text() == "1\n"


def wait_for(what: Any, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)
