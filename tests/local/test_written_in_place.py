"""Outputs with a place of their own on a datastore: reused only while that holds what was written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_helpers import log_of, statuses, step

from azdistill import aml
from azdistill.errors import SpecError
from azdistill.local.dry_run import foresee
from azdistill.local.pipeline_run import Finished, Options

Run = Callable[..., Finished]
PLACE = {"type": "uri_folder", "path": "azureml://datastores/d/paths/kept"}


def writing(text: str, file: str = "x") -> dict[str, Any]:
    return step(f"echo {text} > ${{{{outputs.kept}}}}/{file}") | {"outputs": {"kept": PLACE}}


def reading(of: str = "w") -> dict[str, Any]:
    given = {"kept": f"${{{{parent.jobs.{of}.outputs.kept}}}}"}
    return step("cat ${{inputs.kept}}/* > ${{outputs.o}}", outputs=("o",), inputs=given)


def read(finished: Finished) -> str:
    return Path(finished.state.steps["r"].outputs["o"]).read_text()


@pytest.fixture
def place(project: Path) -> Path:
    return project / ".azdistill" / "datastores" / "d" / "kept"


def test_what_reads_a_place_reads_what_is_there_now(run: Run, place: Path) -> None:
    for text, done in (("one", "completed"), ("two", "completed"), ("one", "cached")):
        finished = run({"w": writing(text), "r": reading()})
        # Of the same text again the writer runs, as another has been there since; what its reader made of it is known.
        assert statuses(finished) == {"w": "completed", "r": done}
        assert (read(finished), (place / "x").read_text()) == (f"{text}\n", f"{text}\n")
    assert statuses(run({"w": writing("one"), "r": reading()})) == {"w": "cached", "r": "cached"}


def test_a_place_that_was_emptied_is_filled_again(run: Run, place: Path) -> None:
    jobs = {"w": writing("one"), "r": reading()}
    run(jobs)
    shutil.rmtree(place)
    assert statuses(run(jobs)) == {"w": "completed", "r": "cached"}
    assert (place / "x").read_text() == "one\n"
    (place / "x").write_text("mine")
    assert statuses(run(jobs, options=Options(resume="latest"))) == {"w": "completed", "r": "cached"}


def test_what_others_add_to_a_place_counts_for_its_readers_only(run: Run, place: Path) -> None:
    jobs = {"w": writing("one"), "r": reading()}
    run(jobs)
    (place / "y").write_text("two\n")
    finished = run(jobs)
    assert statuses(finished) == {"w": "cached", "r": "completed"}
    assert read(finished) == "one\ntwo\n"


def test_a_reader_is_known_by_what_the_place_holds_when_its_turn_comes(run: Run) -> None:
    def jobs(text: str) -> dict[str, Any]:
        later = step(f"echo {text} > ${{{{outputs.own}}}}/y; cat ${{{{inputs.kept}}}}/x > ${{{{outputs.done}}}}")
        later |= {"outputs": {"own": PLACE, "done": {"type": "uri_file"}}, "inputs": reading()["inputs"]}
        after = reading()
        after["inputs"]["after"] = "${{parent.jobs.v.outputs.done}}"
        return {"w": writing("x"), "v": later, "r": after}

    for text, done in (("1", "completed"), ("2", "completed"), ("1", "cached"), ("1", "cached")):
        finished = run(jobs(text))
        assert (read(finished), statuses(finished)["r"]) == (f"x\n{text}\n", done)
    _, foreseen = foresee(aml.load_pipeline(Path("pipeline.yml")), Options())
    assert foreseen["r"].action == "reuse"


def test_what_was_added_between_two_attempts_is_in_no_key(
    run: Run, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(_: object) -> float:
        (place / "y").write_text("two\n")
        return 0.0

    monkeypatch.setattr("azdistill.local.run.step.pause_before", wait)
    again = reading()
    again["command"] += "; ls ${{inputs.kept}}/y || exit 75"
    assert read(run({"w": writing("one"), "r": again}, options=Options(retries=1))) == "one\ntwo\n"
    (place / "y").unlink()
    assert statuses(run({"w": writing("one"), "r": again})) == {"w": "cached", "r": "failed"}


def test_what_another_run_wrote_with_the_same_size_and_time_is_another_thing(run: Run, place: Path) -> None:
    def jobs(text: str) -> dict[str, Any]:
        dated = writing(text)
        dated["command"] += "; touch -d 1980-01-01 ${{outputs.kept}}/x"
        return {"w": dated, "r": reading()}

    for text, done in (("1", "completed"), ("2", "completed"), ("1", "cached")):
        finished = run(jobs(text))
        assert statuses(finished) == {"w": "completed", "r": done}
        assert (read(finished), (place / "x").read_text()) == (f"{text}\n", f"{text}\n")
    assert statuses(run(jobs("1"))) == {"w": "cached", "r": "cached"}


def test_two_writers_of_one_place_do_not_undo_each_other(run: Run) -> None:
    def both(text: str) -> dict[str, Any]:
        """Neither writes the same twice."""
        now = "date +%N"
        first = step(f"({now}; echo {text}) > ${{{{outputs.kept}}}}/x; echo > ${{{{outputs.done}}}}", outputs=("done",))
        first["outputs"]["kept"] = PLACE
        second = step(f"({now}; echo ${{{{inputs.after}}}}) > ${{{{outputs.kept}}}}/y")
        second |= {"outputs": {"kept": PLACE}, "inputs": {"after": "${{parent.jobs.w.outputs.done}}"}}
        return {"w": first, "v": second}

    run(both("one"))
    assert statuses(run(both("other"))) == {"w": "completed", "v": "cached"}
    assert statuses(run(both("other"))) == {"w": "cached", "v": "cached"}


def test_what_is_kept_beside_a_place_is_of_the_attempt_that_filled_it(run: Run, place: Path) -> None:
    job = step("date +%N | tee ${{outputs.kept}}/x > ${{outputs.index}}", outputs=("index",))
    job["outputs"]["kept"] = PLACE
    run({"w": job})
    shutil.rmtree(place)
    for status in ("completed", "cached"):
        finished = run({"w": job})
        assert statuses(finished) == {"w": status}
        assert Path(finished.state.steps["w"].outputs["index"]).read_text() == (place / "x").read_text()


def test_a_result_of_what_came_while_it_was_made_is_not_reused(run: Run, place: Path) -> None:
    added = step("cat ${{inputs.kept}}/*; echo two > ${{inputs.kept}}/late; echo > ${{outputs.o}}", outputs=("o",))
    jobs = {"w": writing("one"), "r": added | {"inputs": {"kept": "${{parent.jobs.w.outputs.kept}}"}}}
    assert statuses(run(jobs)) == {"w": "completed", "r": "completed"}
    (place / "late").unlink()
    assert statuses(run(jobs)) == {"w": "cached", "r": "completed"}


def test_a_step_may_add_to_the_place_that_it_reads(run: Run, place: Path) -> None:
    adding = writing("two", "y") | {"inputs": {"kept": "${{parent.jobs.w.outputs.kept}}"}}
    adding["command"] += "; cat ${{inputs.kept}}/x"
    assert statuses(run({"w": writing("one"), "v": adding})) == {"w": "completed", "v": "completed"}
    assert sorted(path.name for path in place.iterdir()) == ["x", "y"]


@pytest.mark.parametrize("kind", ["uri_file", "uri_folder"])
def test_what_is_not_written_in_place_fails_its_step(run: Run, kind: str) -> None:
    job = step("true ${{outputs.kept}}") | {"outputs": {"kept": PLACE | {"type": kind}}}
    finished = run({"w": job})
    assert statuses(finished) == {"w": "failed"}
    assert "did not write output 'kept'" in (finished.state.steps["w"].error or "")


def test_a_file_in_place_is_looked_at_too(run: Run, place: Path) -> None:
    job = step("echo one > ${{outputs.kept}}") | {"outputs": {"kept": PLACE | {"type": "uri_file"}}}
    run({"w": job})
    assert statuses(run({"w": job})) == {"w": "cached"}
    place.unlink()
    assert statuses(run({"w": job})) == {"w": "completed"}


def test_a_file_in_place_that_a_step_leaves_as_it_was_is_told(run: Run) -> None:
    def jobs(text: str) -> dict[str, Any]:
        written = step(f"[ {text} = one ] && echo one > ${{{{outputs.kept}}}}; true")
        return {"w": written | {"outputs": {"kept": PLACE | {"type": "uri_file"}}}}

    told = "output 'kept' was there already and is as it was"
    assert told not in log_of(run(jobs("one")), "w")
    assert told in log_of(run(jobs("two")), "w")


def kept_as(kind: str, path: str = "kept") -> dict[str, Any]:
    job = step("echo > ${{outputs.kept}}")
    return job | {"outputs": {"kept": {"type": kind, "path": f"azureml://datastores/d/paths/{path}"}}}


@pytest.mark.parametrize(
    "others",
    [
        [kept_as("uri_file"), kept_as("uri_folder")],
        [kept_as("uri_folder"), kept_as("uri_file")],
        [kept_as("uri_file"), kept_as("uri_folder", "kept/in")],
        [kept_as("uri_folder", "kept/in"), kept_as("uri_file")],
    ],
)
def test_a_place_is_a_file_or_a_folder(run: Run, others: list[dict[str, Any]]) -> None:
    with pytest.raises(SpecError, match="AZD346") as caught:
        run({f"s{number}": job for number, job in enumerate(others)})
    assert [problem.line > 0 for problem in caught.value.problems] == [True]


@pytest.mark.parametrize(("kind", "path"), [("uri_folder", "kept"), ("uri_folder", "kept/in"), ("uri_file", "kept/in")])
def test_a_file_that_is_in_the_way_is_told(run: Run, place: Path, kind: str, path: str) -> None:
    place.parent.mkdir(parents=True)
    late = kept_as(kind, path) | {"inputs": {"after": "${{parent.jobs.a.outputs.o}}"}}
    made = step(f"echo > '{place}'; echo > ${{{{outputs.o}}}}", outputs=("o",))
    error = run({"a": made, "w": late}).error
    assert error
    assert (error.code, "free some space" in str(error)) == ("AZD346", False)
    assert "step 'w': output 'kept'" in str(error)
    with pytest.raises(SpecError, match="AZD346"):
        run({"w": kept_as(kind, path)})


def test_a_folder_that_is_in_the_way_is_told(run: Run, place: Path) -> None:
    place.mkdir(parents=True)
    with pytest.raises(SpecError, match="AZD346"):
        run({"w": kept_as("uri_file")})


@pytest.mark.parametrize("where", ["azdistill/models/m1", "azdistill/assets", "azdistill/answers/mine", "elsewhere"])
def test_no_place_is_a_blind_spot_because_of_its_name(run: Run, project: Path, where: str) -> None:
    def jobs(command: str) -> dict[str, Any]:
        place = {"type": "uri_folder", "path": f"azureml://datastores/workspaceblobstore/paths/{where}"}
        return {"w": step(command) | {"outputs": {"kept": place}}}

    filling = "echo m > ${{outputs.kept}}/m"
    kept = Path(run(jobs(filling)).state.steps["w"].outputs["kept"])
    assert statuses(run(jobs(filling))) == {"w": "cached"}
    shutil.rmtree(kept)
    assert statuses(run(jobs(filling))) == {"w": "completed"}
    assert (kept / "m").read_text() == "m\n"
    shutil.rmtree(kept)
    empty = run(jobs("true"))
    assert statuses(empty) == {"w": "failed"}
    assert "did not write output 'kept'" in empty.state.steps["w"].error


@pytest.mark.parametrize(("where", "tags"), [("kept", {"azdistill.store": "other, kept"}), ("azdistill/answers", {})])
def test_a_store_that_is_declared_may_be_empty_and_its_readers_notice_that_it_grew(
    run: Run, where: str, tags: dict[str, str]
) -> None:
    store = {"type": "uri_folder", "path": f"azureml://datastores/workspaceblobstore/paths/{where}"}
    count = step("ls ${{inputs.kept}} > ${{outputs.o}}", outputs=("o",), inputs=reading()["inputs"])
    jobs = {"w": step("true", tags=tags) | {"outputs": {"kept": store}}, "r": count}
    finished = run(jobs)
    assert (statuses(finished), read(finished)) == ({"w": "completed", "r": "completed"}, "")
    assert statuses(run(jobs)) == {"w": "cached", "r": "cached"}
    (Path(finished.state.steps["w"].outputs["kept"]) / "answer").write_text("42\n")
    grown = run(jobs)
    assert (statuses(grown), read(grown)) == ({"w": "cached", "r": "completed"}, "answer\n")


def test_the_teachers_answers_are_a_declared_store() -> None:
    components = list((Path(__file__).parents[2] / "components").rglob("component.yml"))
    filling = [path for path in components if "\n  answers:\n" in path.read_text(encoding="utf-8")]
    assert len(filling) == 3
    assert all("\n  azdistill.store: answers\n" in path.read_text(encoding="utf-8") for path in filling)
