"""Runs have the order in which they were started, whatever the clock of the machine said."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from local_helpers import step

from azdistill.cli import cli
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.store.home import Home, find_home
from azdistill.local.store.runs import RunLog, list_runs, next_number, run_to_resume

Run = Callable[..., Finished]
YEAR = 365 * 86400.0


def moved(finished: Finished, seconds: float) -> str:
    """Let a run that has ended be one that was made while the clock was wrong by so many seconds."""
    path = finished.state.folder / "events.jsonl"
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    moved_entries = [entry | {"time": entry["time"] + seconds} for entry in entries]
    path.write_text("".join(json.dumps(entry) + "\n" for entry in moved_entries), encoding="utf-8")
    return finished.state.run_id


@pytest.mark.parametrize("seconds", [2 * YEAR, -3 * 86400.0], ids=["ahead", "behind"])
def test_a_run_that_was_made_while_the_clock_was_wrong_keeps_its_place(run: Run, seconds: float) -> None:
    first = run({"a": step("echo first")}).state.run_id
    wrong = moved(run({"a": step("echo wrong")}), seconds)
    last = run({"a": step("echo last")}).state.run_id
    home = find_home()
    assert [each.run_id for each in list_runs(home)] == [last, wrong, first]
    assert run_to_resume(home, "latest", "test").run_id == last
    listed = CliRunner().invoke(cli, ["runs", "--json"])
    assert [each["run_id"] for each in json.loads(listed.stdout)] == [last, wrong, first]
    assert "last" in CliRunner().invoke(cli, ["logs", "--run", "latest"]).stdout
    explained = CliRunner().invoke(cli, ["explain", "latest", "a", "--json"])
    assert json.loads(explained.stdout)["compared_with"] == wrong


def test_runs_of_earlier_versions_come_before_those_that_are_counted(run: Run) -> None:
    earlier = run({"a": step("true")}).state
    path = earlier.folder / "events.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    uncounted = [{name: value for name, value in line.items() if name != "number"} for line in lines]
    path.write_text("".join(json.dumps(e | {"time": e["time"] + YEAR}) + "\n" for e in uncounted), encoding="utf-8")
    later = run({"a": step("true")}).state
    assert [each.run_id for each in list_runs(find_home())] == [later.run_id, earlier.run_id]


def test_runs_that_start_at_once_have_an_order(tmp_path: Path) -> None:
    home, count = Home(tmp_path / "home").prepare(), 8
    together, numbers = threading.Barrier(count), list[int]()

    def start(name: str) -> None:
        together.wait()
        numbers.append(RunLog(home, "p", name).number)

    threads = [threading.Thread(target=start, args=(f"r{number}",)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, count + 1))


def test_a_count_that_is_lost_goes_on_from_the_runs(run: Run) -> None:
    for _ in range(2):
        run({"a": step("true")})
    home = find_home()
    for damage in (home.starts.unlink, lambda: home.starts.write_bytes(b"\0" * 21)):
        damage()
        assert next_number(home) == 3


def test_a_resumed_run_keeps_its_place(run: Run) -> None:
    first = run({"a": step("exit 1")}).state.run_id
    last = run({"a": step("echo last")}).state.run_id
    run({"a": step("true")}, options=Options(resume=first))
    assert [each.run_id for each in list_runs(find_home())] == [last, first]
