"""Kinds of steps beside commands and pipelines: distributed and parallel ones, and those that are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conformance_helpers import Project, Ran, command_step
from conformance_table import REFUSED, row
from engine_fixtures import IMAGE

from azdistill import aml
from azdistill.errors import Problem, SpecError
from azdistill.local.pipeline_run import run_pipeline

ENTRY = """
import argparse, os, sys
sizes = []

def init():
    global word
    word = argparse.ArgumentParser()
    word.add_argument("--word")
    word = word.parse_known_args()[0].word
    print("a worker is ready")

def run(mini_batch):
    if "3" in open(mini_batch[0]).read() and not os.path.exists("tried"):
        open("tried", "w").close()
        raise RuntimeError("once")
    return [f"{word} {os.path.basename(path)} {open(path).read()}" for path in mini_batch]
"""
PARALLEL: dict[str, Any] = {
    "type": "parallel",
    "inputs": {"data": {"type": "uri_folder", "path": "./data"}},
    "outputs": {"lines": {"type": "uri_file"}},
    "input_data": "${{inputs.data}}",
    "mini_batch_size": "2",
    "max_concurrency_per_instance": 2,
    "retry_settings": {"max_retries": 1, "timeout": 60},
    "task": {
        "type": "run_function",
        "code": "./code",
        "entry_script": "entry.py",
        "environment": {"image": IMAGE},
        "program_arguments": "--word 'größer als'",
        "append_row_to": "${{outputs.lines}}",
    },
}
SHOW = 'echo $RANK $LOCAL_RANK $NODE_RANK $WORLD_SIZE $MASTER_ADDR; test -n "$MASTER_PORT"'


@pytest.fixture(scope="module")
def ran(shared_project: Project) -> Ran:
    shared_project.write({"code/entry.py": ENTRY, **{f"data/{number}.txt": str(number) for number in range(5)}})
    pytorch = {"type": "pytorch", "process_count_per_instance": 3}
    fails = "if [ $RANK = 1 ]; then exit 7; fi; sleep 600"
    jobs = {
        "spread": command_step(SHOW, distribution=pytorch),
        "fails": command_step(fails, distribution=pytorch),
        "batches": PARALLEL,
    }
    return shared_project.run(jobs, settings={"continue_on_step_failure": True})


@row("pytorch", "distributed steps, started N times with PyTorch's variables", "distribution.type: pytorch")
def test_the_command_is_started_for_each_process(ran: Ran) -> None:
    assert ran.statuses["spread"] == "completed", ran.error("spread")
    assert sorted(ran.log("spread").splitlines()) == [f"[rank {n}] {n} {n} 0 3 127.0.0.1" for n in range(3)]


@row("pytorch-fails", "the first process that fails ends the others", "distribution.type: pytorch")
def test_the_first_process_that_fails_ends_the_others(ran: Ran) -> None:
    assert ran.exit_code("fails") == 7


@row("parallel", "parallel steps: mini-batches, workers, retries, one file of results", "type: parallel")
def test_parallel_steps_give_whole_results_in_order(ran: Ran) -> None:
    assert ran.statuses["batches"] == "completed", ran.log("batches")
    lines = ran.output("batches", "lines").read_text().splitlines()
    assert lines == [f"größer als {number}.txt {number}" for number in range(5)]


def refusals(project: Project, job: dict[str, Any]) -> list[Problem]:
    """The errors that ``job`` is refused with, before anything runs."""
    path = project.pipeline({"fine": command_step("true"), "odd": job})
    with pytest.raises(SpecError) as caught:
        run_pipeline(aml.load_pipeline(path), project.options())
    assert not (project.folder / ".azdistill" / "runs").exists()
    return [problem for problem in caught.value.problems if problem.severity == "error"]


def assert_named(project: Project, job: dict[str, Any], word: str) -> None:
    problems = refusals(project, job)
    assert any(word in problem.message and problem.line for problem in problems), problems


@row("tensorflow", "TensorFlow's workers, on one machine", "distribution.type: tensorflow")
def test_workers_of_tensorflow_are_told_of_each_other(project: Project) -> None:
    distribution = {"type": "tensorflow", "worker_count": 2}
    ran = project.run({"a": command_step("echo $TF_CONFIG", distribution=distribution)})
    told = [json.loads(line.partition("] ")[2]) for line in sorted(ran.log().splitlines())]
    assert [each["task"]["index"] for each in told] == [0, 1]
    assert len(set(told[0]["cluster"]["worker"])) == 2
    assert told[0]["cluster"] == told[1]["cluster"]


@row("mpi", "MPI and Ray", "distribution.type", process=REFUSED, docker=REFUSED)
def test_other_distributions_are_refused_by_name(project: Project) -> None:
    for kind in ("mpi", "ray"):
        assert_named(project, command_step("true", distribution={"type": kind}), kind)


ELSEWHERE: dict[str, dict[str, Any]] = {
    "spark": {"code": ".", "entry": {"file": "x.py"}},
    "automl": {"task": "classification"},
    "import": {"source": {"type": "database"}},
    "data_transfer": {"task": "copy_data"},
    "do_while": {"body": "${{parent.jobs.fine}}", "mapping": {}, "limits": {"max_iteration_count": 2}},
    "parallel_for": {"body": "${{parent.jobs.fine}}", "items": "[{}]"},
}


@row(
    "other-kinds",
    "Spark, AutoML, data import and transfer, `do_while`, `parallel_for`",
    "type: spark, ...",
    process=REFUSED,
    docker=REFUSED,
)
def test_other_kinds_are_refused_by_name(project: Project) -> None:
    for kind, keys in ELSEWHERE.items():
        assert_named(project, {"type": kind, **keys}, kind)


@row("registered", "registered components", "component: azureml:name:1", process=REFUSED, docker=REFUSED)
def test_registered_components_are_refused_by_name(project: Project) -> None:
    assert_named(project, {"type": "command", "component": "azureml:train:3"}, "azureml:train:3")
