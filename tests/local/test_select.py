"""Running a part of a pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from local_helpers import statuses, step

from azdistill.errors import UserError
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.plan.selection import Selection
from azdistill.local.run.listener import Listener
from azdistill.local.store.events import Event, RunState
from azdistill.local.store.runs import load_run

Run = Callable[..., Finished]


def after(name: str) -> dict[str, str]:
    return {"x": f"${{{{parent.jobs.{name}.outputs.x}}}}"}


def chain(deterministic: bool = True) -> dict[str, Any]:
    """a -> b -> c, and d beside them."""
    copy = "cat ${{inputs.x}} > ${{outputs.x}}; echo %s >> ${{outputs.x}}"
    return {
        "a": step("echo a > ${{outputs.x}}", outputs=("x",)) if deterministic else never_cached(),
        "b": step(copy % "b", outputs=("x",), inputs=after("a")),
        "c": step(copy % "c", outputs=("x",), inputs=after("b")),
        "d": step("echo d > ${{outputs.x}}", outputs=("x",)),
    }


def never_cached() -> dict[str, Any]:
    return {"type": "command", "component": step("echo a > ${{outputs.x}}", outputs=("x",), is_deterministic=False)}


def options(**selected: str) -> Options:
    return Options(selection=Selection(**{key: tuple(names.split()) for key, names in selected.items()}))


class Notes(Listener):
    notes: tuple[str, ...] = ()

    def hear(self, event: Event, run: RunState) -> None:
        if event.kind in ("run_started", "run_resumed"):
            self.notes = event.fields["plan"].notes


@pytest.mark.parametrize(
    ("selected", "meant"),
    [
        ({"only": "d"}, {"d"}),
        ({"until": "b"}, {"a", "b"}),
        ({"until": "b d"}, {"a", "b", "d"}),
        ({"since": "a"}, {"a", "b", "c"}),
        ({"since": "a", "until": "b"}, {"a", "b"}),
    ],
)
def test_only_what_is_selected_runs(run: Run, selected: dict[str, str], meant: set[str]) -> None:
    assert statuses(run(chain(), options=options(**selected))) == dict.fromkeys(sorted(meant), "completed")


def test_what_a_selected_step_needs_comes_from_the_cache(run: Run) -> None:
    run(chain(), options=options(until="b"))
    finished = run(chain(), options=options(only="c"))
    assert statuses(finished) == {"a": "cached", "b": "cached", "c": "completed"}
    assert Path(finished.state.steps["c"].outputs["x"]).read_text() == "a\nb\nc\n"


def test_no_cache_runs_the_selected_step_again_and_still_finds_what_it_needs(run: Run) -> None:
    run(chain())
    again = Options(use_cache=False, selection=Selection(only=("c",)))
    assert statuses(run(chain(), options=again)) == {"a": "cached", "b": "cached", "c": "completed"}


def test_a_needed_result_that_is_not_there_is_refused_before_anything_runs(run: Run, project: Path) -> None:
    with pytest.raises(UserError) as caught:
        run(chain(), options=options(only="c d"))
    assert caught.value.code == "AZD375"
    assert "'a' is not selected" in caught.value.message
    assert "--only a" in caught.value.hint
    assert list((project / ".azdistill" / "runs").iterdir()) == []


def test_a_gap_between_selected_steps_is_told_where_the_first_of_them_has_to_run(run: Run) -> None:
    finished = run(chain(), options=options(only="a c"))
    assert statuses(finished) == {"a": "completed", "b": "failed", "c": "skipped"}
    assert isinstance(finished.error, UserError)
    assert finished.error.code == "AZD375"


def test_the_result_of_a_step_that_is_never_cached_comes_from_the_resumed_run(run: Run) -> None:
    jobs = chain(deterministic=False)
    jobs["c"]["command"] = "exit 3"
    failed = run(jobs)
    made = failed.state.steps["b"].outputs
    with pytest.raises(UserError) as caught:
        run(jobs, options=options(only="b"))
    assert "--resume" in caught.value.hint
    resumed = run(jobs, options=Options(resume="latest", selection=Selection(only=("b",))))
    assert resumed.state.steps["b"].outputs == made
    # What was left out stays in the run as it was.
    kept = load_run(resumed.state.folder)
    assert {name: kept.steps[name].status for name in kept.steps} == {
        **{"a": "cached", "b": "cached", "c": "failed", "d": "completed"}
    }


def test_outputs_that_are_not_made_are_left_out_and_said_so(run: Run, project: Path) -> None:
    jobs, told = chain(), Notes()
    jobs["c"]["outputs"] = {"x": "${{parent.outputs.last}}"}
    out = Options(out=project / "out", selection=Selection(only=("d",)))
    finished = run(jobs, options=out, outputs={"last": {"type": "uri_file"}}, listeners=[told])
    assert finished.error is None
    assert finished.state.outputs == {}
    assert told.notes.count("skipping output 'last': step 'c' was not selected") == 1


def test_a_nested_pipeline_stands_for_all_of_its_steps(run: Run, project: Path) -> None:
    inner = {"type": "pipeline", "name": "inner", "jobs": {"p": step("true"), "q": step("true")}}
    (project / "inner.yml").write_text(yaml.safe_dump(inner))
    jobs = {"inner": {"type": "pipeline", "component": "./inner.yml"}, "z": step("true")}
    assert set(statuses(run(jobs, options=options(only="inner")))) == {"inner.p", "inner.q"}
    assert set(statuses(run(jobs, options=options(only="inner.q")))) == {"inner.q"}


@pytest.mark.parametrize(
    ("selected", "code", "said"),
    [
        ({"only": "e"}, "AZD373", "known: a, "),
        ({"since": "c", "until": "a"}, "AZD376", "does not need"),
        ({"only": "a", "since": "b"}, "AZD376", "--only"),
    ],
)
def test_what_cannot_be_meant_is_refused(run: Run, selected: dict[str, str], code: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        run(chain(), options=options(**selected))
    assert caught.value.code == code
    assert said in str(caught.value)


def test_a_misspelt_step_gets_the_nearest_name(run: Run) -> None:
    with pytest.raises(UserError) as caught:
        run({"train": step("true")}, options=options(only="trian"))
    assert "did you mean 'train'?" in caught.value.hint
