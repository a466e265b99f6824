"""Equal steps of runs at the same time are executed once: who waits, who takes over, who runs its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from azdistill.local.cache.entries import Flights
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.run.listener import Listener
from azdistill.local.store.events import Event, RunState

Run = Callable[..., Finished]


class Steps(Listener):
    """What was heard of steps; ``waiting`` is set once one waits."""

    def __init__(self) -> None:
        self.kinds: list[str] = []
        self.waiting = threading.Event()

    def hear(self, event: Event, _: RunState) -> None:
        self.kinds += [event.kind] if event.kind.startswith("step_") else []
        if event.kind == "step_waiting":
            self.waiting.set()


def counting(folder: Path, ending: str = "") -> dict[str, Any]:
    """A step that notes outside that it was executed, waits for the file ``go``, and writes its output."""
    command = (
        f"echo x >> '{folder}/count'; until test -e '{folder}/go'; do sleep 0.02; done; "
        f"echo made > '${{{{outputs.o}}}}'{ending}"
    )
    return {
        "type": "command",
        "outputs": {"o": {"type": "uri_file"}},
        "command": command,
        "environment": "azureml:e@latest",
    }


def counted(folder: Path) -> int:
    return len((folder / "count").read_text().split()) if (folder / "count").exists() else 0


def pipeline(project: Path, step: dict[str, Any], **settings: Any) -> Path:
    path = project / "pipeline.yml"
    path.write_text(yaml.safe_dump({"type": "pipeline", "jobs": {"a": step}, "settings": settings}))
    return path


def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def runners(project: Path, run: Run) -> Iterator[Callable[..., Any]]:
    """Starts runs of one pipeline file in threads of their own."""
    with ThreadPoolExecutor(8) as pool:
        yield lambda path, listener, **options: pool.submit(run, path, listeners=[listener], options=Options(**options))
        # A test that failed leaves runs that wait for it.
        (project / "go").touch()


def one_and_three_who_wait(project: Path, runners: Any, jobs: Path, first: Steps) -> tuple[list[Any], list[Steps]]:
    """Runs of one pipeline: one executes the step until now, and three have waited for it."""
    begun = [runners(jobs, first)]
    until(lambda: counted(project) == 1)
    others = [Steps() for _ in range(3)]
    begun += [runners(jobs, other) for other in others]
    for other in others:
        assert other.waiting.wait(60), [future.exception() for future in begun if future.done()]
    (project / "go").touch()
    return begun, others


def test_equal_steps_of_runs_at_the_same_time_are_executed_once(project: Path, runners: Any) -> None:
    first, jobs = Steps(), pipeline(project, counting(project))
    begun, others = one_and_three_who_wait(project, runners, jobs, first)
    assert [future.result(60).state.status for future in begun] == ["completed"] * 4
    assert counted(project) == 1
    assert first.kinds == ["step_reading", "step_started", "step_ended"]
    assert all(other.kinds == ["step_reading", "step_waiting", "step_ended"] for other in others)
    assert not list((project / ".azdistill/cache/flights").iterdir())


def test_equal_steps_of_one_run_are_executed_once(project: Path, run: Run) -> None:
    (project / "go").touch()
    finished = run({"a": counting(project), "b": counting(project)})
    assert counted(project) == 1
    assert sorted(step.status for step in finished.state.steps.values()) == ["cached", "completed"]


def test_where_it_fails_each_runs_its_own(project: Path, runners: Any) -> None:
    jobs = pipeline(project, counting(project, "; exit 1"))
    begun, _ = one_and_three_who_wait(project, runners, jobs, Steps())
    assert [future.result(60).state.status for future in begun] == ["failed"] * 4
    assert counted(project) == 4


def test_all_who_have_waited_for_a_failure_go_on_at_once(tmp_path: Path) -> None:
    flights, asked = Flights(tmp_path), threading.Event()
    waiting, together = threading.Semaphore(0), threading.Barrier(3, timeout=60)

    def wait() -> str:
        with flights.join("k", "another", lambda _: waiting.release(), asked) as turn:
            together.wait()
            return turn

    with ThreadPoolExecutor(3) as pool:
        with flights.join("k", "run 1", lambda _: None, asked):
            begun = [pool.submit(wait) for _ in range(3)]
            for _ in begun:
                assert waiting.acquire(timeout=60)
        assert [future.result(60) for future in begun] == ["after"] * 3


@pytest.mark.parametrize("how", ["not deterministic", "forced", "no cache", "exclusive"])
def test_what_must_run_anew_or_measures_time_waits_for_nobody(project: Path, runners: Any, how: str) -> None:
    step, options = counting(project), {}
    if how in ("not deterministic", "exclusive"):
        command = {key: step[key] for key in ("type", "outputs", "command", "environment")}
        more = {"is_deterministic": False} if how == "not deterministic" else {"tags": {"azdistill.exclusive": "true"}}
        step = {"type": "command", "component": {**command, **more}}
    if how == "no cache":
        options = {"use_cache": False}
    path = pipeline(project, step, **({"force_rerun": True} if how == "forced" else {}))
    begun = [runners(path, Steps(), **options) for _ in range(2)]
    until(lambda: counted(project) == 2)
    (project / "go").touch()
    assert [future.result(60).state.status for future in begun] == ["completed"] * 2


def test_who_waits_takes_over_when_the_other_is_killed(project: Path, runners: Any) -> None:
    path = pipeline(project, counting(project))
    command = [sys.executable, "-m", "azdistill", "run", str(path), "--no-tracking"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killed:
        until(lambda: counted(project) == 1)
        others = [Steps() for _ in range(2)]
        begun = [runners(path, other) for other in others]
        for other in others:
            assert other.waiting.wait(60)
        killed.send_signal(signal.SIGKILL)
        since = time.monotonic()
        until(lambda: counted(project) == 2, 10)
        # The promise is two seconds; a machine that is busy starts a process late.
        assert time.monotonic() - since < 5
    (project / "go").touch()
    assert [future.result(60).state.status for future in begun] == ["completed"] * 2
    assert counted(project) == 2


def test_who_waits_can_be_canceled(project: Path, tmp_path: Path) -> None:
    flights, asked, names = Flights(tmp_path), threading.Event(), list[str]()
    with flights.join("k", "run 1", names.append, asked) as first:
        asked.set()
        with flights.join("k", "run 2", names.append, asked) as second:
            assert (first, second, names) == ("first", "canceled", ["run 1"])


def test_what_a_killed_run_left_stops_nobody(project: Path, tmp_path: Path) -> None:
    for left in ("run 1", "ended", ""):
        (tmp_path / "flights").mkdir(exist_ok=True)
        (tmp_path / "flights" / "k").write_text(left)
        with Flights(tmp_path).join("k", "run 2", lambda _: None, threading.Event()) as turn:
            assert turn == "first"
    assert not os.listdir(tmp_path / "flights")


def test_what_killed_runs_left_is_removed_at_the_next_start(project: Path, run: Run) -> None:
    (project / "go").touch()
    flights = project / ".azdistill/cache/flights"
    run({"a": counting(project)})
    (flights / "k").write_text("a run that was killed")
    with Flights(flights.parent).join("l", "a run that lives", lambda _: None, threading.Event()):
        run({"a": counting(project)})
        assert os.listdir(flights) == ["l"]


def test_where_nothing_can_be_locked_everybody_runs(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("azdistill.local.cache.entries.lock", lambda _: None)
    with Flights(tmp_path).join("k", "run 1", lambda _: None, threading.Event()) as turn:
        assert turn == "alone"
