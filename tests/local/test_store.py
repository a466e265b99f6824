"""The event log: whatever is left of it after a kill, the run's state can be read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from azdistill import redact
from azdistill.errors import MachineError
from azdistill.local.store.events import Event
from azdistill.local.store.home import Home, find_home
from azdistill.local.store.runs import RunLog, is_alive, list_runs, load_run, own_mark, read_events


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The folder of a run of two steps that completed."""
    log = RunLog(Home(tmp_path).prepare(), "größer pipeline")
    about: Any = {"pipeline": "größer", "experiment": "e", "params": {"a": "1"}, "headline": ["two"]}
    log.append(Event.of("run_started", **about, steps=["one", "two"], runner="1 0"))
    for name in ("one", "two"):
        log.append(Event.of("step_started", step=name, attempt=1, log="/log.txt"))
        log.append(
            Event.of("step_ended", step=name, status="completed", seconds=1.5, outputs={"x": "/x"}, metrics={"m": 0.5})
        )
    log.append(Event.of("run_ended", status="completed", seconds=3.0, outputs={"x": "/x"}, error=""))
    log.close()
    return log.folder


def test_the_state_is_the_fold_of_the_events(finished: Path) -> None:
    run = load_run(finished)
    assert (run.status, run.seconds, run.params) == ("completed", 3.0, {"a": "1"})
    assert {name: step.status for name, step in run.steps.items()} == {"one": "completed", "two": "completed"}
    assert run.metrics == {"m": 0.5}


def test_a_log_cut_at_any_byte_still_loads(finished: Path) -> None:
    path = finished / "events.jsonl"
    whole = path.read_bytes()
    complete = read_events(path)
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        events = read_events(path)
        assert events == complete[: whole[:length].count(b"\n")]
        run = load_run(finished)
        assert run.status == "lost"
        assert all(step.status in ("pending", "completed", "canceled") for step in run.steps.values())


def test_what_follows_a_broken_line_is_not_believed(finished: Path) -> None:
    path = finished / "events.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b'{"event": "step_en\n' + b"".join(lines[1:]))
    assert len(read_events(path)) == 1


def test_runs_are_listed_newest_first(tmp_path: Path) -> None:
    home = Home(tmp_path).prepare()
    made = []
    for number in range(3):
        log = RunLog(home, f"p{number}")
        log.append(
            Event.of("run_started", pipeline="p", experiment="e", params={}, steps=[], headline=[], runner=own_mark())
        )
        log.close()
        made.append(log.run_id)
    assert [run.run_id for run in list_runs(home)] == made[::-1]


def test_a_run_whose_runner_lives_is_running(tmp_path: Path) -> None:
    log = RunLog(Home(tmp_path).prepare(), "p")
    log.append(
        Event.of("run_started", pipeline="p", experiment="e", params={}, steps=["a"], headline=[], runner=own_mark())
    )
    assert load_run(log.folder).status == "running"


@pytest.mark.parametrize("mark", ["", "nothing", "999999999 12", "{pid} 1"])
def test_a_mark_of_another_process_is_not_alive(mark: str) -> None:
    assert not is_alive(mark.format(pid=os.getpid()))


def test_no_secret_reaches_the_log_not_even_one_that_json_spells_differently(tmp_path: Path) -> None:
    secret = 'pass"word\\ü'
    redact.register(secret)
    log = RunLog(Home(tmp_path).prepare(), "p")
    log.append(Event.of("step_ended", step="a", status="failed", error=f"refused: {secret}"))
    text = (log.folder / "events.jsonl").read_text(encoding="utf-8")
    assert secret not in json.loads(text)["error"]
    assert json.loads(text)["error"] == "refused: ***"


def test_a_damaged_log_hides_no_other_run(project: Path) -> None:
    home = find_home().prepare()
    log = RunLog(home, "whole")
    log.append(Event.of("run_started", pipeline="whole", experiment="e", params={}, steps=[], headline=[]))
    log.close()
    for number, text in enumerate(('{"event": "run_started"}', '{"event": "step_started", "step": []}', "")):
        folder = home.runs / f"damaged{number}"
        folder.mkdir()
        (folder / "events.jsonl").write_text(f"{text}\n")
    assert [run.run_id for run in list_runs(home)] == [log.run_id]


def test_a_state_folder_that_is_a_file_is_an_error_of_this_machine(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "state").write_text("x")
    monkeypatch.setenv("AZDISTILL_HOME", "state")
    with pytest.raises(MachineError, match="cannot write the state folder"):
        find_home().prepare()
