"""All that a step can observe is in its key, or in the list of what does not count.

The variables are not written down here: whatever a step of any kind sees is held against the two lists of
``azdistill/local/run/environment.py``. One that is in neither fails until somebody has decided on it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from local_helpers import ENVIRONMENT, statuses, step
from observed import ASKED_FOR, OF_THE_STEP, callers, counted, undecided, unnoticed, variables_in

from azdistill.local.cache.explain import explain
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.run.environment import CONSTANT, NOT_COUNTED, PASSED
from azdistill.local.store.home import find_home
from azdistill.local.store.runs import list_runs
from azdistill.trees import canonical

Run = Callable[..., Finished]

FOLDER = {"o": {"type": "uri_folder"}}
#: The script of a parallel step, and of a trial.
TELL_PY = """\
import json, os, pathlib

def tell():
    text = b"\\0".join(b"=".join(pair) for pair in os.environb.items())
    pathlib.Path(os.environ["AZURE_ML_OUTPUT_o"], "env").write_bytes(text)

def run(files):
    tell()
    return files

if __name__ == "__main__":
    tell()
    with open(os.environ["AZDISTILL_METRICS_FILE"], "a") as file:
        print(json.dumps({"kind": "metric", "name": "m", "value": 1}), file=file)
"""


@pytest.fixture
def jobs(project: Path) -> dict[str, Any]:
    """Steps of every kind, each of which tells its variables."""
    (project / "rows").mkdir()
    (project / "rows" / "a.txt").write_text("a row\n")
    (project / "tell.py").write_text(TELL_PY)
    trial = {
        "type": "command",
        "name": "trial",
        "environment": ENVIRONMENT,
        "inputs": {"rate": {"type": "number"}},
        "outputs": FOLDER,
        "code": "./tell.py",
        "command": "python tell.py ${{inputs.rate}} > '${{outputs.o}}/more'",
    }
    (project / "trial.yml").write_text(yaml.safe_dump(trial))
    rows = {"rows": {"type": "uri_folder", "path": "./rows"}}
    tell = "test -d '${{inputs.rows}}'; env -0 > '${{outputs.o}}/env'"
    plain = step(tell, inputs=rows, environment_variables=OF_THE_STEP) | {"outputs": FOLDER}
    task = {"type": "run_function", "code": "./tell.py", "entry_script": "tell.py", "environment": ENVIRONMENT}
    parallel = {
        **{"type": "parallel", "inputs": rows, "outputs": FOLDER, "input_data": "${{inputs.rows}}", "task": task},
        **{"mini_batch_size": "1", "resources": {"instance_count": 1}, "max_concurrency_per_instance": 1},
    }
    sweep = {
        "type": "sweep",
        "trial": "./trial.yml",
        "outputs": FOLDER,
        "search_space": {"rate": {"type": "choice", "values": [1]}},
        "sampling_algorithm": "grid",
        "objective": {"primary_metric": "m", "goal": "maximize"},
        "limits": {"max_total_trials": 1, "max_concurrent_trials": 1},
    }
    several = {"distribution": {"type": "pytorch", "process_count_per_instance": 1}}
    return {"plain": plain, "distributed": plain | several, "parallel": parallel, "sweep": sweep}


def test_each_variable_that_a_step_sees_is_decided(
    run: Run, jobs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Perturb all of the caller's at once: what a step sees otherwise, its key knows, or the list says why not."""
    runs = []
    for value in ("first", "second"):
        for name, text in callers(value).items():
            monkeypatch.setenv(name, text)
        runs.append(run(jobs, options=Options(variables=ASKED_FOR)))
    for name in jobs:
        seen = []
        for finished in runs:
            assert finished.state.steps[name].status == "completed"
            seen.append(variables_in(Path(finished.state.steps[name].outputs["o"], "env")))
        keys = [counted(finished, name) for finished in runs]
        assert [undecided(each, key) for each, key in zip(seen, keys, strict=True)] == [[], []]
        assert "UNHEARD_OF" not in seen[0]
        # Of these the list says so by the kind of their name.
        assert unnoticed(seen, keys) <= {"HF_TOKEN", "TEACHER_API_KEY"}


def test_a_variable_that_nobody_decided_on_is_found(
    run: Run, jobs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this file is for: one more that is passed on, or that the runner sets, fails the test above."""
    from azdistill.local.run import environment, prepare

    monkeypatch.setattr(environment, "PASSED", (*PASSED, "UNHEARD_OF"))
    monkeypatch.setattr(prepare, "CONSTANT", {**CONSTANT, "AZDISTILL_NEW": "x"})
    monkeypatch.setenv("UNHEARD_OF", "x")
    finished = run({"plain": jobs["plain"]})
    seen = variables_in(Path(finished.state.steps["plain"].outputs["o"], "env"))
    assert sorted(undecided(seen, counted(finished, "plain"))) == ["AZDISTILL_NEW", "UNHEARD_OF"]
    # Until it is decided it counts: a result too many is made, and none is wrong.
    assert "UNHEARD_OF" in counted(finished, "plain")


def test_the_interpreter_is_in_the_key(run: Run, project: Path) -> None:
    """What a program that answers as another Python says of itself; a step that starts it sees it."""
    said = {"python": "3.11.1", "platform": "linux", "build": "a", "distributions": [], "folders": [], "executable": ""}
    told = []
    for changed in ({}, {"python": "3.12.0"}, {"build": "b"}, {"distributions": ["mylib-1.0"]}, {"platform": "darwin"}):
        said |= changed
        (project / "python").write_text(f"#!/bin/sh\necho '{json.dumps(said)}'\n")
        (project / "python").chmod(0o755)
        jobs = {"a": step("python > '${{outputs.o}}'", outputs=("o",))}
        finished = run(jobs, options=Options(python=str(project / "python")))
        assert json.loads(seen_of(finished)) == said
        told.append(explain(find_home(), finished.state, "a", list_runs(find_home())).reason)
    assert told[1:] == [
        "interpreter/python is not what it was",
        "interpreter/build is not what it was",
        "what is installed is not what it was",
        "interpreter/platform is not what it was",
    ]


@dataclass(frozen=True)
class Change:
    """Something that a step sees of its inputs. ``listed``: the words of the list that say that it does not count."""

    make: Callable[[Path], object]
    said: str = ""
    listed: str = ""


def replace(path: Path, text: str) -> None:
    """Another file in the place of one."""
    (path.parent / "new").write_text(text)
    (path.parent / "new").replace(path)


def to_a_link(path: Path) -> None:
    """A link in the place of a file, to a copy of it elsewhere."""
    elsewhere = path.parents[1] / "elsewhere"
    path.replace(elsewhere)
    path.symlink_to(elsewhere)


def to_a_folder(path: Path) -> None:
    """A folder in the place of a file."""
    path.unlink()
    path.mkdir()
    (path / "x").write_text("x")


CHANGES = {
    "content": Change(lambda d: replace(d / "a.txt", "b"), "inputs/d is not what it was"),
    "a new file": Change(lambda d: (d / "new").write_text(""), "inputs/d is not what it was"),
    "a file that is gone": Change(lambda d: (d / "sub" / "c.txt").unlink(), "inputs/d is not what it was"),
    "a file of another name": Change(lambda d: (d / "a.txt").rename(d / "b.txt"), "inputs/d is not what it was"),
    "a folder in the place of a file": Change(lambda d: to_a_folder(d / "a.txt"), "inputs/d is not what it was"),
    "an empty folder": Change(lambda d: (d / "dog").mkdir(), "input d: there is an empty folder dog now"),
    "an empty folder in it": Change(
        lambda d: (d / "empty" / "more").mkdir(), "input d: the empty folder empty is gone"
    ),
    "no empty folder": Change(lambda d: (d / "empty").rmdir(), "input d: the empty folder empty is gone"),
    "a file that became executable": Change(lambda d: (d / "a.txt").chmod(0o755), "input d: a.txt is executable now"),
    "a file that is not executable": Change(
        lambda d: (d / "run.sh").chmod(0o644), "input d: run.sh is not executable any more"
    ),
    "a link to nothing": Change(lambda d: (d / "to").symlink_to("nothing"), "input d: to is a link to nothing now"),
    "a link to the folder itself": Change(lambda d: (d / "to").symlink_to("."), "input d: to is a link to . now"),
    "a pipe": Change(lambda d: os.mkfifo(d / "pipe"), "input d: pipe is no file now"),
    "who may read": Change(lambda d: (d / "a.txt").chmod(0o600), listed="permissions but for executing"),
    "who may enter": Change(lambda d: (d / "sub").chmod(0o700), listed="permissions but for executing"),
    "a time": Change(lambda d: os.utime(d / "a.txt", (1, 1)), listed="times"),
    "a link to a copy": Change(lambda d: to_a_link(d / "a.txt"), listed="what is a link and what a copy"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_find_sees_of_an_input_is_in_its_key_or_in_the_list(run: Run, project: Path, change: Change) -> None:
    folder = project / "d"
    (folder / "sub").mkdir(parents=True)
    (folder / "empty").mkdir()
    for name, text in {"a.txt": "a", "run.sh": "true", "sub/c.txt": "c"}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755 if name == "run.sh" else 0o644)
    see = "(cd '${{inputs.d}}'; find . -printf '%p %m %s %y %T@\\n' | sort; cat a.txt || true) > '${{outputs.o}}' 2>&1"
    jobs = {"a": step(see, outputs=("o",), inputs={"d": {"type": "uri_folder", "path": "./d"}})}
    before = run(jobs)
    change.make(folder)
    after = run(jobs)
    if change.listed:
        assert any(change.listed in each.what for each in NOT_COUNTED)
        assert statuses(after) == {"a": "cached"}
        return
    assert statuses(after) == {"a": "completed"}
    assert seen_of(before) != seen_of(after)
    assert explain(find_home(), after.state, "a", list_runs(find_home())).reason == change.said
    assert statuses(run(jobs)) == {"a": "cached"}


def seen_of(finished: Finished) -> str:
    """What the step ``a`` wrote."""
    return Path(finished.state.steps["a"].outputs["o"]).read_text()


def test_the_name_of_a_file_and_whether_it_is_executable(run: Run, project: Path) -> None:
    def see(name: str) -> Finished:
        rows = {"rows": {"type": "uri_file", "path": f"./{name}"}}
        show = "(basename '${{inputs.rows}}'; test -x '${{inputs.rows}}'; echo $?) > '${{outputs.o}}'"
        return run({"a": step(show, outputs=("o",), inputs=rows)})

    (project / "f.txt").write_text("a row\n")
    see("f.txt")
    (project / "f.txt").rename(project / "g.txt")
    renamed = see("g.txt")
    (project / "g.txt").chmod(0o755)
    executable = see("g.txt")
    assert [seen_of(each) for each in (renamed, executable)] == ["g.txt\n1\n", "g.txt\n0\n"]
    told = [explain(find_home(), each.state, "a", list_runs(find_home())).reason for each in (renamed, executable)]
    assert told == ["input rows: the file is called g.txt now", "input rows: it is executable now"]


def test_a_file_that_holds_the_hash_of_a_folder_is_no_folder(run: Run, project: Path) -> None:
    show = "(test -d '${{inputs.d}}' && echo folder || echo file) > '${{outputs.o}}'"

    def see(kind: str) -> Finished:
        return run({"a": step(show, outputs=("o",), inputs={"d": {"type": kind, "path": "./d"}})})

    (project / "d").mkdir()
    (project / "d" / "x").write_text("x")
    assert seen_of(see("uri_folder")) == "folder\n"
    (project / "d" / "x").unlink()
    (project / "d").rmdir()
    sha = hashlib.sha256(b"x").hexdigest()
    (project / "d").write_text(canonical([["x", sha]]))
    after = see("uri_file")
    assert seen_of(after) == "file\n"
    assert explain(find_home(), after.state, "a", list_runs(find_home())).reason == "input d: it is a file now"


def test_of_very_many_files_it_is_told_that_others_are_executable(run: Run, project: Path) -> None:
    (project / "d").mkdir()
    for number in range(101):
        (project / "d" / str(number)).write_text("")
        (project / "d" / str(number)).chmod(0o755)
    jobs = {"a": step("test -d '${{inputs.d}}'", inputs={"d": {"type": "uri_folder", "path": "./d"}})}
    run(jobs)
    (project / "d" / "0").unlink()
    (project / "d" / "0").write_text("")
    (project / "d" / "more").write_text("")
    (project / "d" / "more").chmod(0o755)
    changed = run(jobs)
    paths = [each.path for each in explain(find_home(), changed.state, "a", list_runs(find_home())).differences]
    assert paths == ["inputs/d", "inputs/d/executables"]
    assert statuses(run(jobs)) == {"a": "cached"}


def test_what_a_step_makes_counts_for_the_next_as_data_does(run: Run) -> None:
    """An empty folder, an executable file: of an output nobody but the next step sees them."""
    folder = {"outputs": {"d": {"type": "uri_folder"}}}
    show = "(cd '${{inputs.d}}'; find . -printf '%p %m %y\\n' | sort) > '${{outputs.o}}'"

    def see(more: str) -> Finished:
        make = step(f"cd '${{{{outputs.d}}}}'; echo x > f; {more}") | folder
        return run({"make": make, "a": step(show, outputs=("o",), inputs={"d": "${{parent.jobs.make.outputs.d}}"})})

    before, empty, executable = see("true"), see("mkdir dog"), see("chmod +x f")
    assert "dog" in seen_of(empty)
    assert "./f 555 f" in seen_of(executable)
    assert len({seen_of(each) for each in (before, empty, executable)}) == 3
