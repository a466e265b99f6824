"""Sweep steps: which trials run, which is the best, what its step gives, and what is not run again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from local_helpers import log_of, statuses, step, write_pipeline
from sweep_helpers import KEEP, came_to, choice, given, log, sweep_step, text_of, trials, uniform

from azdistill import aml
from azdistill.cli import cli
from azdistill.errors import SpecError, UserError
from azdistill.local.cache.gc import held_entries
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.plan.selection import Selection
from azdistill.local.store.home import find_home

Run = Callable[..., Finished]
RANDOM = {"type": "random", "seed": 7}


@pytest.mark.parametrize(("goal", "best"), [("minimize", "0.5"), ("maximize", "3")])
def test_the_best_trial_gives_the_outputs_metrics_and_parameters(run: Run, goal: str, best: str) -> None:
    finished = run({"s": sweep_step(log() + KEEP, {"x": choice(1, 0.5, 3)}, goal=goal)})
    state = finished.state.steps["s"]
    assert statuses(finished) == {"s": "completed"}
    assert text_of(finished) == best
    assert state.metrics == {"loss": float(best)}
    assert state.trials[state.best_trial or 0].hyperparameters == {"x": best}
    attempt = finished.state.folder / "steps" / "s" / "attempts" / "1" / "metrics.jsonl"
    logged = [json.loads(line) for line in attempt.read_text().splitlines()]
    assert {"kind": "param", "name": "x", "value": best} in logged


def test_a_trial_counts_by_the_best_value_that_it_reported(run: Run) -> None:
    dips = f"if [ ${{{{inputs.x}}}} = 2 ]; then {log('0.1')} fi; {log()} {KEEP}"
    finished = run({"s": sweep_step(dips, {"x": choice(1, 2)})})
    assert text_of(finished) == "2"
    assert [trial.metric for trial in trials(finished)] == [1, 0.1]


def test_of_equal_trials_the_first_is_the_best_however_many_run_at_a_time(run: Run) -> None:
    slow_first = f"if [ ${{{{inputs.x}}}} = 1 ]; then sleep 0.3; fi; {log('5')} {KEEP}"
    finished = run({"s": sweep_step(slow_first, {"x": choice(1, 2, 3)}, at_once=3)})
    assert text_of(finished) == "1"


def test_the_steps_after_it_get_the_best_trials_outputs(run: Run) -> None:
    after = step("cat '${{inputs.made}}' > '${{outputs.copy}}'", outputs=("copy",))
    after["inputs"] = {"made": "${{parent.jobs.s.outputs.out}}"}
    finished = run({"s": sweep_step(log() + KEEP, {"x": choice(4, 2)}), "after": after})
    assert text_of(finished, "copy", "after") == "2"


def test_a_grid_is_gone_through_in_a_fixed_order_and_cut_at_the_limit(run: Run) -> None:
    declares = {"x": {"type": "integer"}, "y": {"type": "string"}}
    space = {"x": choice(1, 2), "y": choice("a", "b", "c")}
    keep = log() + KEEP + "; echo ${{inputs.y}}"
    whole = given(run({"s": sweep_step(keep, space, total=50, declares=declares)}))
    assert whole == [{"x": x, "y": y} for x in "12" for y in "abc"]
    cut = given(run({"s": sweep_step(keep, space, total=4, declares=declares)}))
    assert cut == whole[:4]


@pytest.mark.parametrize(
    "sampling", ["random", RANDOM, {"type": "random", "rule": "sobol", "seed": 3}, "bayesian"], ids=str
)
def test_two_clean_runs_try_the_same_in_the_same_order(run: Run, project: Path, sampling: Any) -> None:
    jobs = {"s": sweep_step(log() + KEEP, {"x": uniform()}, total=8, sampling=sampling)}
    first, second = (run(jobs, options=Options(home=project / name)) for name in ("one", "two"))
    assert given(first) == given(second)
    assert len({values["x"] for values in given(first)}) == 8
    assert text_of(first) == text_of(second)


@pytest.mark.parametrize("sampling", ["random", {"type": "random", "rule": "sobol"}, "grid"], ids=str)
def test_what_is_tried_does_not_depend_on_how_many_run_at_a_time(run: Run, project: Path, sampling: Any) -> None:
    space = {"x": choice(*range(9)) if sampling == "grid" else uniform()}
    one, four = (
        given(
            run(
                {"s": sweep_step(log() + KEEP, space, total=9, sampling=sampling, at_once=at_once)},
                options=Options(home=project / str(at_once), jobs=4),
            )
        )
        for at_once in (1, 4)
    )
    assert one == four


def test_another_seed_tries_something_else(run: Run) -> None:
    space = {"x": uniform()}
    tried = [
        given(run({"s": sweep_step(log() + KEEP, space, total=3, sampling={"type": "random", "seed": seed})}))
        for seed in (1, 2)
    ]
    assert tried[0] != tried[1]


def test_more_trials_repeat_none_that_finished(run: Run) -> None:
    def sweep(total: int) -> Finished:
        return run({"s": sweep_step(log() + KEEP, {"x": uniform()}, total=total, sampling="random")})

    assert came_to(sweep(3)) == ["completed"] * 3
    more = sweep(5)
    assert statuses(more) == {"s": "completed"}
    assert came_to(more) == ["cached"] * 3 + ["completed"] * 2


def test_an_unchanged_sweep_is_answered_from_the_cache_and_a_changed_one_is_not(run: Run) -> None:
    job = sweep_step(log() + KEEP, {"x": choice(1, 2)})
    assert statuses(run({"s": job})) == {"s": "completed"}
    again = run({"s": job})
    assert statuses(again) == {"s": "cached"}
    assert again.state.steps["s"].metrics == {"loss": 1.0}
    turned = run({"s": {**job, "objective": {"goal": "maximize", "primary_metric": "loss"}}})
    assert statuses(turned) == {"s": "completed"}
    assert came_to(turned) == ["cached", "cached"]
    assert text_of(turned) == "2"


def test_a_trial_that_fails_does_not_fail_the_sweep(run: Run) -> None:
    fails = f"if [ ${{{{inputs.x}}}} = 1 ]; then exit 3; fi; {log()} {KEEP}"
    finished = run({"s": sweep_step(fails, {"x": choice(1, 2)})})
    assert statuses(finished) == {"s": "completed"}
    assert came_to(finished) == ["failed", "completed"]
    assert "trial 1 of 2: x=1: no metric (failed): the command ended with exit code 3" in log_of(finished, "s")


def test_a_sweep_whose_trials_all_fail_fails_with_their_exit_code(run: Run) -> None:
    finished = run({"s": sweep_step("exit 65", {"x": choice(1, 2)}, tags={"azdistill.exit_codes": "sysexits"})})
    assert statuses(finished) == {"s": "failed"}
    assert "all 2 trials failed; trial 1: the command ended with exit code 65" in finished.state.steps["s"].error
    assert finished.error
    assert finished.error.exit_code == 2


def test_a_primary_metric_that_nobody_logs_is_told_with_those_that_were(run: Run) -> None:
    other = log().replace("loss", "losss")
    finished = run({"s": sweep_step(other + KEEP, {"x": choice(1, 2)})})
    error = finished.state.steps["s"].error
    assert statuses(finished) == {"s": "failed"}
    assert "no trial logged the primary metric 'loss'" in error
    assert "did you mean 'losss'?" in error


def test_a_trial_that_says_so_is_tried_again(run: Run) -> None:
    flaky = f'test -n "$(ls ../../1/tried 2>/dev/null)" || {{ touch ../tried; exit 75; }}; {log()} {KEEP}'
    finished = run({"s": sweep_step(flaky, {"x": choice(1)})}, options=Options(retries=1))
    assert came_to(finished) == ["completed"]
    assert trials(finished)[0].attempts == 2


def test_a_trial_may_not_take_longer_than_its_timeout(run: Run) -> None:
    slow = f"if [ ${{{{inputs.x}}}} = 1 ]; then sleep 60; fi; {log()} {KEEP}"
    finished = run({"s": sweep_step(slow, {"x": choice(1, 2)}, limits={"trial_timeout": 1})})
    assert came_to(finished) == ["failed", "completed"]
    assert trials(finished)[0].error == "the command was ended after limits.trial_timeout of 1 s"


def test_a_sweep_may_not_take_longer_than_its_timeout(run: Run) -> None:
    slow = f"if [ ${{{{inputs.x}}}} = 2 ]; then sleep 60; fi; {log()} {KEEP}"
    jobs = {"s": sweep_step(slow, {"x": choice(1, 2, 3)}, limits={"timeout": 1})}
    finished = run(jobs)
    assert statuses(finished) == {"s": "failed"}
    assert finished.state.steps["s"].error == "the sweep was ended after limits.timeout of 1 s"
    assert came_to(finished) == ["completed", "canceled"]


REPORTS = "for v in 1 1 1; do V=$(( v * ${{inputs.x}} )); " + log("$V") + "done; "


def test_a_trial_that_falls_behind_is_ended_early(run: Run) -> None:
    """The second trial would never end by itself."""
    waits = REPORTS + "if [ ${{inputs.x}} -gt 2 ]; then sleep 600; fi; " + KEEP
    policy = {"type": "bandit", "slack_factor": 0.5, "evaluation_interval": 1, "delay_evaluation": 2}
    declares = {"x": {"type": "integer"}}
    finished = run({"s": sweep_step(waits, {"x": choice(2, 5, 1)}, declares=declares, early_termination=policy)})
    assert statuses(finished) == {"s": "completed"}
    assert came_to(finished) == ["completed", "stopped", "completed"]
    assert [(trial.metric, trial.reports) for trial in trials(finished)] == [(2, 3), (5, 2), (1, 3)]
    assert "(ended early)" in log_of(finished, "s")
    assert text_of(finished) == "1"


def test_hyperparameters_reach_inputs_of_other_names_and_text_around_them(run: Run) -> None:
    declares = {"x": {"type": "number"}, "label": {"type": "string"}, "same": {"type": "string"}}
    command = log() + "echo '${{inputs.label}} ${{inputs.same}} ${{search_space.rate}}' > '${{outputs.out}}'"
    inputs = {
        "label": "${{parent.inputs.word}} of ${{search_space.rate}}",
        "same": "${{search_space.rate}}",
        "x": "${{search_space.rate}}",
    }
    finished = run(
        {"s": sweep_step(command, {"rate": choice(0.25)}, declares=declares, inputs=inputs)},
        inputs={"word": "a ${{search_space.rate}} here"},
    )
    # What a pipeline's input holds is text, whatever it looks like.
    assert text_of(finished) == "a ${{search_space.rate}} here of 0.25 0.25 0.25"


def test_limits_and_bounds_may_be_bound_to_inputs_of_the_pipeline(run: Run) -> None:
    limits = {"max_total_trials": "${{parent.inputs.n}}", "max_concurrent_trials": 1}
    space = {"x": {"type": "quniform", "min_value": "${{parent.inputs.low}}", "max_value": 6, "q": 1}}
    finished = run(
        {"s": {**sweep_step(log() + KEEP, space, sampling="random"), "limits": limits}}, inputs={"n": 4, "low": 5}
    )
    assert {values["x"] for values in given(finished)} <= {"5", "6"}
    assert len(trials(finished)) == 4


def test_a_whole_step_gives_integers_however_it_is_written(run: Run) -> None:
    space = {"x": {"type": "quniform", "min_value": 1, "max_value": 9, "q": 1.0}}
    job = sweep_step(log() + KEEP, space, sampling="random", total=3, declares={"x": {"type": "integer"}})
    assert all(values["x"].isdigit() for values in given(run({"s": job})))


def test_what_stops_every_trial_is_told_as_what_it_is(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    job = sweep_step(log() + KEEP, {"x": choice(1)}, environment_variables={"KEY": "env:NOT_SET_HERE"})
    with pytest.raises(UserError) as caught:
        run({"s": job})
    assert caught.value.code == "AZD330"


def test_what_is_bound_is_checked_too(run: Run) -> None:
    space = {"x": {"type": "uniform", "min_value": "${{parent.inputs.low}}", "max_value": 6}}
    with pytest.raises(SpecError) as caught:
        run({"s": sweep_step(log() + KEEP, space, sampling="random")}, inputs={"low": 7})
    assert [problem.code for problem in caught.value.problems] == ["AZD181"]


def test_a_choice_of_mappings_draws_what_is_inside_and_is_given_as_json(run: Run) -> None:
    space = {"x": choice({"name": "sgd", "rate": uniform(0.5, 0.6)}, {"name": "adam", "depth": choice(2)})}
    command = log("1") + "echo '${{inputs.x}}' > '${{outputs.out}}'"
    job = sweep_step(command, space, total=6, declares={"x": {"type": "string"}}, sampling=RANDOM)
    drawn = [json.loads(values["x"]) for values in given(run({"s": job}))]
    assert {each["name"] for each in drawn} == {"sgd", "adam"}
    assert all(0.5 <= each["rate"] <= 0.6 if each["name"] == "sgd" else each["depth"] == 2 for each in drawn)


def test_no_more_trials_run_at_a_time_than_jobs_allow(run: Run) -> None:
    finished = run({"s": sweep_step(log() + KEEP, {"x": choice(1, 2, 3)}, at_once=3)}, options=Options(jobs=2))
    said = log_of(finished, "s")
    assert "3 trials (grid), 2 at a time, to minimize loss" in said
    assert "max_concurrent_trials is 3: --jobs, and the steps beside it leave 2" in said


def test_as_many_trials_run_at_a_time_as_are_asked_for(run: Run, project: Path) -> None:
    """Each waits for the other two, so that fewer at a time would never end."""
    (project / "met").mkdir()
    waits = (
        f"touch '{project}/met/${{{{inputs.x}}}}'; until [ $(ls '{project}/met' | wc -l) = 3 ]; do sleep 0.05; done; "
    )
    job = sweep_step(waits + log() + KEEP, {"x": choice(1, 2, 3)}, at_once=3, limits={"timeout": 60})
    assert came_to(run({"s": job}, options=Options(jobs=3))) == ["completed"] * 3


def test_a_standing_output_gets_the_best_trials_files(run: Run, project: Path) -> None:
    job = sweep_step(log() + KEEP, {"x": choice(2, 1, 3)})
    job["outputs"] = {"out": {"type": "uri_file", "path": "azureml://datastores/d/paths/kept"}}
    finished = run({"s": job})
    assert text_of(finished) == "1"
    assert (project / ".azdistill" / "datastores") in Path(finished.state.steps["s"].outputs["out"]).parents


def test_trials_that_finished_are_kept_when_a_run_is_resumed_also_where_nothing_is_cached(run: Run) -> None:
    fails = f"if [ ${{{{inputs.x}}}} = 2 ] && [ ! -e '{{PROJECT}}/fixed' ]; then exit 3; fi; {log()} {KEEP}"
    here = Path.cwd()
    after = step(f"test -e '{here}/fixed'")
    after["inputs"] = {"made": "${{parent.jobs.s.outputs.out}}"}
    job = sweep_step(fails.replace("{PROJECT}", str(here)), {"x": choice(1, 2)}, is_deterministic=False)
    jobs = {"s": job, "after": after}
    first = run(jobs)
    assert statuses(first) == {"s": "completed", "after": "failed"}
    Path("fixed").touch()
    second = run(jobs, options=Options(resume="latest"))
    assert statuses(second) == {"s": "cached", "after": "completed"}


def test_a_selection_takes_the_sweeps_result_from_the_cache(run: Run) -> None:
    after = step("cat '${{inputs.made}}'")
    after["inputs"] = {"made": "${{parent.jobs.s.outputs.out}}"}
    jobs = {"s": sweep_step(log() + KEEP, {"x": choice(1, 2)}), "after": after}
    run(jobs)
    only = run(jobs, options=Options(selection=Selection(only=("after",))))
    assert statuses(only) == {"s": "cached", "after": "cached"}


def test_a_dry_run_and_explain_know_of_sweeps(run: Run, project: Path) -> None:
    job = sweep_step(log() + KEEP, {"x": choice(1, 2)})
    write_pipeline(project / "pipeline.yml", {"s": job})
    before = json.loads(CliRunner().invoke(cli, ["run", "pipeline.yml", "--dry-run", "--json"]).stdout)
    assert before["steps"]["s"]["action"] == "run"
    run({"s": job})
    run({"s": {**job, "search_space": {"x": choice(1, 2, 3)}}})
    told = json.loads(CliRunner().invoke(cli, ["explain", "latest", "s", "--json"]).stdout)
    assert any("sweep/space/x" in difference["field"] for difference in told["differences"])


def test_json_lists_the_trials(run: Run) -> None:
    finished = run({"s": sweep_step(log() + KEEP, {"x": choice(1, 2)})})
    told = finished.state.steps["s"].as_json()
    assert told["best_trial"] == 1
    assert [(trial["hyperparameters"], trial["metric"]) for trial in told["trials"]] == [
        ({"x": "1"}, 1),
        ({"x": "2"}, 2),
    ]


def test_a_sweep_job_by_itself_is_run_as_a_pipeline_of_one_step(project: Path) -> None:
    job = {
        "$schema": "https://azuremlschemas.azureedge.net/latest/sweepJob.schema.json",
        "type": "sweep",
        "trial": {
            "command": log("${{search_space.x}}") + "cat '${{inputs.data}}' > '${{outputs.out}}'",
            "environment": "azureml:any@latest",
            "environment_variables": {"WORD": "a"},
        },
        "inputs": {"data": {"type": "uri_file", "path": "data.txt"}},
        "outputs": {"out": {"type": "uri_file"}},
        "compute": "azureml:cpu-cluster",
        "sampling_algorithm": "grid",
        "search_space": {"x": choice(2, 1)},
        "objective": {"goal": "minimize", "primary_metric": "loss"},
        "limits": {"max_total_trials": 4},
    }
    Path("job.yml").write_text(yaml.safe_dump(job))
    Path("data.txt").write_text("here")
    assert [str(problem) for problem in aml.examine("job.yml")[1]] == []
    told = CliRunner().invoke(cli, ["run", "job.yml", "--no-tracking", "--json", "--out", "out"])
    assert told.exit_code == 0, told.output
    assert json.loads(told.stdout)["steps"]["main"]["best_trial"] == 2
    assert Path("out/out").read_text() == "here"


def test_a_registered_trial_is_the_file_that_stands_for_it(run: Run, project: Path) -> None:
    job = sweep_step(log("${{search_space.x}}") + KEEP, {"x": choice(2, 1)})
    (project / "trial.yml").write_text(yaml.safe_dump({"name": "trial", **job["trial"]}))
    (project / "azdistill.yml").write_text("local: {components: {'azureml:trial': ./trial.yml}}")
    finished = run({"s": {**job, "trial": "azureml:trial@latest"}})
    assert text_of(finished) == "1"
    assert came_to(finished) == ["completed", "completed"]


def test_a_registered_trial_without_a_file_is_refused_with_its_line(run: Run) -> None:
    job = sweep_step(log() + KEEP, {"x": choice(1)})
    with pytest.raises(SpecError) as caught:
        run({"s": {**job, "trial": "azureml:trial@latest"}})
    (problem,) = caught.value.problems
    assert problem.code == "AZD342"
    assert Path("pipeline.yml").read_text().splitlines()[problem.line - 1].strip() == "trial: azureml:trial@latest"


def test_a_sweep_in_a_nested_pipeline_is_bound_through_it(run: Run, project: Path) -> None:
    job = sweep_step(log() + KEEP, {"x": {"type": "quniform", "min_value": 3, "max_value": 9, "q": 1}})
    job |= {"sampling_algorithm": "random", "outputs": {"out": "${{parent.outputs.made}}"}}
    job["limits"] = {"max_total_trials": "${{parent.inputs.n}}"}
    inner = {
        **{"type": "pipeline", "name": "inner", "inputs": {"n": {"type": "integer"}}, "jobs": {"s": job}},
        "outputs": {"made": {"type": "uri_file"}},
    }
    (project / "inner.yml").write_text(yaml.safe_dump(inner))
    outer = {
        **{"type": "pipeline", "component": "./inner.yml", "inputs": {"n": 2}},
        "outputs": {"made": "${{parent.outputs.made}}"},
    }
    finished = run({"in": outer}, outputs={"made": {"type": "uri_file"}}, options=Options(out=project / "out"))
    assert statuses(finished) == {"in.s": "completed"}
    assert (project / "out" / "made").read_text().strip() == text_of(finished, step="in.s")
    assert len(trials(finished, "in.s")) == 2


def test_what_a_sweep_in_progress_will_take_is_not_collected(run: Run, project: Path) -> None:
    events = run({"s": sweep_step(log() + KEEP, {"x": choice(2, 1)})}).state.folder / "events.jsonl"
    ends = ("sweep_ended", "step_ended", "run_ended")
    # As if this process were still at it.
    lines = [line for line in events.read_text().splitlines(keepends=True) if json.loads(line)["event"] not in ends]
    events.write_text("".join(lines))
    assert {entry.step for entry in held_entries(find_home()) if entry.in_use} == {"s.trial_1", "s.trial_2"}
