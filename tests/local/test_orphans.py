"""Processes that leave a step's group, session and environment: they end with the step, and hold up nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from local_helpers import statuses, step, write_pipeline

from azdistill.local.pipeline_run import Finished
from azdistill.local.runners import guard
from azdistill.local.runners.base import GRACE
from azdistill.local.runners.process_table import listed, members

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are looked up in /proc")

#: Starts a process of a session and an environment of its own, which holds the step's output open.
LEAVE = "env -i setsid sleep {seconds} & "


def sleeping(seconds: str) -> bool:
    """Whether a process ``sleep SECONDS`` lives."""
    wanted = f"sleep\0{seconds}\0".encode()
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if Path(f"/proc/{name}/cmdline").read_bytes() == wanted:
                return True
        except OSError:
            continue
    return False


def gone(seconds: str, within: float) -> bool:
    """Whether ``sleep SECONDS`` ends in time."""
    until = time.monotonic() + within
    while sleeping(seconds) and time.monotonic() < until:
        time.sleep(0.02)
    return not sleeping(seconds)


@pytest.mark.skipif(shutil.which("ps") is None, reason="asks ps")
def test_the_members_of_a_group_are_found_without_proc_too() -> None:
    leader = subprocess.Popen(["/bin/bash", "-c", "sleep 60 & sleep 60 & wait"], start_new_session=True)
    try:
        until = time.monotonic() + 20
        while len(members(leader.pid)) < 3 and time.monotonic() < until:
            time.sleep(0.01)
        assert sorted(listed(leader.pid)) == sorted(members(leader.pid))
        assert len(listed(leader.pid)) == 3
    finally:
        guard.kill_group(leader.pid)
        leader.wait()
    # Signals are sent at once; what they end may still be seen for a moment.
    while members(leader.pid) and time.monotonic() < until:
        time.sleep(0.01)
    assert members(leader.pid) == listed(leader.pid) == []


@pytest.mark.parametrize(
    "left",
    [
        "setsid sleep {seconds} & ",
        LEAVE,
        "(setsid sh -c 'sleep {seconds} &' &) ; ",
        "(env -i setsid sh -c 'setsid sleep {seconds} &' &) ; ",
    ],
)
def test_what_a_step_leaves_behind_ends_with_it(run: Callable[..., Finished], left: str) -> None:
    seconds = f"{os.getpid()}.25"
    started = time.monotonic()
    finished = run({"a": step(left.format(seconds=seconds) + "sleep 0.1")})
    assert statuses(finished) == {"a": "completed"}
    assert time.monotonic() - started < GRACE
    assert gone(seconds, within=1)


def test_a_timeout_ends_what_left_the_step_too(run: Callable[..., Finished]) -> None:
    seconds = f"{os.getpid()}.5"
    finished = run({"a": step(LEAVE.format(seconds=seconds) + "sleep 60", limits={"timeout": 1})})
    assert statuses(finished) == {"a": "failed"}
    assert gone(seconds, within=1)


def test_what_left_a_step_ends_when_the_runner_is_killed(project: Path) -> None:
    seconds = f"{os.getpid()}.75"
    write_pipeline(project / "pipeline.yml", {"a": step(LEAVE.format(seconds=seconds) + "sleep 60")})
    command = [sys.executable, "-m", "azdistill", "run", "pipeline.yml", "--no-tracking"]
    runner = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
    until = time.monotonic() + 20
    while not sleeping(seconds) and time.monotonic() < until:
        time.sleep(0.02)
    assert sleeping(seconds)
    runner.kill()
    runner.wait()
    assert gone(seconds, within=2)
