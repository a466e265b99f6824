"""Going on with a run that did not complete, and trying steps again."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from local_helpers import log_of, no_cache, statuses, step

from azdistill.errors import UserError
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.plan.selection import Selection
from azdistill.local.store.home import find_home
from azdistill.local.store.runs import list_runs, load_run, read_events

Run = Callable[..., Finished]
LATEST = Options(resume="latest")


def numbers(fails: bool = True) -> dict[str, Any]:
    """A step whose result is never the same, and one that fails while there is no file ``now``."""
    first = step("date +%s%N > ${{outputs.n}}", outputs=("n",), is_deterministic=False)
    first["component"] = {
        key: first.pop(key) for key in ("type", "command", "environment", "outputs", "is_deterministic")
    }
    first |= {"type": "command"}
    gate = "test -e {now} || exit 3; " if fails else ""
    given = {"n": "${{parent.jobs.first.outputs.n}}"}
    return {"first": first, "then": step(gate + "cat ${{inputs.n}} > ${{outputs.o}}", outputs=("o",), inputs=given)}


def gated(project: Path, **more: Any) -> dict[str, Any]:
    jobs = numbers()
    jobs["then"]["command"] = jobs["then"]["command"].replace("{now}", f"'{project / 'now'}'")
    return jobs


@pytest.mark.parametrize("options", [Options(), no_cache])
def test_a_resumed_run_keeps_its_id_and_what_finished_even_if_it_is_never_cached(
    run: Run, project: Path, options: Options
) -> None:
    failed = run(gated(project), options=options)
    assert statuses(failed) == {"first": "completed", "then": "failed"}
    made = Path(failed.state.steps["first"].outputs["n"]).read_text()
    (project / "now").touch()
    resumed = run(gated(project), options=replace(options, resume="latest"))
    assert resumed.state.run_id == failed.state.run_id
    assert statuses(resumed) == {"first": "cached", "then": "completed"}
    assert Path(resumed.state.steps["then"].outputs["o"]).read_text() == made
    assert load_run(resumed.state.folder).status == "completed"
    assert len(list_runs(find_home())) == 1


def test_what_has_changed_since_runs_again_and_so_does_what_follows(run: Run, project: Path) -> None:
    jobs = gated(project)
    (project / "now").touch()
    before = run(jobs)
    assert statuses(before) == {"first": "completed", "then": "completed"}
    jobs["first"]["component"]["command"] += " # another"
    again = run(jobs, options=LATEST)
    assert statuses(again) == {"first": "completed", "then": "completed"}
    assert again.state.steps["first"].attempts == 2


def test_an_output_that_was_changed_is_made_again(run: Run, project: Path) -> None:
    failed = run(gated(project))
    made = Path(failed.state.steps["first"].outputs["n"])
    made.write_text("other")
    (project / "now").touch()
    assert statuses(run(gated(project), options=LATEST)) == {"first": "completed", "then": "completed"}


def test_a_step_finds_what_its_previous_attempt_wrote(run: Run, project: Path) -> None:
    journal = (
        'if [ -n "$AZDISTILL_PREVIOUS_ATTEMPT" ]; then cat "$AZDISTILL_PREVIOUS_ATTEMPT/o/1" > ${{outputs.o}}/1; '
        "echo second >> ${{outputs.o}}/1; else echo first > ${{outputs.o}}/1; exit 3; fi"
    )
    job = step(journal)
    job["outputs"] = {"o": {"type": "uri_folder"}}
    assert statuses(run({"a": job})) == {"a": "failed"}
    resumed = run({"a": job}, options=LATEST)
    assert Path(resumed.state.steps["a"].outputs["o"], "1").read_text() == "first\nsecond\n"
    assert resumed.state.steps["a"].attempts == 2


def test_a_resumed_selection_lists_only_what_the_run_has_had(run: Run) -> None:
    jobs = {"a": step("exit 3"), "b": step("true"), "c": step("true")}
    only = Options(selection=Selection(only=("a", "b")), keep_going=True)
    assert statuses(run(jobs, options=only)) == {"a": "failed", "b": "completed"}
    again = run(jobs, options=replace(only, selection=Selection(only=("a",)), resume="latest"))
    assert statuses(again) == {"b": "completed", "a": "failed"}


def test_a_run_stays_failed_while_a_step_that_is_not_selected_is(run: Run, project: Path) -> None:
    def jobs() -> dict[str, Any]:
        made = step(f"test -e '{project}/b' && echo b > ${{{{outputs.o}}}}", outputs=("o",))
        made["outputs"] = {"o": "${{parent.outputs.o}}"}
        return {"a": step("true"), "b": made, "d": step(f"test -e '{project}/d' || exit 4")}

    def resumed(name: str) -> Finished:
        (project / name).touch()
        options = Options(selection=Selection(only=(name,)), resume="latest", out=project / "out")
        return run(jobs(), outputs={"o": {"type": "uri_file"}}, options=options)

    run(jobs(), outputs={"o": {"type": "uri_file"}}, options=Options(keep_going=True))
    part = resumed("b")
    assert statuses(part) == {"a": "completed", "b": "completed", "d": "failed"}
    assert part.error
    assert "step 'd', which is not selected, had failed: " in part.error.message
    assert f"--resume {part.state.run_id}" in part.error.hint
    assert load_run(part.state.folder).status == part.state.status == "failed"
    # What was asked for is given out all the same.
    assert (project / "out" / "o").read_text() == "b\n"
    whole = resumed("d")
    assert (whole.state.status, whole.error) == ("completed", None)


def test_a_torn_log_is_gone_on_with_behind_its_last_whole_event(run: Run, project: Path) -> None:
    failed = run(gated(project))
    log = failed.state.folder / "events.jsonl"
    log.write_bytes(log.read_bytes()[:-20])
    (project / "now").touch()
    resumed = run(gated(project), options=LATEST)
    assert statuses(resumed) == {"first": "cached", "then": "completed"}
    assert [event.kind for event in read_events(log)][-1] == "run_ended"


def test_a_run_that_is_going_on_is_not_resumed(run: Run, project: Path) -> None:
    failed = run(gated(project))
    with open(failed.state.folder / "events.jsonl", "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError) as caught:
            run(gated(project), options=LATEST)
    assert caught.value.code == "AZD312"
    assert load_run(failed.state.folder).status == "failed"


def test_what_cannot_be_resumed_is_said(run: Run, project: Path) -> None:
    with pytest.raises(UserError) as caught:
        run(gated(project), options=LATEST)
    assert caught.value.code == "AZD383"
    failed = run(gated(project))
    with pytest.raises(UserError) as caught:
        run(gated(project), options=Options(resume="nothing"))
    assert caught.value.code == "AZD385"
    with pytest.raises(UserError) as caught:
        run(gated(project), options=Options(resume=failed.state.run_id), display_name="another")
    assert caught.value.code == "AZD374"


def test_only_a_failure_that_says_so_is_tried_again(run: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("azdistill.local.run.result._FIRST", 0.01)
    tries = "echo x >> '{0}'; test $(wc -l < '{0}') = 3 || exit {1}; echo done > ${{{{outputs.o}}}}"
    soft = run({"a": step(tries.format(project / "soft", 75), outputs=("o",))}, options=Options(retries=2))
    assert statuses(soft) == {"a": "completed"}
    assert soft.state.steps["a"].attempts == 3
    assert [event.kind for event in read_events(soft.state.folder / "events.jsonl")].count("step_retried") == 2
    hard = run({"a": step(tries.format(project / "hard", 3), outputs=("o",))}, options=Options(retries=2))
    assert statuses(hard) == {"a": "failed"}
    assert (project / "hard").read_text() == "x\n"
    few = run({"a": step(tries.format(project / "few", 75), outputs=("o",))}, options=Options(retries=1))
    assert statuses(few) == {"a": "failed"}
    assert (project / "few").read_text() == "x\nx\n"
    assert "exit code 75" in log_of(few, "a")


def test_keep_going_runs_what_does_not_need_the_failed_step(run: Run) -> None:
    jobs = {
        "a": step("exit 3", outputs=("o",)),
        "b": step("cat ${{inputs.o}}", inputs={"o": "${{parent.jobs.a.outputs.o}}"}),
        "c": step("true"),
    }
    options = Options(jobs=1, keep_going=True)
    assert statuses(run(jobs, options=options)) == {"a": "failed", "b": "skipped", "c": "completed"}
    assert statuses(run(jobs, options=Options(jobs=1))) == {"a": "failed", "b": "skipped", "c": "skipped"}
