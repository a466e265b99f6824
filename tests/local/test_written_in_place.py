"""Outputs with a place of their own on a datastore: reused only while that holds what was written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_helpers import statuses, step

from azdistill.local.run import Finished, Options

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


def test_two_writers_of_one_place_are_each_reused(run: Run) -> None:
    def both(text: str) -> dict[str, Any]:
        first = step(f"echo {text} > ${{{{outputs.kept}}}}/x; echo > ${{{{outputs.done}}}}", outputs=("done",))
        first["outputs"]["kept"] = PLACE
        second = writing("two", "y") | {"inputs": {"after": "${{parent.jobs.w.outputs.done}}"}}
        second["command"] += " # ${{inputs.after}}"
        return {"w": first, "v": second}

    run(both("one"))
    changed = both("other")
    assert statuses(run(changed)) == {"w": "completed", "v": "completed"}
    # The writer's second run was no new result, but found another place: the entry says so from now on.
    assert statuses(run(changed)) == {"w": "cached", "v": "cached"}


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
