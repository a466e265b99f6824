"""Trials that log with MLflow, events of sweeps, and what is shown of them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sweep_helpers import KEEP, came_to, choice, log, sweep_step, text_of, trials

from azdistill.cli.run_view import RunView
from azdistill.cli.screen import LiveScreen, PlainScreen
from azdistill.local.pipeline_run import Finished
from azdistill.local.store.runs import load_run, read_events

Run = Callable[..., Finished]
TRAIN = """
import sys, time
import mlflow

x = float(sys.argv[1])
for number in range(3):
    mlflow.log_metric("loss", x + number, step=number)
mlflow.log_param("depth", 3)
if x > 5:
    time.sleep(600)
open(sys.argv[2], "w").write(str(x))
"""


@pytest.fixture
def mlflow_job(project: Path) -> dict[str, object]:
    """A sweep over a script that logs with MLflow; its second trial would never end by itself."""
    (project / "code").mkdir()
    (project / "code" / "train.py").write_text(TRAIN)
    policy = {"type": "bandit", "slack_amount": 1, "delay_evaluation": 2}
    command = "python train.py ${{inputs.x}} '${{outputs.out}}'"
    return sweep_step(command, {"x": choice(2, 9, 1)}, trial={"code": "./code"}, early_termination=policy)


@pytest.mark.slow
def test_the_primary_metric_is_read_from_mlflow_while_a_trial_runs(run: Run, mlflow_job: dict[str, object]) -> None:
    finished = run({"s": mlflow_job})
    assert came_to(finished) == ["completed", "stopped", "completed"]
    assert [trial.metric for trial in trials(finished)] == [2, 9, 1]
    assert text_of(finished) == "1.0"
    assert finished.state.steps["s"].metrics == {"loss": 3.0}


@pytest.mark.slow
def test_it_is_read_from_mlflow_too_where_the_code_knows_the_metrics_file(run: Run, project: Path) -> None:
    (project / "code").mkdir()
    (project / "code" / "train.py").write_text(TRAIN + "# without mlflow: AZDISTILL_METRICS_FILE\n")
    command = "python train.py ${{inputs.x}} '${{outputs.out}}'"
    finished = run({"s": sweep_step(command, {"x": choice(2, 1)}, trial={"code": "./code"})})
    assert [trial.metric for trial in trials(finished)] == [2, 1]


@pytest.mark.slow
def test_events_of_a_sweep_are_read_wherever_the_log_ends(run: Run) -> None:
    fails = f"if [ ${{{{inputs.x}}}} = 3 ]; then exit 3; fi; {log()} {KEEP}"
    finished = run({"s": sweep_step(fails, {"x": choice(2, 1, 3)})})
    events = finished.state.folder / "events.jsonl"
    whole, complete = events.read_bytes(), read_events(events)
    assert {"trial_started", "trial_ended", "sweep_ended"} <= {event.kind for event in complete}
    assert load_run(events.parent).steps["s"].trials.keys() == {1, 2, 3}
    for length in range(len(whole)):
        events.write_bytes(whole[:length])
        assert read_events(events) == complete[: whole[:length].count(b"\n")]
        load_run(events.parent)


@pytest.mark.parametrize("field", ["trial", "hyperparameters", "draw", "status", "reports", "seconds"])
def test_an_event_of_a_trial_that_lacks_something_is_no_event(run: Run, field: str) -> None:
    events = run({"s": sweep_step(log() + KEEP, {"x": choice(2)})}).state.folder / "events.jsonl"
    kept = []
    for line in events.read_text().splitlines():
        event = json.loads(line)
        if event["event"] == "trial_ended":
            del event[field]
        kept.append(json.dumps(event))
    events.write_text("\n".join(kept) + "\n")
    assert "trial_ended" not in [event.kind for event in read_events(events)]


def test_a_line_tells_of_each_trial_as_it_ends(run: Run) -> None:
    shown = io.StringIO()
    run({"s": sweep_step(log() + KEEP, {"x": choice(2, 1)})}, listeners=[RunView(PlainScreen(shown))])
    lines = shown.getvalue().splitlines()
    assert "s | trial 1 of 2: x=2: loss 2; best 2 (trial 1)" in lines
    assert "s | trial 2 of 2: x=1: loss 1; best 1 (trial 2)" in lines


def test_on_a_terminal_the_lines_of_trials_stay(run: Run) -> None:
    shown = io.StringIO()
    with closing(LiveScreen(shown)) as screen:
        run({"s": sweep_step(log() + KEEP, {"x": choice(2, 1)})}, listeners=[RunView(screen)])
    assert "s: trial 2 of 2: x=1" in shown.getvalue()
