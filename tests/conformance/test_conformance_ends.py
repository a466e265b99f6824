"""How a step ends, and what it prints: exit codes, time limits, Ctrl-C, whole logs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conformance_helpers import Project, Ran, command_step
from conformance_table import row

from azdistill.local.runners.docker.engine import LABEL, connect
from azdistill.local.runners.guard import marked

PATIENCE = 120
LONG = 1 << 20
#: The two streams in turn, each line on its own.
TURNS = "for i in $(seq 100); do echo out $i; echo err $i >&2; done"
JOBS: dict[str, Any] = {
    "zero": command_step("exit 0"),
    "three": command_step("exit 3"),
    "signal": command_step("kill -9 $$"),
    "absent": command_step("no-such-program-anywhere"),
    "burst": command_step(f"{TURNS}; exit 3"),
    "long": command_step(f"python3 -c 'print(\"x\" * {LONG})'; echo after"),
    "binary": command_step(r"printf 'a\377\000\nb\303\274\n'"),
    "partial": command_step("printf 'no line end'"),
    "stdin": command_step("cat; echo read to its end"),
    "forgets": command_step("true '${{outputs.made}}'", ("made",)),
    "kept": command_step("echo kept > outputs/kept.txt; echo told > logs/told.txt")
    | {"outputs": {"artifacts": {"type": "uri_folder"}}},
    "limited": command_step("(sleep 600 &) ; setsid sleep 601 & sleep 602", limits={"timeout": 2}),
}


@pytest.fixture(scope="module")
def ran(shared_project: Project) -> Ran:
    return shared_project.run(JOBS, settings={"continue_on_step_failure": True})


@row("exit-codes", "exit codes, as a shell reports them", "command", remark="0, 3, 127, and 137 for a signal")
def test_exit_codes_are_never_lost(ran: Ran) -> None:
    codes = {name: ran.exit_code(name) for name in ("zero", "three", "signal", "absent")}
    assert codes == {"zero": 0, "three": 3, "signal": 137, "absent": 127}
    assert [ran.statuses[name] for name in codes] == ["completed", "failed", "failed", "failed"]


@row("missing-output", "an output that was not written fails its step", "outputs")
def test_an_output_that_was_not_written_fails_its_step(ran: Ran) -> None:
    assert ran.statuses["forgets"] == "failed"
    assert "did not write output 'made'" in ran.error("forgets")


@row("artifacts", "`./outputs` and `./logs` are there, and make the output `artifacts`", "outputs")
def test_the_output_artifacts_is_what_a_step_left_in_its_folders(ran: Ran) -> None:
    kept = ran.output("kept", "artifacts")
    assert {str(path.relative_to(kept)): path.read_text() for path in kept.rglob("*.txt")} == {
        "outputs/kept.txt": "kept\n",
        "logs/told.txt": "told\n",
    }


@row("order", "both streams, line by line, in order, to the last one", "log")
def test_both_streams_are_in_order_to_the_last_line(ran: Ran) -> None:
    wanted = [f"{stream} {number}" for number in range(1, 101) for stream in ("out", "err")]
    assert ran.log("burst").splitlines()[:200] == wanted
    assert [line for name, line in ran.told.lines if name == "burst"][:200] == wanted


@row("long-lines", "a line of a megabyte", "log")
def test_a_very_long_line_is_whole(ran: Ran) -> None:
    assert ran.log("long") == "x" * LONG + "\nafter\n"


@row("binary", "bytes that are no text, a last line without an end", "log")
def test_bytes_reach_the_log_as_they_are(ran: Ran) -> None:
    assert ran.raw_log("binary") == b"a\xff\x00\nb\xc3\xbc\n"
    assert ran.raw_log("partial") == b"no line end"


@row("stdin", "an empty standard input", "command")
def test_standard_input_is_empty(ran: Ran) -> None:
    assert ran.log("stdin") == "read to its end\n"


@row("timeout", "a time limit, for all that the step started", "limits.timeout")
def test_a_time_limit_ends_all_that_the_step_started(ran: Ran) -> None:
    assert ran.statuses["limited"] == "failed"
    assert "limits.timeout of 2 s" in ran.error("limited")
    assert marked(f"AZUREML_ROOT_RUN_ID={ran.finished.state.run_id}") == []


@pytest.fixture
def started(project: Project) -> Iterator[subprocess.Popen[bytes]]:
    """A run of its own, once its only step, and what that has started, are ready to be told."""
    child = "(trap 'sleep 1; echo told too; exit' TERM; touch there; sleep 600 & wait) &"
    until = "until [ -e there ]; do sleep 0.05; done"
    step = command_step(f"{child} trap 'echo told; exit 0' TERM; {until}; echo ready; wait")
    options = ["--no-tracking", *(["--docker"] if project.docker else [])]
    child = subprocess.Popen(
        [sys.executable, "-m", "azdistill", "run", str(project.pipeline({"a": step})), *options],
        env={**os.environ, "AZDISTILL_HOME": str(project.folder / ".azdistill")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + PATIENCE
    while not any("ready" in log.read_text() for log in logs(project)):
        assert child.poll() is None, "the run ended by itself"
        assert time.monotonic() < until, "the step did not start"
        time.sleep(0.05)
    yield child
    if child.poll() is None:
        child.kill()
        child.wait()


def logs(project: Project) -> list[Path]:
    return list((project.folder / ".azdistill" / "runs").glob("*/steps/a/attempts/1/log.txt"))


@row("interrupt", "Ctrl-C: all that a step started is told politely, then ended", "SIGINT")
def test_an_interrupt_in_the_middle_of_a_step_leaves_nothing(
    project: Project, started: subprocess.Popen[bytes]
) -> None:
    started.send_signal(signal.SIGINT)
    assert started.wait(PATIENCE) == 130
    (run_id,) = [path.parents[4].name for path in logs(project)]
    assert marked(f"AZUREML_ROOT_RUN_ID={run_id}") == []
    assert logs(project)[0].read_text().splitlines()[:3] == ["ready", "told", "told too"]
    if project.docker:
        engine = connect()
        assert engine.api.containers(all=True, filters={"label": [f"{LABEL}={run_id}"]}) == []
        engine.api.close()
