"""What was hashed is what was read: inputs that change before a step starts, while it runs, or after they were made."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from local_helpers import log_of, no_cache, statuses, step
from sweep_helpers import KEEP, choice, log, sweep_step

from azdistill import trees
from azdistill.errors import MachineError
from azdistill.local.cache import hashes
from azdistill.local.cache.explain import explain
from azdistill.local.outputs import deliver
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.run import step as step_module
from azdistill.local.run.listener import Listener
from azdistill.local.run.result import Result
from azdistill.local.store.events import Event, RunState
from azdistill.local.store.home import find_home
from azdistill.local.sweep import search

Run = Callable[..., Finished]
NOT_CACHED = "changed while this step read it: its result is of this run only, not cached"


def reading(command: str = "cat '${{inputs.x}}' > '${{outputs.o}}'", **more: Any) -> dict[str, Any]:
    return step(command, outputs=("o",), inputs={"x": "${{parent.inputs.x}}"}, **more)


def made(finished: Finished, name: str = "a") -> str:
    return Path(finished.state.steps[name].outputs["o"]).read_text()


@pytest.fixture
def read_file(run: Run, project: Path) -> Callable[..., Finished]:
    """Runs a step that copies ``x.txt`` to its output."""

    def read(job: dict[str, Any] | None = None, **more: Any) -> Finished:
        return run({"a": job or reading()}, inputs={"x": {"type": "uri_file", "path": "./x.txt"}}, **more)

    (project / "x.txt").write_text("old\n")
    return read


def before_the_start(monkeypatch: pytest.MonkeyPatch, change: Callable[[int], None]) -> None:
    """Have ``change`` called, with 1, 2, ..., whenever a step has a key and is about to start."""
    prepare, count = step_module.prepare, []

    def change_and_prepare(*given: Any) -> Any:
        count.append(0)
        prepared = prepare(*given)
        change(len(count))
        return prepared

    monkeypatch.setattr(step_module, "prepare", change_and_prepare)


def test_an_input_that_is_edited_before_the_start_is_hashed_again(
    read_file: Callable[..., Finished], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit(count: int) -> None:
        if count == 1:
            (project / "x.txt").write_text("new\n")

    with monkeypatch.context() as patch:
        before_the_start(patch, edit)
        finished = read_file()
    assert (statuses(finished), made(finished)) == ({"a": "completed"}, "new\n")
    assert finished.state.steps["a"].attempts == 1
    assert statuses(read_file()) == {"a": "cached"}
    (project / "x.txt").write_text("old\n")
    again = read_file()
    assert (statuses(again), made(again)) == ({"a": "completed"}, "old\n")


def test_an_input_that_is_replaced_while_it_is_hashed_is_hashed_again(
    read_file: Callable[..., Finished], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "next.txt").write_text("new\n")
    hash_file = hashes.hash_file

    def hash_and_replace(path: Path) -> str:
        sha256 = hash_file(path)
        if path.name == "x.txt" and (project / "next.txt").exists():
            (project / "x.txt").rename(project / "before.txt")
            (project / "next.txt").rename(project / "x.txt")
        return sha256

    monkeypatch.setattr(hashes, "hash_file", hash_and_replace)
    finished = read_file()
    assert (statuses(finished), made(finished)) == ({"a": "completed"}, "new\n")
    (project / "before.txt").rename(project / "x.txt")
    again = read_file()
    assert (statuses(again), made(again)) == ({"a": "completed"}, "old\n")


def test_a_step_whose_input_changes_all_the_time_runs_and_is_not_cached(
    read_file: Callable[..., Finished], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before_the_start(monkeypatch, lambda count: [(project / "x.txt").write_text(f"{count}\n"), None][1])
    finished = read_file()
    assert (statuses(finished), made(finished)) == ({"a": "completed"}, "4\n")
    assert f"input 'x' was {NOT_CACHED}" in log_of(finished, "a")
    assert statuses(read_file()) == {"a": "completed"}


CHANGES = {
    "edited": "echo new > ./x.txt",
    "edited, in its old size and time": "touch -r x.txt t; echo new > x.txt; touch -r t x.txt",
    "replaced": "echo new > y.txt; mv y.txt x.txt",
    "replaced, and put back": "mv x.txt y.txt; echo new > x.txt; cat x.txt > ${{outputs.o}}; mv y.txt x.txt",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_was_made_of_an_input_that_changed_meanwhile_is_kept_for_its_run_only(
    read_file: Callable[..., Finished], run: Run, project: Path, change: str
) -> None:
    job = reading(f"cat '${{{{inputs.x}}}}' > '${{{{outputs.o}}}}'; cd '{project}'; {change}")
    finished = read_file(job)
    assert statuses(finished) == {"a": "completed"}
    assert log_of(finished, "a").count(f"input 'x' was {NOT_CACHED}") == 1
    (project / "x.txt").write_text("old\n")
    job["command"] = job["command"].replace("cd", "true; cd")
    assert statuses(read_file(job)) == {"a": "completed"}
    assert statuses(read_file(job)) == {"a": "completed"}


def test_a_resumed_run_does_not_take_what_was_made_of_an_input_that_changed_meanwhile(
    read_file: Callable[..., Finished], run: Run, project: Path
) -> None:
    (project / "x.txt").write_text("old\n")
    change = "test -e done || { touch done; echo new > x.txt; }"
    a = reading(f"cd '{project}'; {change}; cat '${{{{inputs.x}}}}' > '${{{{outputs.o}}}}'")
    jobs = {"a": a, "b": step("exit 3", inputs={"o": "${{parent.jobs.a.outputs.o}}"})}
    inputs = {"x": {"type": "uri_file", "path": "./x.txt"}}
    assert made(run(jobs, inputs=inputs)) == "new\n"
    (project / "x.txt").write_text("old\n")
    again = run(jobs, inputs=inputs, options=Options(resume="latest"))
    assert (statuses(again), made(again)) == ({"a": "completed", "b": "failed"}, "old\n")
    third = run(jobs, inputs=inputs, options=Options(resume="latest"))
    assert statuses(third) == {"a": "cached", "b": "failed"}


def test_a_journal_of_an_input_that_changed_meanwhile_is_not_handed_on(
    read_file: Callable[..., Finished], project: Path
) -> None:
    change = f"cd '{project}'; echo new > x.txt; echo old > x.txt"
    job = reading(f'echo "got $AZDISTILL_PREVIOUS_ATTEMPT"; echo 1 > ${{{{outputs.o}}}}; {change}; exit 3')
    read_file(job)
    assert "got \n" in log_of(read_file(job, options=Options(resume="latest")), "a")


class Meddling(Listener):
    """Does something when a step has ended, as a daemon would that it left behind."""

    def __init__(self, name: str, act: Callable[[RunState], None]) -> None:
        self._name, self._act = name, act

    def hear(self, event: Event, run: RunState) -> None:
        if event.kind == "step_ended" and event.step == self._name:
            self._act(run)


def overwrite(run: RunState) -> None:
    path = Path(run.steps["make"].outputs["o"])
    path.chmod(0o644)
    path.write_text("evil\n")
    path.chmod(0o444)


def two_steps(run: Run, listeners: list[Listener], **more: Any) -> Finished:
    use = step(
        "cat '${{inputs.x}}' > '${{outputs.o}}'", outputs=("o",), inputs={"x": "${{parent.jobs.make.outputs.o}}"}
    )
    return run({"make": step("echo good > '${{outputs.o}}'", outputs=("o",)), "use": use}, listeners=listeners, **more)


@pytest.mark.parametrize("cached", [True, False])
def test_an_output_that_is_written_to_after_its_step_has_ended_is_read_for_what_it_is(run: Run, cached: bool) -> None:
    finished = two_steps(run, [Meddling("make", overwrite)], options=Options(use_cache=cached))
    assert made(finished, "use") == "evil\n"
    told = "input 'x' is not what step 'make' had written: it was changed after that had ended"
    assert told in log_of(finished, "use")
    for expected in ("completed", "cached"):
        again = two_steps(run, [])
        assert (statuses(again), made(again, "use")) == ({"make": expected, "use": expected}, "good\n")


def test_an_input_that_is_a_link_stays_what_it_led_to_when_the_run_began(run: Run, project: Path) -> None:
    for version in ("one", "two"):
        (project / version).mkdir()
        (project / version / "x.txt").write_text(f"{version}\n")
    (project / "current").symlink_to("one")
    job = reading(f"ln -sfn two '{project}/current'; cat '${{{{inputs.x}}}}/x.txt' > ${{{{outputs.o}}}}")
    finished = run({"a": job}, inputs={"x": {"type": "uri_folder", "path": "./current"}})
    assert (made(finished), log_of(finished, "a")) == ("one\n", "")


FOLDER_CHANGES = {
    "a file comes and goes": "touch d/new; ls d > ${{outputs.o}}; rm d/new",
    "a folder comes": "mkdir d/new",
    "a linked file changes": "echo new > far.txt",
    "a link among them leads elsewhere for a while": "ln -sfn other.txt d/link; ln -sfn ../far.txt d/link",
    "a mode changes": "chmod 755 d/x.txt",
}


@pytest.mark.parametrize("change", FOLDER_CHANGES.values(), ids=FOLDER_CHANGES)
def test_whatever_changes_in_a_folder_meanwhile_is_noticed(run: Run, project: Path, change: str) -> None:
    (project / "d").mkdir()
    (project / "d" / "x.txt").write_text("x\n")
    (project / "far.txt").write_text("far\n")
    (project / "d" / "link").symlink_to("../far.txt")
    job = reading(f"echo > ${{{{outputs.o}}}}; cd '{project}'; {change}")
    inputs = {"x": {"type": "uri_folder", "path": "./d"}}
    assert NOT_CACHED in log_of(run({"a": job}, inputs=inputs), "a")


def test_a_file_that_is_gone_while_the_folder_is_hashed_is_no_error(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "d").mkdir()
    for name in ("1", "2"):
        (project / "d" / name).write_text(f"{name}\n")
    hash_file = hashes.hash_file

    def hash_and_remove(path: Path) -> str:
        (project / "d" / "2").unlink(missing_ok=True)
        return hash_file(path)

    monkeypatch.setattr(hashes, "hash_file", hash_and_remove)
    job = reading("cat ${{inputs.x}}/* > ${{outputs.o}}")
    assert made(run({"a": job}, inputs={"x": {"type": "uri_folder", "path": "./d"}})) == "1\n"


def test_an_input_whose_content_does_not_count_may_change(read_file: Callable[..., Finished], project: Path) -> None:
    job = reading(f"echo > ${{{{outputs.o}}}}; echo new > '{project}/x.txt'", tags={"azdistill.cache_ignore": "x"})
    assert [statuses(read_file(job)) for _ in range(2)] == [{"a": "completed"}, {"a": "cached"}]


def test_a_sweep_whose_input_changes_is_not_cached(run: Run, project: Path) -> None:
    (project / "x.txt").write_text("old\n")
    inputs = {"f": {"type": "uri_file", "path": "./x.txt"}}
    declared = {"x": {"type": "number"}, "f": {"type": "uri_file"}}

    def sweep(change: str) -> dict[str, Any]:
        command = f"{log()}cat ${{{{inputs.f}}}} > ${{{{outputs.out}}}}; {change}"
        bound = {"f": "${{parent.inputs.f}}"}
        return {"a": sweep_step(command, {"x": choice(1, 2)}, declares=declared, inputs=bound)}

    changing = sweep(f"test '${{{{inputs.x}}}}' = 1 || echo new > '{project}/x.txt'")
    assert NOT_CACHED in log_of(run(changing, inputs=inputs), "a")
    (project / "x.txt").write_text("old\n")
    again = run(changing, inputs=inputs)
    assert statuses(again) == {"a": "completed"}
    assert sorted(trial.status for trial in again.state.steps["a"].trials.values()) == ["cached", "completed"]
    assert [statuses(run(sweep("true"), inputs=inputs)) for _ in range(2)] == [{"a": "completed"}, {"a": "cached"}]


#: A step whose output is the pipeline's.
MAKE = {"make": step("echo good > '${{outputs.o}}'")}
MAKE["make"]["outputs"] = {"o": {"type": "uri_file", "path": "${{parent.outputs.r}}"}}
GIVEN_OUT: dict[str, Any] = {"outputs": {"r": {"type": "uri_file"}}}


@pytest.mark.parametrize("out", [None, Path("out")])
def test_an_output_that_is_written_to_after_its_step_has_ended_is_not_given_out(run: Run, out: Path | None) -> None:
    finished = run(MAKE, **GIVEN_OUT, options=Options(out=out), listeners=[Meddling("make", overwrite)])
    assert finished.state.status == "failed"
    assert isinstance(finished.error, MachineError)
    assert finished.error.code == "AZD352"
    again = run(MAKE, **GIVEN_OUT, options=Options(out=out))
    assert (statuses(again), Path(again.state.outputs["r"]).read_text()) == ({"make": "completed"}, "good\n")


def test_what_is_written_to_an_output_while_it_is_copied_is_not_given_out(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy_out = deliver.copy_out

    def write_and_copy(source: Path, target: Path) -> None:
        source.chmod(0o644)
        source.write_text("evil\n")
        copy_out(source, target)

    monkeypatch.setattr(deliver, "copy_out", write_and_copy)
    finished = run(MAKE, **GIVEN_OUT, options=Options(out=Path("out")))
    assert isinstance(finished.error, MachineError)
    assert finished.error.code == "AZD352"
    assert [path.name for path in Path("out").iterdir()] == []


def test_a_sweep_whose_best_trial_was_written_to_after_its_end_is_not_cached(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = search.Search.run

    def look_and_overwrite(self: search.Search) -> Any:
        best = look(self)
        assert not isinstance(best, Result)
        path = best.result.outputs["out"]
        path.chmod(0o644)
        path.write_text("evil\n")
        return best

    last = step("exit 3", inputs={"o": "${{parent.jobs.a.outputs.out}}"})
    jobs = {"a": sweep_step(f"{log()}{KEEP}", {"x": choice(1, 2)}), "last": last}
    with monkeypatch.context() as patch:
        patch.setattr(search.Search, "run", look_and_overwrite)
        assert "this result is not cached" in log_of(run(jobs), "a")
    resumed = run(jobs, options=Options(resume="latest"))
    assert Path(resumed.state.steps["a"].outputs["out"]).read_text() == "1\n"
    again = run({"a": jobs["a"]}, options=no_cache)
    assert (statuses(again), Path(again.state.steps["a"].outputs["out"]).read_text()) == ({"a": "completed"}, "1\n")


TABLES = {
    "file": ("paths: [{file: ../far/1.csv}]", "1.csv"),
    "folder": ("paths: [{folder: ../far}]", "1.csv"),
    "pattern": ("paths: [{pattern: '../far/*.csv'}]", "2.csv"),
    "file at an address of this machine": ("paths: [{file: 'file://%s/far/1.csv'}]", "1.csv"),
}


@pytest.mark.parametrize(("table", "changed"), TABLES.values(), ids=TABLES)
def test_what_a_table_names_outside_of_its_folder_counts(run: Run, project: Path, table: str, changed: str) -> None:
    for folder in ("table", "far"):
        (project / folder).mkdir()
    (project / "table" / "MLTable").write_text(table.replace("%s", str(project)))
    (project / "far" / "1.csv").write_text("one\n")
    inputs = {"x": {"type": "mltable", "path": "./table"}}
    job = reading(f"cat '{project}'/far/*.csv > ${{{{outputs.o}}}}")
    assert [statuses(run({"a": job}, inputs=inputs))["a"] for _ in range(2)] == ["completed", "cached"]
    (project / "far" / changed).write_text("two\n")
    assert "two\n" in made(run({"a": job}, inputs=inputs))
    changing = reading(f"echo > ${{{{outputs.o}}}}; echo three > '{project}/far/{changed}'")
    assert NOT_CACHED in log_of(run({"a": changing}, inputs=inputs), "a")


@pytest.mark.parametrize(
    "text", ["", "paths: {", "paths: 3", "paths: [{file: azureml://datastores/a/paths/b}, 7]", None]
)
def test_a_table_that_names_nothing_of_this_machine_is_a_folder_like_any_other(
    run: Run, project: Path, text: str | None
) -> None:
    (project / "table").mkdir()
    (project / "table" / ("MLTable" if text is not None else "other")).write_text(text or "")
    inputs = {"x": {"type": "mltable", "path": "./table"}}
    jobs = {"a": reading("ls ${{inputs.x}} > ${{outputs.o}}")}
    assert [statuses(run(jobs, inputs=inputs))["a"] for _ in range(2)] == ["completed", "cached"]


def test_a_sweep_without_the_cache_is_taken_over_when_its_run_is_resumed(run: Run, project: Path) -> None:
    (project / "x.txt").write_text("x\n")
    declared = {"x": {"type": "number"}, "f": {"type": "uri_file"}}
    sweep = sweep_step(f"{log()}{KEEP}", {"x": choice(1, 2)}, declares=declared, inputs={"f": "${{parent.inputs.f}}"})
    jobs = {"a": sweep, "last": step("exit 3", inputs={"o": "${{parent.jobs.a.outputs.out}}"})}
    inputs = {"f": {"type": "uri_file", "path": "./x.txt"}}
    run(jobs, inputs=inputs, options=no_cache)
    resumed = run(jobs, inputs=inputs, options=replace(no_cache, resume="latest"))
    assert statuses(resumed) == {"a": "cached", "last": "failed"}


def test_explain_says_that_an_input_was_changed_meanwhile(read_file: Callable[..., Finished], project: Path) -> None:
    job = reading(f"echo > ${{{{outputs.o}}}}; touch '{project}/x.txt'")
    runs = [read_file(job).state for _ in range(2)]
    told = explain(find_home(), runs[1], "a", runs)
    reason = "an input, or what is installed, was changed while it ran"
    assert told.reason == f"{reason} in {runs[0].run_id}, so that its result was not kept"


def test_a_change_within_the_same_second_shows_where_times_are_whole_seconds(
    read_file: Callable[..., Finished], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def by_seconds(status: os.stat_result) -> tuple[int, int, int, int]:
        second = 1_000_000_000
        mtime, ctime = status.st_mtime_ns // second * second, status.st_ctime_ns // second * second
        return status.st_size, mtime, ctime, status.st_ino

    monkeypatch.setattr(trees, "stat_of", by_seconds)
    job = reading(f"cat '${{{{inputs.x}}}}' > '${{{{outputs.o}}}}'; echo new > '{project}/x.txt'")
    (project / "x.txt").write_text("old\n")
    assert NOT_CACHED in log_of(read_file(job), "a")


def test_what_is_of_this_second_is_waited_for_and_nothing_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    second, clock, slept = 1_000_000_000, [7_400_000_000], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.append(clock[-1] + round(seconds * second))

    monkeypatch.setattr(trees.time, "time_ns", lambda: clock[-1])
    monkeypatch.setattr(trees.time, "sleep", sleep)
    for changed in (4, 5, 900):
        trees.outwait([(1, 0, changed * second, 1)])
    assert slept == []
    trees.outwait([(1, 0, 7 * second, 1), (1, 0, 5 * second, 2)])
    assert clock[-1] == 8_010_000_000
    trees.outwait([(1, 0, 8 * second, 1)])
    assert clock[-1] == 10_010_000_000
