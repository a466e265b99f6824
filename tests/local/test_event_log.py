"""The event log of a real run: whatever is left of it is read, believed as far as it can be, and gone on with."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from local_helpers import step

from azdistill.errors import UserError
from azdistill.local.pipeline_run import Finished
from azdistill.local.store.events import Event
from azdistill.local.store.home import Home, find_home
from azdistill.local.store.runs import EventLog, RunLog, list_runs, load_run, own_mark, read_events

Run = Callable[..., Finished]
STATUSES = {"pending", "running", "completed", "failed", "skipped", "canceled"}


@pytest.fixture
def events(run: Run) -> Path:
    """The log of a run with a metric, a failure, and what that keeps from starting."""
    said = '{"kind": "metric", "name": "größe", "value": 0.5, "step": 0, "timestamp": 1}'
    finished = run(
        {
            "good": step(f"echo x > '${{{{outputs.o}}}}'; echo '{said}' > \"$AZDISTILL_METRICS_FILE\"", outputs=("o",)),
            "bad": step("exit 3"),
            "after": step("true", inputs={"x": "${{parent.jobs.good.outputs.o}}"}),
            "never": step("cat '${{inputs.x}}'; exit 3", inputs={"x": "${{parent.jobs.good.outputs.o}}"}),
        },
        inputs={"name": "漢字 \u2028 ü"},
        settings={"continue_on_step_failure": True},
    )
    log = finished.state.folder / "events.jsonl"
    # As if another process had written it, and were gone.
    log.write_bytes(log.read_bytes().replace(own_mark().encode(), b"1 0"))
    assert log.stat().st_size > 1500
    return log


@pytest.mark.slow
def test_a_log_that_ends_at_any_byte_is_read_and_gone_on_with(events: Path) -> None:
    whole, complete, home = events.read_bytes(), read_events(events), find_home()
    for length in range(len(whole) + 1):
        events.write_bytes(whole[:length])
        left = complete[: whole[:length].count(b"\n")]
        found = load_run(events.parent)
        assert read_events(events) == left
        assert found.status == ("failed" if length == len(whole) else "lost")
        assert {state.status for state in found.steps.values()} <= STATUSES - {"running"}
        assert [run.run_id for run in list_runs(home)] == ([found.run_id] if left else [])
        log = RunLog(home, "", events.parent.name, again=True)
        assert log.state.steps.keys() == found.steps.keys()
        log.append(Event.of("step_started", step="good", attempt=2, log="/l", key=None))
        assert [*left, *read_events(events)[-1:]] == read_events(events)
        assert load_run(events.parent).steps["good"].attempts == 2
        log._log.close()


def test_the_ends_of_steps_are_believed_only_when_they_are_whole(events: Path) -> None:
    whole = events.read_bytes()
    for name in ("good", "bad", "after", "never"):
        mark = f'"step": "{name}", "status"'.encode()
        end = next(line for line in whole.split(b"\n") if mark in line)
        at = whole.index(end) + len(end)
        events.write_bytes(whole[:at])
        assert load_run(events.parent).steps[name].status in ("canceled", "pending")
        events.write_bytes(whole[: at + 1])
        assert load_run(events.parent).steps[name].status in ("completed", "failed")


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\0" * 4096,
        b"\xff\xfe\x00",
        b"{",
        b"[]",
        b'"event"',
        b'{"event": 5}',
        b'{"event": "run_ended", "status": "completed", "seconds": 1}',
        b'{"event": "run_started", "time": "x", "pipeline": "", "experiment": "", "params": {}, "headline": []}',
        b'{"event": "step_ended", "step": "bad", "status": "completed", "metrics": []}',
        b'{"event": "step_started", "step": [], "time": 1, "attempt": 1, "log": "l"}',
        b"[" * 100_000,
    ],
    ids=lambda garbage: garbage[:40].decode("latin-1"),
)
def test_what_follows_a_line_that_is_no_event_is_not_believed(events: Path, garbage: bytes) -> None:
    lines = events.read_bytes().splitlines(keepends=True)
    for place in range(len(lines) + 1):
        damaged = b"".join(lines[:place]) + garbage + b"\n" + b"".join(lines[place:])
        events.write_bytes(damaged)
        assert len(read_events(events)) == place
        assert load_run(events.parent).status == ("failed" if place == len(lines) else "lost")
        EventLog(events).close()
        assert events.read_bytes() == b"".join(lines[:place])
        assert events.with_suffix(".damaged").read_bytes() == damaged


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_an_event_with_any_other_value_in_it_is_read(tmp_path: Path, data: st.DataObject) -> None:
    whole: list[dict[str, Any]] = [
        {
            **{"event": "run_started", "time": 1.0, "pipeline": "p", "experiment": "e", "params": {}, "runner": "1 1"},
            **{"steps": ["a"], "headline": ["a"]},
        },
        {"event": "step_started", "time": 1.0, "step": "a", "attempt": 1, "log": "/l"},
        {"event": "step_ended", "time": 1.0, "step": "a", "status": "failed", "exit_code": 1, "metrics": {"m": 1.0}},
        {"event": "run_ended", "time": 1.0, "status": "failed", "seconds": 1.0, "outputs": {}, "error": ""},
    ]
    event = data.draw(st.sampled_from(whole))
    key = data.draw(st.sampled_from(sorted(event)))
    event[key] = data.draw(json_values)
    folder = tmp_path / "r"
    folder.mkdir(exist_ok=True)
    (folder / "events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in whole))
    assert load_run(folder).run_id == "r"


def started(tmp_path: Path) -> tuple[Home, RunLog]:
    home = Home(tmp_path).prepare()
    log = RunLog(home, "p")
    log.append(
        Event.of("run_started", pipeline="p", experiment="e", params={}, steps=["a"], headline=[], runner=own_mark())
    )
    return home, log


def test_two_writers_are_refused(tmp_path: Path) -> None:
    home, log = started(tmp_path)
    before = (log.folder / "events.jsonl").read_bytes()
    with pytest.raises(UserError, match=f"the run '{log.run_id}' is going on") as caught:
        RunLog(home, "p", log.run_id, again=True)
    assert caught.value.code == "AZD312"
    with pytest.raises(UserError, match="there is a run") as caught:
        RunLog(home, "p", log.run_id)
    assert caught.value.code == "AZD311"
    assert (log.folder / "events.jsonl").read_bytes() == before
    log.close()
    RunLog(home, "p", log.run_id, again=True).close()


_WRITER = """
import sys
from pathlib import Path
from azdistill.local.store.runs import EventLog
log = EventLog(Path(sys.argv[1]))
print("writing", flush=True)
sys.stdin.read()
"""


def test_a_writer_that_was_killed_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == b"writing\n"
        with pytest.raises(UserError, match="is going on"):
            EventLog(path)
        writer.kill()
    EventLog(path).close()


@pytest.mark.parametrize("taken", [0, 1, 17])
def test_a_line_that_a_full_disk_cuts_short_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: int
) -> None:
    _, log = started(tmp_path)
    path = log.folder / "events.jsonl"
    before, write = path.read_bytes(), os.write

    def full(file: int, data: bytes) -> int:
        if taken and len(data) > taken and path.stat().st_size == len(before):
            return write(file, bytes(data)[:taken])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(OSError, match="No space left"):
            log.append(Event.of("step_started", step="a", attempt=1, log="/l"))
    assert path.read_bytes() == before
    assert log.state.steps["a"].status == "pending"
    log.append(Event.of("step_ended", step="a", status="failed", error="No space left on device"))
    assert load_run(log.folder).steps["a"].status == "failed"


def test_an_event_that_comes_after_the_end_is_written_into_no_other_file(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl")
    log.close()
    with open(tmp_path / "another.txt", "wb") as another:
        with pytest.raises(OSError, match="Bad file descriptor"):
            log.write(b"{}\n", durable=False)
        with pytest.raises(OSError, match="Bad file descriptor"):
            log.close()
        another.write(b"its own")
    assert (tmp_path / "another.txt").read_bytes() == b"its own"
