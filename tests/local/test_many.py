"""Many steps: no failure and no line is lost, one after the other or eight at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from local_helpers import log_of, step

from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.store.runs import load_run

Run = Callable[..., Finished]
GO_ON = {"continue_on_step_failure": True}


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 8])
def test_200_steps_that_fail_are_200_failures(run: Run, threads: int) -> None:
    finished = run({f"s{n}": step("exit 3") for n in range(200)}, options=Options(jobs=threads), settings=GO_ON)
    steps = finished.state.steps.values()
    assert Counter((state.status, state.exit_code) for state in steps) == {("failed", 3): 200}
    assert {state.error for state in steps} == {"the command ended with exit code 3"}
    assert finished.error is not None
    stored = load_run(finished.state.folder)
    assert (stored.status, [state.exit_code for state in stored.steps.values()]) == ("failed", [3] * 200)


def test_each_of_100_bursts_of_200_lines_is_in_its_log_in_order(run: Run) -> None:
    burst = "for i in $(seq 200); do echo s{0} line $i; done; printf 's{0} no end'"
    finished = run({f"s{n}": step(burst.format(n)) for n in range(100)}, options=Options(jobs=8))
    assert finished.error is None
    for n in range(100):
        expected = [*(f"s{n} line {i}" for i in range(1, 201)), f"s{n} no end"]
        assert log_of(finished, f"s{n}").split("\n") == expected


def test_bursts_of_a_step_that_fails_are_in_its_log(run: Run) -> None:
    burst = "seq 200; seq 201 400 >&2; kill -{} $$"
    jobs = {f"s{n}": step(burst.format(number)) for n, number in enumerate([9, 15, 11, 6] * 10)}
    finished = run(jobs, options=Options(jobs=8), settings=GO_ON)
    for n, number in enumerate([9, 15, 11, 6] * 10):
        lines = log_of(finished, f"s{n}").splitlines()
        assert lines[:400] == [str(i) for i in range(1, 401)]
        assert finished.state.steps[f"s{n}"].exit_code == 128 + number


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="only Linux counts what a process reads")
def test_200_cached_steps_with_a_gigabyte_of_inputs_read_none_of_it(run: Run, project: Path) -> None:
    """Counted by the kernel, over whatever way it would be read. The files are holes: they take no room on the disk."""
    (project / "data").mkdir()
    for number in range(4):
        with open(project / "data" / str(number), "wb") as file:
            file.truncate(250_000_000 + number)
    inputs = {"d": {"type": "uri_folder", "path": "./data"}, "f": {"type": "uri_file", "path": "./data/0"}}
    bound = {name: f"${{{{parent.inputs.{name}}}}}" for name in inputs}
    jobs = {f"s{n}": step(f"echo {n} > ${{{{outputs.o}}}}", outputs=("o",), inputs=bound) for n in range(200)}
    for expected, most in (("completed", 1_300_000_000), ("cached", 100_000_000)):
        before = bytes_read()
        finished = run(jobs, inputs=inputs, options=Options(jobs=4))
        assert Counter(state.status for state in finished.state.steps.values()) == {expected: 200}
        assert bytes_read() - before < most


def bytes_read() -> int:
    """What this process has read so far."""
    (line,) = (line for line in Path("/proc/self/io").read_text().splitlines() if line.startswith("rchar:"))
    return int(line.partition(" ")[2])
