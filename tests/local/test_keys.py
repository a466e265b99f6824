"""The cache: what makes a step run again, and what does not."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from local_helpers import log_of, no_cache, statuses, step, write_pipeline

from azdistill import aml
from azdistill.local.cache.entries import Cache
from azdistill.local.cache.explain import explain
from azdistill.local.cache.hashes import Hashes
from azdistill.local.pipeline_run import Finished, Options, run_pipeline
from azdistill.local.store.home import find_home
from azdistill.local.store.runs import list_runs

Run = Callable[..., Finished]

COMPONENT: dict[str, Any] = {
    "type": "command",
    "name": "copy",
    "version": "1",
    "inputs": {
        "rows": {"type": "uri_file"},
        "word": {"type": "string"},
        "endpoint": {"type": "string", "default": "http://127.0.0.1:1"},
    },
    "outputs": {"made": {"type": "uri_file"}},
    "code": "./code",
    "environment": {"image": "python:3.11", "conda_file": "./conda.yml"},
    "tags": {"azdistill.cache_ignore": "endpoint, nothing"},
    "command": "cat '${{inputs.rows}}' main.py > '${{outputs.made}}'; echo '${{inputs.word}}' '${{inputs.endpoint}}'",
}


@pytest.fixture
def cached(project: Path, run: Run) -> Callable[..., str]:
    """Runs the project's one step again and gives its status; the first time it has just completed."""
    (project / "code").mkdir()
    (project / "code" / "main.py").write_text("print()\n")
    (project / "conda.yml").write_text("dependencies: [python]\n")
    (project / "rows.jsonl").write_text("{}\n")
    (project / "copy.yml").write_text(yaml.safe_dump(COMPONENT))
    inputs = {"rows": {"type": "uri_file", "path": "./rows.jsonl"}, "word": "hello"}

    def status(**changed: Any) -> str:
        bound = {"rows": "${{parent.inputs.rows}}", "word": "${{parent.inputs.word}}", **changed.pop("bound", {})}
        options = changed.pop("options", Options())
        jobs = {"copy": {"type": "command", "component": "./copy.yml", "inputs": bound, **changed.pop("node", {})}}
        return statuses(run(jobs, inputs=inputs | changed.pop("inputs", {}), options=options, **changed))["copy"]

    assert status() == "completed"
    return status


def component(project: Path, **changes: Any) -> None:
    """Write the component's YAML with changes."""
    (project / "copy.yml").write_text(yaml.safe_dump(COMPONENT | changes))


def test_an_unchanged_step_is_not_run_again(cached: Callable[..., str]) -> None:
    assert cached() == "cached"


def test_a_touched_file_is_no_change(cached: Callable[..., str], project: Path) -> None:
    for path in (project / "rows.jsonl", project / "code" / "main.py", project / "copy.yml"):
        os.utime(path, ns=(1, 1))
    assert cached() == "cached"


def test_code_that_becomes_executable_is_a_change_that_is_named(cached: Callable[..., str], project: Path) -> None:
    (project / "code" / "main.py").chmod(0o755)
    assert [cached(), cached()] == ["completed", "cached"]
    home, runs = find_home(), list_runs(find_home())
    told = explain(home, runs[1], "copy", runs)
    assert told.reason == "code: main.py is executable now"
    (project / "code" / "main.py").chmod(0o600)
    assert cached() == "cached"


def test_a_moved_file_is_no_change(cached: Callable[..., str], project: Path) -> None:
    (project / "elsewhere").mkdir()
    shutil.copy(project / "rows.jsonl", project / "elsewhere" / "rows.jsonl")
    assert cached(inputs={"rows": {"type": "uri_file", "path": "./elsewhere/rows.jsonl"}}) == "cached"


def test_names_and_descriptions_are_no_change(cached: Callable[..., str], project: Path) -> None:
    component(project, name="other", version="2", description="the same", display_name="Copy")
    assert cached(node={"display_name": "x"}, experiment_name="other") == "cached"


def test_what_is_ignored_is_no_change(cached: Callable[..., str], project: Path) -> None:
    (project / "code" / "__pycache__").mkdir()
    (project / "code" / "__pycache__" / "main.pyc").write_bytes(b"x")
    assert cached(bound={"endpoint": "http://127.0.0.1:2"}) == "cached"


def test_changed_data_is_a_change(cached: Callable[..., str], project: Path) -> None:
    (project / "rows.jsonl").write_text("[]\n")
    assert cached() == "completed"


def test_another_extension_is_a_change(cached: Callable[..., str], project: Path) -> None:
    shutil.copy(project / "rows.jsonl", project / "rows.csv")
    assert cached(inputs={"rows": {"type": "uri_file", "path": "./rows.csv"}}) == "completed"


def test_changed_code_is_a_change(cached: Callable[..., str], project: Path) -> None:
    (project / "code" / "main.py").write_text("print(1)\n")
    assert cached() == "completed"


def test_a_new_file_of_code_is_a_change(cached: Callable[..., str], project: Path) -> None:
    (project / "code" / "new.py").write_text("")
    assert cached() == "completed"


def test_a_changed_literal_is_a_change(cached: Callable[..., str]) -> None:
    assert cached(inputs={"word": "other"}) == "completed"


def test_a_changed_command_is_a_change(cached: Callable[..., str], project: Path) -> None:
    component(project, command=COMPONENT["command"] + "; true")
    assert cached() == "completed"


def test_a_changed_conda_file_is_a_change(cached: Callable[..., str], project: Path) -> None:
    (project / "conda.yml").write_text("dependencies: [python, numpy]\n")
    assert cached() == "completed"


def test_another_image_is_a_change(cached: Callable[..., str], project: Path) -> None:
    component(project, environment={"image": "python:3.12", "conda_file": "./conda.yml"})
    assert cached() == "completed"


def test_a_variable_of_the_node_is_a_change(cached: Callable[..., str]) -> None:
    assert cached(node={"environment_variables": {"X": "1"}}) == "completed"
    assert cached(node={"environment_variables": {"X": "1"}}) == "cached"
    assert cached(node={"environment_variables": {"X": "2"}}) == "completed"


def test_an_installed_package_is_a_change(cached: Callable[..., str], project: Path) -> None:
    for memory in (project / ".azdistill" / "interpreters").iterdir():
        stored = json.loads(memory.read_text())
        stored["probe"]["distributions"].append("something==1.0")
        memory.write_text(json.dumps(stored))
    assert cached() == "completed"


def test_the_cache_can_be_turned_off(cached: Callable[..., str], project: Path) -> None:
    assert cached(options=no_cache) == "completed"
    assert cached(settings={"force_rerun": True}) == "completed"
    component(project, is_deterministic=False)
    assert [cached(), cached()] == ["completed", "completed"]


def test_an_upstream_change_that_changes_no_output_stops_there(run: Run) -> None:
    def jobs(command: str) -> dict[str, Any]:
        use = step(
            "cat '${{inputs.x}}' > '${{outputs.y}}'", outputs=("y",), inputs={"x": "${{parent.jobs.make.outputs.x}}"}
        )
        return {"make": step(command, outputs=("x",)), "use": use}

    run(jobs("echo 1 > '${{outputs.x}}'"))
    again = run(jobs("true; echo 1 > '${{outputs.x}}'"))
    assert statuses(again) == {"make": "completed", "use": "cached"}
    other = run(jobs("echo 2 > '${{outputs.x}}'"))
    assert statuses(other) == {"make": "completed", "use": "completed"}


@pytest.mark.parametrize("damage", ["size", "content", "in its old time", "missing", "extra", "manifest"])
def test_a_damaged_entry_is_a_miss_and_is_made_anew(run: Run, damage: str) -> None:
    jobs = {
        "a": step("mkdir '${{outputs.x}}/in'; echo 1 > '${{outputs.x}}/in/f'")
        | {"outputs": {"x": {"type": "uri_folder"}}}
    }
    made = Path(run(jobs).state.steps["a"].outputs["x"])
    for path in (made, made / "in", made / "in" / "f"):
        path.chmod(0o755)
    if damage == "manifest":
        (made.parents[1] / "manifest.json").write_text("{")
    elif damage == "missing":
        (made / "in" / "f").unlink()
    elif damage == "extra":
        (made / "in" / "g").write_text("")
    else:
        before = (made / "in" / "f").stat().st_mtime_ns
        (made / "in" / "f").write_text("22\n" if damage == "size" else "2\n")
        if damage == "in its old time":
            os.utime(made / "in" / "f", ns=(before, before))
    assert statuses(run(jobs)) == {"a": "completed"}
    assert (made / "in" / "f").read_text() == "1\n"
    assert statuses(run(jobs)) == {"a": "cached"}


def test_what_is_cached_is_not_read_again(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"x": {"type": "uri_file"}, "y": {"type": "uri_folder"}}
    jobs = {"a": step("echo 1 | tee '${{outputs.x}}' > '${{outputs.y}}/f'") | {"outputs": made}}
    run(jobs)
    known = Hashes.file
    read: list[Path] = []
    monkeypatch.setattr(Hashes, "file", lambda self, path: read.append(path) or known(self, path))
    assert (statuses(run(jobs)), read) == ({"a": "cached"}, [])


def test_a_manifest_of_an_earlier_version_holds_for_what_it_says(run: Run) -> None:
    jobs = {"a": step("echo 1 > '${{outputs.x}}'", outputs=("x",))}
    made = Path(run(jobs).state.steps["a"].outputs["x"])
    manifest = made.parents[1] / "manifest.json"
    stored = json.loads(manifest.read_text())
    stored["outputs"]["x"][""] = stored["outputs"]["x"][""][:3]
    manifest.write_text(json.dumps(stored))
    assert statuses(run(jobs)) == {"a": "cached"}


def test_cached_outputs_are_read_only(run: Run) -> None:
    made = Path(run({"a": step("echo 1 > '${{outputs.x}}'", outputs=("x",))}).state.steps["a"].outputs["x"])
    assert made.stat().st_mode & 0o222 == 0
    assert made.parent.stat().st_mode & 0o222 == 0


def test_a_step_that_writes_into_its_input_is_not_cached_and_the_entry_is_made_anew(run: Run) -> None:
    def jobs(after: str) -> dict[str, Any]:
        given = {"x": "${{parent.jobs.make.outputs.x}}"}
        return {"make": step("echo 1 > '${{outputs.x}}'", outputs=("x",)), "use": step(after, inputs=given)}

    # As root a file without write permission can be written; as anybody else it can be made writable first.
    finished = run(jobs("chmod u+w '${{inputs.x}}'; echo 2 >> '${{inputs.x}}'"))
    assert statuses(finished) == {"make": "completed", "use": "completed"}
    assert "its result is of this run only, not cached" in log_of(finished, "use")
    again = run(jobs("cat '${{inputs.x}}'"))
    assert statuses(again) == {"make": "completed", "use": "completed"}
    assert Path(again.state.steps["make"].outputs["x"]).read_text() == "1\n"


def test_links_among_the_outputs_become_copies(run: Run, project: Path) -> None:
    (project / "outside").write_text("outside\n")
    command = f"cd '${{{{outputs.x}}}}'; echo 1 > f; ln -s f inner; ln -s '{project}/outside' outer"
    made = Path(run({"a": step(command) | {"outputs": {"x": {"type": "uri_folder"}}}}).state.steps["a"].outputs["x"])
    assert [(made / name).read_text() for name in ("f", "inner", "outer")] == ["1\n", "1\n", "outside\n"]
    assert not any(path.is_symlink() for path in made.iterdir())


def test_two_runs_at_once_share_one_cache_unharmed(project: Path) -> None:
    jobs = {
        f"s{number}": step(f"sleep 0.1; echo {number} > '${{{{outputs.x}}}}'", outputs=("x",)) for number in range(4)
    }
    pipeline = aml.load_pipeline(write_pipeline(project / "pipeline.yml", jobs))
    finished: list[Finished] = []
    threads = [
        threading.Thread(target=lambda: finished.append(run_pipeline(pipeline, replace(Options(), jobs=4))))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(finished) == 3
    for each in finished:
        assert {name: Path(s.outputs["x"]).read_text() for name, s in each.state.steps.items()} == {
            f"s{number}": f"{number}\n" for number in range(4)
        }
    assert statuses(run_pipeline(pipeline, Options())) == dict.fromkeys(jobs, "cached")
    assert list((project / ".azdistill" / "cache" / "tmp").iterdir()) == []


def test_what_a_dead_run_left_half_built_is_removed(project: Path) -> None:
    home = find_home().prepare()
    left = home.cache / "tmp" / "999999999-12-abcd1234"
    left.mkdir()
    Cache(home)
    assert not left.exists()
