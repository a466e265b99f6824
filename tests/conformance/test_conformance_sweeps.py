"""Sweeps: how they sample, what ends a trial, and what the best one gives."""

from __future__ import annotations

from typing import Any

import pytest
from conformance_helpers import Project, Ran
from conformance_table import row
from engine_fixtures import IMAGE

LOG = """printf '{"kind": "metric", "name": "loss", "value": %s}\\n' ${{inputs.x}} >> "$AZDISTILL_METRICS_FILE"; """
#: The files that MLflow writes, in an image that has none of it.
MLFLOW = (
    'd="${MLFLOW_TRACKING_URI#file://}"; '
    "d=$(python3 -c 'import sys, urllib.parse; print(urllib.parse.unquote(sys.argv[1]))' \"$d\"); "
    'mkdir -p "$d/0/r/metrics"; touch "$d/0/r/meta.yaml"; '
    'printf "1 %s 0\\n" ${{inputs.x}} > "$d/0/r/metrics/loss"; : mlflow; '
)
KEEP = "echo ${{inputs.x}} > '${{outputs.out}}'"
WAITS = "if [ ${{inputs.x}} -gt 5 ]; then sleep 600; fi; "
VALUES: dict[str, Any] = {"type": "choice", "values": [4, 2, 9, 3]}
POLICIES: dict[str, dict[str, Any]] = {
    "bandit": {"type": "bandit", "slack_amount": 3},
    "median": {"type": "median_stopping"},
    "truncation": {"type": "truncation_selection", "truncation_percentage": 34},
}


def sweep(command: str, sampling: Any = "grid", space: dict[str, Any] = VALUES, **more: Any) -> dict[str, Any]:
    limits = {"max_total_trials": 4, "max_concurrent_trials": 1, **more.pop("limits", {})}
    return {
        "type": "sweep",
        "trial": {
            **{"type": "command", "environment": {"image": IMAGE}, "inputs": {"x": {"type": "number"}}},
            "command": command,
            "outputs": {"out": {"type": "uri_file"}},
        },
        "search_space": {"x": space},
        "sampling_algorithm": sampling,
        "objective": {"goal": "minimize", "primary_metric": "loss"},
        "limits": limits,
        **more,
    }


@pytest.fixture(scope="module")
def ran(shared_project: Project) -> Ran:
    uniform = {"type": "uniform", "min_value": 0, "max_value": 5}
    jobs = {
        "grid": sweep(LOG + KEEP),
        "random": sweep(LOG + KEEP, {"type": "random", "seed": 5}, uniform),
        "sobol": sweep(LOG + KEEP, {"type": "random", "rule": "sobol"}, uniform),
        "bayesian": sweep(LOG + KEEP, "bayesian", uniform),
        "logs": sweep(MLFLOW + KEEP),
        "wide": sweep(LOG + KEEP, limits={"max_concurrent_trials": 4}),
        "slow": sweep(WAITS + LOG + KEEP, limits={"trial_timeout": 3}),
        **{name: sweep(LOG + WAITS + KEEP, early_termination=policy) for name, policy in POLICIES.items()},
    }
    return shared_project.run(jobs, settings={"continue_on_step_failure": True})


def came_to(ran: Ran, step: str) -> list[str]:
    return [trial.status for trial in ran.finished.state.steps[step].trials.values()]


@row("sweep", "sweep steps: the best trial's outputs and metrics", "type: sweep")
def test_the_best_trial_gives_the_outputs(ran: Ran) -> None:
    assert ran.statuses["grid"] == "completed", ran.log("grid")
    assert ran.output("grid", "out").read_text() == "2\n"
    assert ran.finished.state.steps["grid"].metrics == {"loss": 2}


@row("sampling", "sampling: random, Sobol, grid, Bayesian", "sampling_algorithm")
def test_every_algorithm_gives_its_trials(ran: Ran) -> None:
    for name in ("grid", "random", "sobol", "bayesian"):
        found = ran.finished.state.steps[name].trials
        assert len({trial.hyperparameters["x"] for trial in found.values()}) == 4
        best = min(trial.metric for trial in found.values() if trial.metric is not None)
        assert float(ran.output(name, "out").read_text()) == best


@row("primary-metric", "the primary metric, also where MLflow logs it", "objective.primary_metric")
def test_the_primary_metric_is_found_wherever_it_is_logged(ran: Ran) -> None:
    assert ran.output("logs", "out").read_text() == "2\n"


@row("sweep-limits", "limits: trials, in all and at a time; timeouts", "limits.max_total_trials, ...")
def test_limits_hold(ran: Ran) -> None:
    assert len(came_to(ran, "wide")) == 4
    assert came_to(ran, "slow")[2] == "failed"
    assert ran.output("slow", "out").read_text() == "2\n"


@row("early-termination", "early termination: bandit, median, truncation", "early_termination")
@pytest.mark.parametrize("policy", POLICIES)
def test_a_trial_that_falls_behind_is_ended(ran: Ran, policy: str) -> None:
    """Its command would go on for ten minutes."""
    assert ran.statuses[policy] == "completed", ran.log(policy)
    assert came_to(ran, policy)[2] == "stopped"
    assert ran.output(policy, "out").read_text() == "2\n"
