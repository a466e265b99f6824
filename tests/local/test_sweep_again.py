"""Sweeps of a run that is resumed after something was changed, and what trials must not bring to light or down."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_helpers import no_cache, statuses, step
from sweep_helpers import KEEP, LOG, came_to, choice, given, log, sweep_step, text_of, trials, uniform

from azdistill.errors import UserError
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.sweep import search
from azdistill.local.sweep.trial import LiveMetric

Run = Callable[..., Finished]
AGAIN = Options(resume="latest")
#: The second trial reports that it is bad, and is ended for it; the third takes longer than the sweep may.
SLOW = log() + "if [ ${{inputs.x}} != 1 ] && [ ! -e '{GO}' ]; then sleep 600; fi; " + KEEP
POLICY = {"type": "bandit", "slack_amount": 0.5, "evaluation_interval": 1}


def cut_short(project: Path, **more: Any) -> dict[str, Any]:
    command = SLOW.replace("{GO}", str(project / "go"))
    return sweep_step(command, {"x": choice(1, 3, 1.25)}, limits={"timeout": 3}, **more)


@pytest.mark.slow
def test_a_trial_that_another_policy_ended_is_run_to_its_end_when_the_run_is_resumed(run: Run, project: Path) -> None:
    first = run({"s": cut_short(project, early_termination=POLICY)})
    assert came_to(first) == ["completed", "stopped", "canceled"]
    (project / "go").touch()
    second = run({"s": cut_short(project)}, options=AGAIN)
    assert came_to(second) == ["cached", "completed", "completed"]


@pytest.mark.slow
def test_a_defect_between_two_trials_leaves_no_run_that_waits_for_ever(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run({"s": cut_short(project, early_termination=POLICY)})

    def broken(*arguments: object) -> bool:
        raise UserError("the code is gone", code="AZD320")

    monkeypatch.setattr(search, "key_of", broken)
    second = run({"s": cut_short(project, early_termination=POLICY)}, options=AGAIN)
    assert statuses(second) == {"s": "failed"}
    assert second.state.steps["s"].error == "the code is gone"


def test_what_was_drawn_from_another_search_space_is_not_drawn_again(run: Run, project: Path) -> None:
    after = step(f"test -e '{project}/fixed'", inputs={"made": "${{parent.jobs.s.outputs.out}}"})

    def jobs(*words: str) -> dict[str, Any]:
        declares = {"x": {"type": "number"}, "word": {"type": "string"}}
        space = {"x": uniform(), "word": choice(*words)}
        job = sweep_step(log() + KEEP, space, sampling="bayesian", total=8, at_once=2, declares=declares)
        return {"s": job, "after": after}

    run(jobs("a", "b", "c", "d"))
    (project / "fixed").touch()
    second = run(jobs("a", "b"), options=AGAIN)
    assert statuses(second) == {"s": "completed", "after": "completed"}
    assert {one["word"] for one in given(second)} == {"a", "b"}


def test_a_secret_that_a_hyperparameter_names_is_hidden(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ITS_KEY", "correct-horse-battery")
    command = f'echo "key: $ITS_KEY"; {LOG.replace("{VALUE}", "1")} touch "${{{{outputs.out}}}}"'
    job = sweep_step(command, {"x": choice("env:ITS_KEY")}, declares={"x": {"type": "string"}})
    finished = run({"s": job})
    log_file = trials(finished)[0].log
    assert log_file
    assert Path(log_file).read_text(encoding="utf-8") == "key: ***\n"
    monkeypatch.delenv("ITS_KEY")
    with pytest.raises(UserError, match="ITS_KEY is not set"):
        run({"s": job}, options=no_cache)


@pytest.mark.parametrize("value", ["1" + "0" * 400, "Infinity", "-Infinity", "[" * 5000, "[" * 450 + "]" * 450])
def test_a_metric_that_is_no_finite_number_ends_nothing(run: Run, value: str) -> None:
    waits = LOG.replace("{VALUE}", value) + "sleep 0.3; "
    command = f"if [ ${{{{inputs.x}}}} = 1 ]; then {waits} fi; {log()} {KEEP}"
    finished = run({"s": sweep_step(command, {"x": choice(1, 2)})})
    assert statuses(finished) == {"s": "completed"}
    listed = json.loads(json.dumps(finished.state.steps["s"].as_json()), parse_constant=pytest.fail)
    assert [trial["status"] for trial in listed["trials"]] == ["completed", "completed"]


def test_a_metric_below_the_primary_one_is_not_taken_for_it(tmp_path: Path) -> None:
    """MLflow keeps the values of ``loss/valid`` in a folder ``loss``."""
    for metric, value in (("loss/valid", 1), ("rate", 2)):
        file = tmp_path / "0" / "run" / "metrics" / metric
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"1700000000 {value} 0\n", encoding="utf-8")
    found = {m: LiveMetric(m, tmp_path / "none", tmp_path).new() for m in ("loss", "loss/valid", "rate")}
    assert found == {"loss": [], "loss/valid": [1.0], "rate": [2.0]}


def test_the_best_of_what_was_reported_is_kept_where_others_were_infinite(run: Run) -> None:
    worst = LOG.replace("{VALUE}", "Infinity")
    command = f"if [ ${{{{inputs.x}}}} = 1 ]; then {worst} else {log()} fi; {KEEP}"
    finished = run({"s": sweep_step(command, {"x": choice(1, 2)})})
    assert text_of(finished) == "2"


def test_hyperparameters_that_change_places_are_another_sweep(run: Run) -> None:
    def swept(first: str, second: str) -> Finished:
        given = {"a": f"${{{{search_space.{first}}}}}", "b": f"${{{{search_space.{second}}}}}"}
        declares = {name: {"type": "string"} for name in "ab"}
        command = log("1") + "echo ${{inputs.a}} ${{inputs.b}} > '${{outputs.out}}'"
        space = {"x": choice("one"), "y": choice("two")}
        return run({"s": sweep_step(command, space, declares=declares, inputs=given)})

    assert text_of(swept("x", "y")) == "one two"
    turned = swept("y", "x")
    assert (statuses(turned), text_of(turned)) == ({"s": "completed"}, "two one")
    assert statuses(swept("y", "x")) == {"s": "cached"}
