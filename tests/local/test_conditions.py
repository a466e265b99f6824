"""if_else steps: the branch that is taken, all that hangs on the other, and what is told of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_helpers import log_of, statuses, step, write_pipeline

from azdistill import aml
from azdistill.errors import SpecError, UserError
from azdistill.local.cache.explain import explain
from azdistill.local.dry_run import foresee
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.plan.selection import Selection
from azdistill.local.store.home import find_home
from azdistill.local.store.runs import list_runs, read_events

Run = Callable[..., Finished]
FLAG = "${{parent.jobs.check.outputs.flag}}"


def check(value: str, **more: Any) -> dict[str, Any]:
    """A step that writes ``value`` as the boolean ``flag``."""
    return step(f"printf '{value}' > ${{{{outputs.flag}}}}") | {"outputs": {"flag": {"type": "boolean"}}} | more


def gate(condition: Any = FLAG, true: Any = "big", false: Any = "small") -> dict[str, Any]:
    blocks = {"true_block": _named(true), "false_block": _named(false)}
    return {"type": "if_else", "condition": condition, **{key: block for key, block in blocks.items() if block}}


def _named(block: Any) -> Any:
    if isinstance(block, list):
        return [_named(name) for name in block]
    return f"${{{{parent.jobs.{block}}}}}" if block else None


def says(word: str, **more: Any) -> dict[str, Any]:
    return step(f"echo {word} > ${{{{outputs.word}}}}", outputs=("word",)) | more


def reads(of: str, output: str = "word") -> dict[str, Any]:
    given = {"w": f"${{{{parent.jobs.{of}.outputs.{output}}}}}"}
    return step("cp ${{inputs.w}} ${{outputs.word}}", outputs=("word",), inputs=given)


BRANCHES: dict[str, Any] = {"gate": gate(), "big": says("big"), "small": says("small")}


def reasons(finished: Finished) -> dict[str, tuple[str, str]]:
    return {name: (state.reason, state.detail) for name, state in finished.state.steps.items() if state.reason}


@pytest.mark.parametrize(("value", "taken", "other"), [("true", "big", "small"), ("False\\n", "small", "big")])
def test_the_branch_of_the_value_is_run_and_no_other(run: Run, value: str, taken: str, other: str) -> None:
    finished = run({"check": check(value), **BRANCHES})
    assert finished.state.status == "completed"
    assert finished.error is None
    assert statuses(finished) == {"check": "completed", taken: "completed", other: "skipped"}
    said = "true" if taken == "big" else "false"
    assert reasons(finished) == {other: ("branch", f"'gate' is {said}")}


@pytest.mark.parametrize("condition", [True, "true", "${{parent.inputs.flag}}"])
def test_a_condition_may_be_written_or_given(run: Run, condition: Any) -> None:
    finished = run({**BRANCHES, "gate": gate(condition)}, inputs={"flag": "True"})
    assert statuses(finished) == {"big": "completed", "small": "skipped"}


def test_blocks_hold_several_steps(run: Run) -> None:
    jobs = {"gate": gate(False, ["a", "b"], ["c", "d"]), **{name: says(name) for name in "abcd"}}
    assert statuses(run(jobs)) == {"a": "skipped", "b": "skipped", "c": "completed", "d": "completed"}


def test_one_block_is_enough(run: Run) -> None:
    jobs = {"gate": gate(False, "big", None), "big": says("big"), "beside": says("x")}
    assert statuses(run(jobs)) == {"big": "skipped", "beside": "completed"}


def test_what_needs_a_skipped_step_is_skipped_too(run: Run) -> None:
    finished = run({**BRANCHES, "gate": gate(False), "after": reads("big"), "last": reads("after")})
    assert finished.state.status == "completed"
    assert reasons(finished)["after"] == ("branch", "it needs 'big', which was skipped")
    assert reasons(finished)["last"] == ("branch", "it needs 'after', which was skipped")


COMPONENT = """
name: join
type: command
environment: azureml:any@latest
inputs: {a: {type: uri_file, optional: true}, b: {type: uri_file, optional: true}}
outputs: {word: {type: uri_file}}
command: echo joined $[[a $(cat ${{inputs.a}})]] $[[b $(cat ${{inputs.b}})]] | tee ${{outputs.word}}
"""


def test_an_optional_input_of_a_skipped_step_is_left_out(run: Run, project: Path) -> None:
    (project / "join.yml").write_text(COMPONENT)
    inputs = {"a": "${{parent.jobs.big.outputs.word}}", "b": "${{parent.jobs.small.outputs.word}}"}
    join = {"type": "command", "component": "./join.yml", "inputs": inputs}
    finished = run({"check": check("false"), **BRANCHES, "join": join})
    assert statuses(finished)["join"] == "completed"
    assert log_of(finished, "join") == "joined b small\n"
    again = run({"check": check("true"), **BRANCHES, "join": join})
    assert log_of(again, "join") == "joined a big\n"


def test_an_input_with_a_default_takes_it_where_its_step_is_skipped(run: Run, project: Path) -> None:
    text = COMPONENT.replace("b: {type: uri_file, optional: true}", "n: {type: integer, default: 7}")
    text = text.replace("$[[b $(cat ${{inputs.b}})]]", "n ${{inputs.n}}")
    (project / "join.yml").write_text(text)
    join = {"type": "command", "component": "./join.yml", "inputs": {"n": "${{parent.jobs.big.outputs.n}}"}}
    big = step("echo 3 > ${{outputs.n}}") | {"outputs": {"n": {"type": "integer"}}}
    assert log_of(run({"gate": gate(False, "big", None), "big": big, "join": join}), "join") == "joined n 7\n"
    assert log_of(run({"gate": gate(True, "big", None), "big": big, "join": join}), "join") == "joined n 3\n"


def test_an_output_of_a_branch_that_is_not_taken_is_told_and_no_failure(run: Run, project: Path) -> None:
    jobs = {**BRANCHES, "gate": gate(False)}
    jobs["big"] = {**says("big"), "outputs": {"word": "${{parent.outputs.big}}"}}
    jobs["small"] = {**says("small"), "outputs": {"word": "${{parent.outputs.small}}"}}
    declared = {"big": {"type": "uri_file"}, "small": {"type": "uri_file"}}
    finished = run(jobs, outputs=declared, options=Options(out=project / "out"))
    assert finished.state.status == "completed"
    assert list(finished.state.outputs) == ["small"]
    assert finished.state.withheld == {"big": "step 'big' was skipped ('gate' is false)"}
    assert {path.name for path in (project / "out").iterdir() if path.name[0] != "."} == {"small"}


def test_what_an_earlier_run_gave_out_does_not_pass_for_this_ones(run: Run, project: Path) -> None:
    options, declared = Options(out=project / "out"), {"big": {"type": "uri_file"}}
    jobs = {**BRANCHES, "big": {**says("big"), "outputs": {"word": "${{parent.outputs.big}}"}}}
    run(jobs | {"gate": gate(True)}, outputs=declared, options=options)
    assert (project / "out" / "big").read_text() == "big\n"
    run(jobs | {"gate": gate(False)}, outputs=declared, options=options)
    assert list((project / "out").iterdir()) == []


@pytest.mark.parametrize("word", ["big", "small"])
def test_one_output_may_be_made_by_either_branch(run: Run, project: Path, word: str) -> None:
    made = {"outputs": {"word": "${{parent.outputs.word}}"}}
    jobs = {"gate": gate(word == "big"), "big": {**says("big"), **made}, "small": {**says("small"), **made}}
    run(jobs, outputs={"word": {"type": "uri_file"}}, options=Options(out=project / "out"))
    assert (project / "out" / "word").read_text() == f"{word}\n"


def nested(project: Path, jobs: dict[str, Any], **more: Any) -> None:
    inner = {"type": "pipeline", "inputs": {"flag": {"type": "boolean"}}, "jobs": jobs, **more}
    (project / "inner.yml").write_text(json.dumps(inner))


def test_a_condition_reaches_into_a_nested_pipeline(run: Run, project: Path) -> None:
    made = {"outputs": {"word": "${{parent.outputs.word}}"}}
    jobs = {"gate": gate("${{parent.inputs.flag}}"), "big": {**says("b"), **made}, "small": {**says("s"), **made}}
    nested(project, jobs, outputs={"word": {"type": "uri_file"}})
    inner = {"type": "pipeline", "component": "./inner.yml", "inputs": {"flag": FLAG}}
    finished = run({"check": check("false"), "inner": inner, "after": reads("inner")})
    assert reasons(finished) == {"inner.big": ("branch", "'inner.gate' is false")}
    assert Path(finished.state.steps["after"].outputs["word"]).read_text() == "s\n"


def test_a_nested_pipeline_in_a_block_is_run_or_left_as_a_whole(run: Run, project: Path) -> None:
    nested(project, {"one": says("one"), "two": reads("one")})
    inner = {"type": "pipeline", "component": "./inner.yml", "inputs": {"flag": True}}
    jobs = {"check": check("true"), "gate": gate(FLAG, "small", "inner"), "inner": inner, "small": says("s")}
    finished = run(jobs)
    assert reasons(finished) == dict.fromkeys(["inner.one", "inner.two"], ("branch", "'gate' is true"))


@pytest.mark.parametrize(
    ("outer", "inner", "run_too"),
    [("true", "true", {"deep"}), ("true", "false", {"other"}), ("false", "true", set()), ("false", "false", set())],
)
def test_an_if_else_in_a_block_decides_only_where_its_own_branch_is_taken(
    run: Run, outer: str, inner: str, run_too: set[str]
) -> None:
    jobs = {
        "check": check(outer),
        "second": check(inner),
        "gate": gate(FLAG, "within", None),
        "within": gate("${{parent.jobs.second.outputs.flag}}", "deep", "other"),
        "deep": says("deep"),
        "other": says("other"),
    }
    finished = run(jobs)
    # Where both say the same, one of them may have the other's result.
    done = {name for name, status in statuses(finished).items() if status in ("completed", "cached")}
    assert done == {"check", "second"} | run_too
    if outer == "false":
        assert reasons(finished)["deep"] == ("branch", "'gate' is false")


def test_a_condition_whose_own_step_is_skipped_lets_nothing_through(run: Run) -> None:
    jobs = {"first": gate(False, "check", None), "check": check("true"), **BRANCHES}
    finished = run(jobs)
    assert finished.state.status == "completed"
    told = "the condition of 'gate' is not known: 'check' was skipped"
    assert [reasons(finished)[name] for name in ("big", "small")] == [("branch", told)] * 2


def test_a_failed_condition_fails_the_run_and_says_why_nothing_ran(run: Run) -> None:
    finished = run({"check": check("true", command="exit 3"), **BRANCHES})
    assert finished.state.status == "failed"
    assert reasons(finished) == dict.fromkeys(["big", "small"], ("failure", "step 'check' failed"))


def test_a_branch_is_told_from_a_failure_in_one_run(run: Run) -> None:
    jobs = {"check": check("true"), **BRANCHES, "big": says("big", command="exit 3"), "after": reads("big")}
    finished = run(jobs, options=Options(keep_going=True))
    assert reasons(finished) == {
        "small": ("branch", "'gate' is true"),
        "after": ("failure", "step 'big' failed"),
    }
    events = read_events(finished.state.folder / "events.jsonl")
    ended = {event.step: event.fields["reason"] for event in events if event.kind == "step_ended"}
    assert ended == {"check": "", "big": "", "small": "branch", "after": "failure"}
    assert finished.state.steps["small"].as_json()["reason"] == "branch"
    assert "reason" not in finished.state.steps["check"].as_json()


def test_a_branch_not_taken_stops_nothing_else(run: Run) -> None:
    jobs = {"gate": gate(False, "big", None), "big": says("big"), "slow": says("x"), "after": reads("slow")}
    finished = run(jobs, options=Options(jobs=1))
    assert statuses(finished) == {"big": "skipped", "slow": "completed", "after": "completed"}


def test_text_that_is_no_boolean_fails_the_steps_that_hang_on_it(run: Run) -> None:
    unsure = step("echo perhaps > ${{outputs.flag}}") | {"outputs": {"flag": {"type": "string"}}}
    finished = run({"check": unsure, **BRANCHES})
    assert finished.state.status == "failed"
    assert isinstance(finished.error, UserError)
    assert finished.error.code == "AZD335"
    assert "the condition of 'gate', written by step 'check', is 'perhaps'" in finished.error.message


def test_both_branches_are_kept_apart_in_the_cache(run: Run) -> None:
    run({"check": check("true"), **BRANCHES})
    other = run({"check": check("false"), **BRANCHES})
    assert statuses(other) == {"check": "completed", "big": "skipped", "small": "completed"}
    again = run({"check": check("true"), **BRANCHES})
    assert statuses(again) == {"check": "cached", "big": "cached", "small": "skipped"}


def test_a_resumed_run_takes_the_branch_again(run: Run, project: Path) -> None:
    jobs = {"check": check("true", is_deterministic=False), **BRANCHES}
    jobs["big"] = says("big", command=f"test -e '{project}/ready' && echo big > ${{{{outputs.word}}}}")
    failed = run(jobs)
    assert statuses(failed) == {"check": "completed", "big": "failed", "small": "skipped"}
    (project / "ready").touch()
    resumed = run(jobs, options=Options(resume="latest"))
    assert statuses(resumed) == {"check": "cached", "big": "completed", "small": "skipped"}
    assert resumed.state.run_id == failed.state.run_id
    assert reasons(resumed) == {"small": ("branch", "'gate' is true")}


def foreseen(project: Path, jobs: dict[str, Any], **options: Any) -> dict[str, tuple[str, tuple[str, ...]]]:
    pipeline = aml.load_pipeline(write_pipeline(project / "pipeline.yml", jobs))
    return {name: (f.action, f.after) for name, f in foresee(pipeline, Options(**options))[1].items()}


def test_a_dry_run_waits_for_a_condition_that_is_not_known(run: Run, project: Path) -> None:
    jobs = {"check": check("true"), **BRANCHES}
    assert foreseen(project, jobs) == {
        "check": ("run", ()),
        "big": ("after", ("check",)),
        "small": ("after", ("check",)),
    }
    run(jobs)
    assert foreseen(project, jobs) == {"check": ("reuse", ()), "big": ("reuse", ()), "small": ("skip", ())}


def test_a_dry_run_knows_conditions_that_are_written(project: Path) -> None:
    jobs = {**BRANCHES, "gate": gate(False), "after": reads("big")}
    assert foreseen(project, jobs) == {"big": ("skip", ()), "small": ("run", ()), "after": ("skip", ())}


def test_selected_steps_ask_their_condition_of_the_cache(run: Run) -> None:
    jobs = {"check": check("true"), **BRANCHES}
    with pytest.raises(UserError, match="step 'check' is not selected, and its result"):
        run(jobs, options=Options(selection=Selection(only=("big",))))
    run(jobs)
    only = run(jobs, options=Options(selection=Selection(only=("big", "small"))))
    assert statuses(only) == {"check": "cached", "big": "cached", "small": "skipped"}


def test_a_skipped_step_that_is_not_selected_is_not_missed(run: Run) -> None:
    jobs = {**BRANCHES, "gate": gate(False), "after": reads("big")}
    finished = run(jobs, options=Options(selection=Selection(only=("after",))))
    assert statuses(finished) == {"big": "skipped", "after": "skipped"}


def test_an_if_else_is_selected_as_the_steps_of_its_blocks(run: Run) -> None:
    jobs = {**BRANCHES, "gate": gate(True), "beside": says("x")}
    finished = run(jobs, options=Options(selection=Selection(only=("gate",))))
    assert statuses(finished) == {"big": "completed", "small": "skipped"}
    with pytest.raises(UserError) as caught:
        run(jobs, options=Options(selection=Selection(only=("gat",))))
    assert caught.value.hint == "did you mean 'gate'?"


def test_from_and_until_follow_conditions(run: Run) -> None:
    jobs = {"check": check("true"), **BRANCHES, "beside": says("x")}
    from_ = run(jobs, options=Options(selection=Selection(since=("check",))))
    assert statuses(from_) == {"check": "completed", "big": "completed", "small": "skipped"}
    until = run(jobs, options=Options(selection=Selection(until=("small",))))
    assert statuses(until) == {"check": "cached", "small": "skipped"}


def test_explain_says_which_branch_was_not_taken(run: Run) -> None:
    run({"check": check("true"), **BRANCHES})
    home = find_home()
    runs = list_runs(home)
    assert explain(home, runs[0], "small", runs).reason == "it did not run: 'gate' is true"


def test_secrets_of_a_branch_that_is_not_taken_need_not_be_set(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOWHERE", raising=False)
    jobs = {**BRANCHES, "gate": gate(False)}
    jobs["big"] = says("big", environment_variables={"KEY": "env:NOWHERE"})
    assert statuses(run(jobs)) == {"big": "skipped", "small": "completed"}


SPARK: dict[str, Any] = {
    "type": "spark",
    "code": ".",
    "entry": {"file": "x.py"},
    "outputs": {"o": {"type": "uri_file"}},
}


def elsewhere() -> dict[str, Any]:
    return {
        "first": says("first"),
        "count": {**SPARK, "inputs": {"w": "${{parent.jobs.first.outputs.word}}"}},
        "learn": {"type": "automl", "training_data": {"path": "${{parent.jobs.first.outputs.word}}"}},
        "after": reads("count", "o"),
        "body": says("body"),
        "again": {"type": "do_while", "body": "${{parent.jobs.body}}", "mapping": {}, "limits": {}},
    }


def test_kinds_that_run_on_azure_only_are_refused_all_at_once(run: Run, project: Path) -> None:
    with pytest.raises(SpecError) as caught:
        run(elsewhere())
    assert [(p.code, p.message) for p in caught.value.problems] == [
        ("AZD336", "step 'again': do_while runs on Azure only"),
        ("AZD336", "step 'count': spark runs on Azure only"),
        ("AZD336", "step 'learn': automl runs on Azure only"),
    ]
    lines = (project / "pipeline.yml").read_text().splitlines()
    assert [lines[p.line - 1][p.column - 1 :] for p in caught.value.problems] == ["do_while", "spark", "automl"]
    assert list_runs(find_home()) == []


def test_a_kind_that_runs_on_azure_only_may_stand_in_a_branch_that_is_not_taken(run: Run, project: Path) -> None:
    jobs = {"gate": gate("${{parent.inputs.flag}}"), "big": SPARK, "small": says("s"), "after": reads("big", "o")}
    finished = run(jobs, inputs={"flag": False})
    assert statuses(finished) == {"big": "skipped", "small": "completed", "after": "skipped"}
    assert foreseen(project, jobs | {"gate": gate(False)})["big"] == ("skip", ())
    with pytest.raises(SpecError, match="spark runs on Azure only"):
        run(jobs, inputs={"flag": True})


def test_a_condition_that_is_not_known_may_lead_to_them(run: Run) -> None:
    with pytest.raises(SpecError, match="spark runs on Azure only"):
        run({"check": check("false"), "gate": gate(), "big": SPARK, "small": says("s")})


def test_a_dry_run_refuses_them_too(project: Path) -> None:
    with pytest.raises(SpecError, match="spark runs on Azure only"):
        foreseen(project, elsewhere())


def test_a_selection_that_leaves_them_out_runs(run: Run) -> None:
    assert statuses(run(elsewhere(), options=Options(selection=Selection(until=("first",))))) == {"first": "completed"}


@pytest.mark.parametrize(
    "selection", [Selection(only=("after",)), Selection(since=("first",)), Selection(only=("body",))]
)
def test_a_selection_that_needs_them_is_refused(run: Run, selection: Selection) -> None:
    with pytest.raises(SpecError, match="runs on Azure only"):
        run(elsewhere(), options=Options(selection=selection))


def test_the_steps_of_a_looped_pipeline_belong_to_the_loop(run: Run, project: Path) -> None:
    nested(project, {"one": says("one")})
    jobs = {
        "first": says("x"),
        "body": {"type": "pipeline", "component": "./inner.yml"},
        "each": {"type": "parallel_for", "body": "${{parent.jobs.body}}", "items": '[{"flag": true}]'},
    }
    with pytest.raises(SpecError) as caught:
        run(jobs, options=Options(selection=Selection(only=("body.one",))))
    assert [p.message for p in caught.value.problems] == ["step 'each': parallel_for runs on Azure only"]


def test_what_a_condition_that_is_none_leaves_without_a_result_is_told_as_missing(run: Run) -> None:
    """The value that the last step needs is of a step that has no result, and never will."""
    unsure = step("echo perhaps > ${{outputs.flag}}") | {"outputs": {"flag": {"type": "string"}}}
    counts = step("echo 5 > ${{outputs.n}}") | {"outputs": {"n": {"type": "integer"}}}
    last = step("echo ${{inputs.n}}", inputs={"n": "${{parent.jobs.big.outputs.n}}"})
    jobs = {"check": unsure, "gate": gate(true="big", false=None), "big": counts, "last": last}
    run(jobs)
    with pytest.raises(UserError, match="step 'big' is not selected, and its result") as caught:
        run(jobs, options=Options(selection=Selection(since=("last",))))
    assert caught.value.code == "AZD375"
