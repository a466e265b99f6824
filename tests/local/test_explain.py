"""What `explain` names, and what `cache gc` takes away."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from local_helpers import hands_on, no_cache, statuses, step, write_pipeline

from azdistill.cli import cli
from azdistill.local.cache.entries import USED
from azdistill.local.cache.explain import explain
from azdistill.local.cache.gc import EntryUse, entries_to_remove, held_entries
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.store import runs
from azdistill.local.store.durable_files import remove_tree
from azdistill.local.store.home import find_home
from azdistill.local.store.runs import list_runs

Run = Callable[..., Finished]

COMPONENT: dict[str, Any] = {
    "type": "command",
    "name": "copy",
    "version": "1",
    "inputs": {"rows": {"type": "uri_file"}, "word": {"type": "string", "default": "hello"}},
    "outputs": {"made": {"type": "uri_file"}},
    "code": "./code",
    "environment": {"image": "python:3.11"},
    "command": "cat '${{inputs.rows}}' > '${{outputs.made}}'; echo '${{inputs.word}}'",
}


@pytest.fixture
def again(project: Path, run: Run) -> Callable[..., Finished]:
    """Runs the project's one step, which has run once before."""
    (project / "code").mkdir()
    (project / "code" / "main.py").write_text("print()\n")
    (project / "rows.jsonl").write_text("{}\n")
    (project / "copy.yml").write_text(yaml.safe_dump(COMPONENT))
    inputs = {"rows": {"type": "uri_file", "path": "./rows.jsonl"}}
    node: dict[str, Any] = {
        "type": "command",
        "component": "./copy.yml",
        "inputs": {"rows": "${{parent.inputs.rows}}"},
    }

    def start(**more: Any) -> Finished:
        return run({"copy": node | more.pop("node", {})}, inputs=inputs, **more)

    assert statuses(start())["copy"] == "completed"
    return start


def explained(finished: Finished, name: str = "copy") -> tuple[str, list[str]]:
    found = explain(find_home(), finished.state, name, list_runs(find_home()))
    return found.reason, [difference.path for difference in found.differences]


def test_a_reused_step_says_since_when_nothing_changed(again: Callable[..., Finished]) -> None:
    reason, paths = explained(again())
    assert reason.startswith("reused: nothing it depends on has changed since test_")
    assert paths == []


def test_the_file_of_code_that_changed_is_named(again: Callable[..., Finished], project: Path) -> None:
    (project / "code" / "main.py").write_text("print(1)\n")
    (project / "code" / "more.py").write_text("\n")
    assert explained(again()) == ("code/main.py is not what it was", ["code/main.py", "code/more.py"])


def test_an_input_by_content_and_by_value(again: Callable[..., Finished], project: Path) -> None:
    (project / "rows.jsonl").write_text('{"a": 1}\n')
    assert explained(again()) == ("inputs/rows is not what it was", ["inputs/rows"])
    word = {"inputs": {"rows": "${{parent.inputs.rows}}", "word": "bye"}}
    finished = again(node=word)
    found = explain(find_home(), finished.state, "copy", list_runs(find_home())).differences
    assert [(d.path, d.before, d.after) for d in found] == [("inputs/word", "hello", "bye")]


def test_a_variable_and_the_command(again: Callable[..., Finished], project: Path) -> None:
    assert explained(again(node={"environment_variables": {"A": "1"}}))[1] == ["environment_variables/A"]
    component = COMPONENT | {"command": COMPONENT["command"] + " "}
    (project / "copy.yml").write_text(yaml.safe_dump(component))
    # Compared with the run before, which had the variable: what people change on purpose comes first.
    assert explained(again()) == ("command is not what it was", ["command", "environment_variables/A"])


def test_a_step_that_failed_is_explained_against(run: Run) -> None:
    jobs = {"a": step("exit 3")}
    run(jobs)
    finished = run(jobs)
    assert explained(finished, "a")[0].startswith("nothing it depends on has changed, but it did not succeed in test_")


def test_that_a_hidden_value_changed_is_said_without_showing_it(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use = {"command": "echo > ${{outputs.o}}", "inputs": {"v": {"type": "string"}}}
    pipeline = hands_on(project, use | {"outputs": {"o": {"type": "uri_file"}}}, is_deterministic=False)
    monkeypatch.setenv("MY_KEY", "the-first-secret")
    run(pipeline)
    monkeypatch.setenv("MY_KEY", "another-secret")
    assert explained(run(pipeline), "b") == ("a secret that it is handed is not what it was", [])


def test_steps_that_never_had_a_key(run: Run, again: Callable[..., Finished]) -> None:
    assert explained(again(options=no_cache))[0].startswith("it runs every time")
    failed = run(
        {"a": step("exit 3"), "b": step("true", inputs={"x": "${{parent.jobs.a.outputs.o}}"})}
        | {"a": step("exit 3", outputs=("o",))}
    )
    assert explained(failed, "b")[0] == "it did not run: step 'a' failed"
    assert explained(failed, "a")[0] == "it had not run before"


@pytest.mark.parametrize("options", [Options(), Options(resume="latest")])
def test_a_step_that_failed_before_it_was_started_says_why(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch, options: Options
) -> None:
    monkeypatch.setenv("MY_KEY", "some-secret")
    use = {"command": "exit 3", "inputs": {"v": {"type": "string"}}}
    assert explained(run(hands_on(project, use)), "b")[0] == "it had not run before"
    use["inputs"] = {"v": {"type": "string", "enum": ["q", "r"]}}
    told = "it failed before it was started: step 'b': input 'v' is given what step 'a' wrote as 'v': it is '***Z', "
    assert explained(run(hands_on(project, use), options=options), "b")[0] == f"{told}which is not allowed"


def test_a_result_that_was_collected_is_missed(again: Callable[..., Finished], project: Path) -> None:
    long_ago = time.time() - 90 * 86400
    for entry in held_entries(find_home()):
        os.utime(entry.folder / USED, (long_ago, long_ago)) if (entry.folder / USED).exists() else os.utime(
            entry.folder, (long_ago, long_ago)
        )
    done = CliRunner().invoke(cli, ["cache", "gc", "--older-than", "30d"])
    assert "removed 1 results" in done.output
    assert held_entries(find_home()) == []
    finished = again()
    assert statuses(finished) == {"copy": "completed"}
    assert explained(finished)[0] == ("nothing it depends on has changed, but what it had made is not kept any more")


def test_the_verbs_print_what_they_found(again: Callable[..., Finished], project: Path) -> None:
    (project / "code" / "main.py").write_text("print(1)\n")
    again()
    plain = CliRunner().invoke(cli, ["explain", "latest", "copy"])
    assert plain.exit_code == 0
    assert "code/main.py is not what it was" in plain.output
    assert "sha256 " in plain.output
    as_json = json.loads(CliRunner().invoke(cli, ["explain", "latest", "copy", "--json"]).output)
    assert as_json["differences"][0]["field"] == "code/main.py"
    listed = json.loads(CliRunner().invoke(cli, ["cache", "ls", "--json"]).output)
    assert [entry["step"] for entry in listed] == ["copy", "copy"]
    assert "2 results, " in CliRunner().invoke(cli, ["cache", "ls"]).output


def test_without_a_step_there_is_a_line_for_each(run: Run) -> None:
    jobs = {"a": step("echo > ${{outputs.o}}", outputs=("o",)), "b": step("exit 3")}
    run(jobs)
    run(jobs)
    told = CliRunner().invoke(cli, ["explain", "latest"])
    first, second = told.output.splitlines()
    assert first.startswith("a: cached: reused: nothing it depends on has changed since test_")
    assert second.startswith("b: failed: nothing it depends on has changed, but it did not succeed in test_")
    found = json.loads(CliRunner().invoke(cli, ["explain", "latest", "--json"]).output)
    assert [(each["step"], each["status"]) for each in found] == [("a", "cached"), ("b", "failed")]


def test_explaining_reads_only(run: Run, project: Path) -> None:
    jobs = {"a": step("echo > ${{outputs.o}}", outputs=("o",))}
    run(jobs)
    run(jobs)
    (entry,) = held_entries(find_home())
    used = (entry.folder / USED).stat().st_mtime_ns
    assert CliRunner().invoke(cli, ["explain", "latest"]).exit_code == 0
    assert (entry.folder / USED).stat().st_mtime_ns == used
    remove_tree(find_home().cache)
    told = CliRunner().invoke(cli, ["explain", "latest"])
    assert told.output == "a: cached: reused: nothing it depends on has changed since an earlier run\n"
    assert not find_home().cache.exists()


def test_the_runs_are_read_once_however_many_steps_there_are(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run({name: step("exit 3") for name in "abc"})
    read: list[Path] = []
    load = runs.load_run
    monkeypatch.setattr(runs, "load_run", lambda folder: read.append(folder) or load(folder))
    found = CliRunner().invoke(cli, ["explain", "latest"])
    assert len(found.output.splitlines()) == 3
    # Once to find the run that is meant, once to see what was before it.
    assert len(read) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explain", "latest", "cpoy"], "did you mean 'copy'"),
        (["cache", "gc"], "say what may go"),
        (["cache", "gc", "--older-than", "soon"], "such as 30d, not 'soon'"),
        (["cache", "gc", "--max-size", "-1GB"], "such as 20GB, not '-1GB'"),
    ],
)
def test_what_cannot_be_answered(again: Callable[..., Finished], arguments: list[str], said: str) -> None:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code != 0
    assert said in str(done.exception)


def entry(key: str, size: int, age: float, in_use: bool = False) -> EntryUse:
    return EntryUse(key, Path(key), "s", "r", 1.0, size, 1e6 - age, in_use)


def test_what_goes_is_what_is_old_or_does_not_fit() -> None:
    day = 86400.0
    entries = [
        entry("new", 60, 2 * day),
        entry("big", 50, 3 * day),
        entry("old", 30, 9 * day),
        entry("last", 1, 10 * day),
    ]
    chosen = [found.key for found in entries_to_remove(entries, 8 * day, None, 1e6)]
    assert chosen == ["old", "last"]
    assert [found.key for found in entries_to_remove(entries, None, 100, 1e6)] == ["big"]
    assert [found.key for found in entries_to_remove(entries, None, 0, 1e6)] == ["new", "big", "old", "last"]


def test_what_is_in_use_or_was_just_used_stays() -> None:
    day = 86400.0
    entries = [entry("fresh", 1, 60), entry("busy", 1, 9 * day, in_use=True)]
    assert entries_to_remove(entries, 0, 0, 1e6) == []


def test_entries_of_a_running_run_are_in_use(project: Path, run: Run) -> None:
    finished = run(write_pipeline(project / "p.yml", {"a": step("echo x > ${{outputs.o}}", outputs=("o",))}))
    log = finished.state.folder / "events.jsonl"
    from azdistill.local.store.runs import own_mark

    events = [json.loads(line) for line in log.read_text().splitlines()]
    events[0]["runner"] = own_mark()
    log.write_text("".join(json.dumps(event) + "\n" for event in events[:-1]))
    assert [found.in_use for found in held_entries(find_home())] == [True]
    assert replace(held_entries(find_home())[0], in_use=False).step == "a"
