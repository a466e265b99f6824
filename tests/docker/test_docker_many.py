"""Many containers: no failure and no line is lost, one after the other or eight at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from azdistill import aml
from azdistill.local.pipeline_run import Finished, Options, run_pipeline
from azdistill.local.runners.docker.engine import LABEL, Engine
from azdistill.local.store.runs import load_run

Run = Callable[[list[str], int], Finished]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine, image: str) -> Run:
    """``run(commands, threads)``: each command is a step."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AZDISTILL_HOME", raising=False)

    def start(commands: list[str], threads: int) -> Finished:
        common = {"type": "command", "environment": {"image": image}}
        jobs = {f"s{number}": {**common, "command": command} for number, command in enumerate(commands)}
        path = tmp_path / "pipeline.yml"
        settings = {"continue_on_step_failure": True}
        path.write_text(yaml.safe_dump({"type": "pipeline", "settings": settings, "jobs": jobs}))
        return run_pipeline(aml.load_pipeline(path), Options(docker=True, jobs=threads))

    return start


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 8])
def test_200_containers_that_fail_are_200_failures(run: Run, engine: Engine, threads: int) -> None:
    finished = run(["exit 3"] * 200, threads)
    steps = finished.state.steps.values()
    assert Counter((state.status, state.exit_code) for state in steps) == {("failed", 3): 200}
    stored = load_run(finished.state.folder)
    assert (stored.status, [state.exit_code for state in stored.steps.values()]) == ("failed", [3] * 200)
    label = f"{LABEL}={finished.state.run_id}"
    assert engine.api.containers(all=True, filters={"label": [label]}) == []


@pytest.mark.slow
def test_each_of_100_bursts_of_200_lines_is_in_its_log_in_order(run: Run) -> None:
    finished = run([f"for i in $(seq 200); do echo s{n} line $i; done; printf 's{n} no end'" for n in range(100)], 4)
    assert finished.error is None
    for n in range(100):
        log = finished.state.steps[f"s{n}"].log
        assert log
        expected = [*(f"s{n} line {i}" for i in range(1, 201)), f"s{n} no end"]
        assert Path(log).read_text().split("\n") == expected
