"""Distributed steps: the command started once for each process, with the variables that PyTorch needs."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_helpers import log_of, statuses, step

from azdistill import aml
from azdistill.errors import SpecError
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.runners.guard import marked

Run = Callable[..., Finished]


def distributed(command: str, processes: Any = 2, *, kind: str = "pytorch", **more: Any) -> dict[str, Any]:
    """A step that is started ``processes`` times."""
    return step(command, distribution={"type": kind, "process_count_per_instance": processes}, **more)


SHOW = "echo $RANK $LOCAL_RANK $NODE_RANK $WORLD_SIZE $MASTER_ADDR; echo $MASTER_PORT > port-$RANK"


def test_the_command_is_started_once_for_each_process_as_on_azure(run: Run) -> None:
    finished = run({"a": distributed(f"{SHOW}; echo threads $OMP_NUM_THREADS", 3)})
    assert statuses(finished) == {"a": "completed"}
    lines = sorted(line for line in log_of(finished, "a").splitlines() if "threads" not in line)
    assert lines == [f"[rank {rank}] {rank} {rank} 0 3 127.0.0.1" for rank in range(3)]
    log = finished.state.steps["a"].log
    assert log
    ports = {(Path(log).parent / "snapshot" / f"port-{rank}").read_text() for rank in range(3)}
    assert len(ports) == 1


def test_processes_share_the_threads_of_their_step(run: Run) -> None:
    finished = run({"a": distributed("echo $OMP_NUM_THREADS", 2)})
    share = max(1, (os.cpu_count() or 1) // 2)
    assert sorted(log_of(finished, "a").splitlines()) == [f"[rank {rank}] {share}" for rank in (0, 1)]


def test_one_process_has_its_variables_and_no_prefix(run: Run) -> None:
    assert log_of(run({"a": distributed(SHOW, 1)}), "a") == "0 0 0 1 127.0.0.1\n"
    assert log_of(run({"a": distributed(SHOW, 1) | {"distribution": {"type": "pytorch"}}}), "a").startswith("0 0 0 1")


def test_the_first_process_that_fails_ends_the_others_and_gives_the_exit_code(run: Run) -> None:
    started = time.monotonic()
    finished = run({"a": distributed('if [ "$RANK" = 1 ]; then exit 7; fi; trap "exit 9" TERM; sleep 60 & wait', 3)})
    assert finished.state.steps["a"].exit_code == 7
    assert "[launch] rank 1 ended with exit code 7: ending the others" in log_of(finished, "a")
    assert time.monotonic() - started < 30


@pytest.mark.slow
def test_a_process_that_will_not_end_is_killed_and_the_exit_code_stays(run: Run) -> None:
    stubborn = 'if [ "$RANK" = 0 ]; then sleep 0.2; kill -9 $$; fi; trap "" TERM; while true; do sleep 0.1; done'
    finished = run({"a": distributed(stubborn)})
    assert finished.state.steps["a"].exit_code == 137
    assert marked(f"AZUREML_ROOT_RUN_ID={finished.state.run_id}") == []


def test_lines_of_several_processes_stay_whole(run: Run) -> None:
    finished = run({"a": distributed("for i in $(seq 200); do echo line $i of $RANK; done; printf end", 4)})
    lines = log_of(finished, "a").splitlines()
    wanted = {f"[rank {rank}] line {i} of {rank}" for rank in range(4) for i in range(1, 201)}
    assert set(lines) == wanted | {f"[rank {rank}] end" for rank in range(4)}
    assert len(lines) == 804


def test_a_timeout_ends_all_processes(run: Run) -> None:
    finished = run({"a": distributed("setsid sleep 50 & sleep 50", limits={"timeout": 1})})
    assert "limits.timeout" in finished.state.steps["a"].error
    assert marked(f"AZUREML_ROOT_RUN_ID={finished.state.run_id}") == []


def test_outputs_of_all_processes_are_committed_once(run: Run, project: Path) -> None:
    command = "echo $RANK > '${{outputs.x}}'/$RANK"
    job = distributed(command) | {"outputs": {"x": {"type": "uri_folder"}}}
    after = step("ls '${{inputs.x}}'", inputs={"x": "${{parent.jobs.a.outputs.x}}"})
    jobs = {"a": {**job, "outputs": {"x": "${{parent.outputs.x}}"}}, "b": after}
    finished = run(jobs, outputs={"x": {"type": "uri_folder"}}, options=Options(out=project / "out"))
    assert sorted(path.name for path in (project / "out" / "x").iterdir()) == ["0", "1"]
    assert log_of(finished, "b").split() == ["0", "1"]
    assert statuses(run(jobs, outputs={"x": {"type": "uri_folder"}})) == {"a": "cached", "b": "cached"}
    jobs["a"]["distribution"] = {"type": "pytorch", "process_count_per_instance": 3}
    assert statuses(run(jobs, outputs={"x": {"type": "uri_folder"}}))["a"] == "completed"


def test_the_number_of_processes_may_be_an_input_of_the_pipeline(run: Run) -> None:
    finished = run({"a": distributed("echo $WORLD_SIZE", "${{parent.inputs.n}}")}, inputs={"n": 2})
    assert sorted(log_of(finished, "a").splitlines()) == ["[rank 0] 2", "[rank 1] 2"]


def test_several_instances_are_run_as_one_and_that_is_said(run: Run) -> None:
    finished = run({"a": distributed(SHOW, 1, resources={"instance_count": 2})})
    assert log_of(finished, "a") == "0 0 0 1 127.0.0.1\n"


def test_workers_of_tensorflow_are_told_of_each_other(run: Run) -> None:
    finished = run({"a": step("echo $TF_CONFIG", distribution={"type": "tensorflow", "worker_count": 3})})
    lines = dict(line.split("] ", 1) for line in log_of(finished, "a").splitlines())
    told = [json.loads(lines[f"[worker {number}"]) for number in range(3)]
    assert [each["task"] for each in told] == [{"type": "worker", "index": number} for number in range(3)]
    (cluster,) = {tuple(each["cluster"]["worker"]) for each in told}
    assert len({address for address in cluster if address.startswith("127.0.0.1:")}) == 3


def test_tensorflow_has_a_worker_for_each_instance(run: Run) -> None:
    jobs = {"a": step("echo $TF_CONFIG", distribution={"type": "tensorflow"}, resources={"instance_count": 2})}
    assert log_of(run(jobs), "a").count("[worker ") == 2


@pytest.mark.parametrize(
    ("kind", "written"), [("pytorch", "process_count_per_instance"), ("tensorflow", "worker_count")]
)
def test_another_number_of_processes_is_a_change_wherever_it_is_written(run: Run, kind: str, written: str) -> None:
    def status(count: int) -> str:
        job = step("true", distribution={"type": kind, written: "${{parent.inputs.n}}"})
        return statuses(run({"a": job}, inputs={"n": count}))["a"]

    assert [status(1), status(2), status(2)] == ["completed", "completed", "cached"]


def test_another_number_of_instances_is_a_change_where_it_is_that_of_the_processes(run: Run) -> None:
    def status(count: int) -> str:
        job = step("true", distribution={"type": "tensorflow"}, resources={"instance_count": count})
        return statuses(run({"a": job}))["a"]

    assert [status(1), status(2)] == ["completed", "completed"]


def test_parameter_servers_are_refused_here_by_line(run: Run) -> None:
    jobs = {"a": step("true", distribution={"type": "tensorflow", "parameter_server_count": 1})}
    with pytest.raises(SpecError, match="parameter servers are not run locally") as raised:
        run(jobs)
    assert [problem.code for problem in raised.value.problems] == ["AZD348"]


@pytest.mark.parametrize("kind", ["mpi", "ray"])
def test_other_kinds_are_valid_and_refused_here_by_name_and_line(run: Run, kind: str) -> None:
    jobs = {"a": step("true", distribution={"type": kind})}
    with pytest.raises(SpecError, match=rf"distribution of type {kind} is not run locally") as raised:
        run(jobs)
    (problem,) = raised.value.problems
    assert problem.code == "AZD348"
    assert Path("pipeline.yml").read_text().splitlines()[problem.line - 1].strip() == f"type: {kind}"


BAD = {
    "AZD112": {"process_count_per_instance": 2},
    "AZD113": {"type": "pytroch"},
    "AZD134": {"type": "pytorch", "process_count_per_instance": 0},
    "AZD111": {"type": "pytorch", "process_count_per_instance": "two"},
    "AZD110": {"type": "pytorch", "worker_count": 2},
}


@pytest.mark.parametrize(("code", "distribution"), BAD.items())
def test_bad_distributions_are_found_before_the_run(project: Path, code: str, distribution: dict[str, Any]) -> None:
    from local_helpers import write_pipeline

    path = write_pipeline(project / "pipeline.yml", {"a": step("true", distribution=distribution)})
    with pytest.raises(SpecError) as raised:
        aml.load_pipeline(path)
    assert [problem.code for problem in raised.value.problems] == [code]
