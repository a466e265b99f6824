"""Parallel steps: mini-batches, workers, retries, thresholds, and results that are whole or not there."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from local_helpers import log_of, statuses, write_pipeline

from azdistill import aml
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.runners.guard import marked
from azdistill.local.store.home import find_home
from azdistill.local.store.runs import list_runs

Run = Callable[..., Finished]
PIPELINE = Path(__file__).parent / "pipelines" / "parallel" / "pipeline.yml"
ECHO = """
def init():
    pass

def run(mini_batch):
    return [open(path).read() for path in mini_batch]
"""


@pytest.fixture
def parallel(run: Run, project: Path) -> Callable[..., Finished]:
    """Runs one parallel step over ``files`` files with the texts 0, 1, ...; ``arguments`` are the program's."""

    def go(script: str, files: int = 6, arguments: str = "", options: Options | None = None, **more: Any) -> Finished:
        jobs = {"a": a_step(project, script, files, arguments, **more)}
        return run(jobs, outputs={"out": {"type": "uri_file"}}, options=options or Options(out=project / "out"))

    return go


def a_step(project: Path, script: str, files: int = 6, arguments: str = "", **more: Any) -> dict[str, Any]:
    (project / "code").mkdir(exist_ok=True)
    (project / "code" / "entry.py").write_text(textwrap.dedent(script))
    (project / "data").mkdir(exist_ok=True)
    for number in range(files):
        (project / "data" / f"{number:03d}").write_text(str(number))
    task = {
        "type": "run_function",
        "code": "./code",
        "entry_script": "entry.py",
        "environment": "azureml:any@latest",
        "append_row_to": "${{outputs.out}}",
        **({"program_arguments": arguments} if arguments else {}),
    }
    return {
        "type": "parallel",
        "inputs": {"data": {"type": "uri_folder", "path": "./data"}},
        "outputs": {"out": "${{parent.outputs.out}}"},
        "input_data": "${{inputs.data}}",
        "mini_batch_size": "2",
        "retry_settings": {"max_retries": 1, "timeout": 20},
        "task": task,
        **more,
    }


def lines(project: Path) -> list[str]:
    return (project / "out" / "out").read_text().split()


def test_the_pipeline_of_files_and_tables_runs(run: Run, project: Path) -> None:
    finished = run(PIPELINE, options=Options(out=project / "out"))
    assert statuses(finished) == dict.fromkeys(["count", "inline", "last"], "completed")
    assert (project / "out" / "lines").read_text().splitlines() == [
        *(f"{number}.txt: 2" for number in range(1, 6)),
        *("6.txt: 0", "a 3 EUR", "a 3 EUR", "b 7 EUR", "b 7 EUR", "c 10 EUR"),
    ]
    assert "[worker 0] looking for file" in log_of(finished, "count")
    again = run(PIPELINE, options=Options(out=project / "out"))
    assert set(statuses(again).values()) == {"cached"}


def test_azure_ai_ml_reads_it_as_we_do() -> None:
    logging.disable(logging.WARNING)
    try:
        job = pytest.importorskip("azure.ai.ml").load_job(PIPELINE)
    finally:
        logging.disable(logging.NOTSET)
    ours = aml.load_pipeline(PIPELINE)
    assert {name: step.type for name, step in ours.jobs.items()} == {n: node.type for n, node in job.jobs.items()}
    for name in ("count", "inline"):
        node, step = job.jobs[name], ours.jobs[name]
        component = step.component
        assert isinstance(component, aml.CommandComponent)
        assert component.parallel
        theirs = node._component
        given = {"retries": node.retry_settings or theirs.retry_settings, "task": node.task or theirs.task}
        assert component.command == given["task"].program_arguments
        assert component.parallel.entry_script == given["task"].entry_script
        assert component.parallel.append_row_to == given["task"].append_row_to
        assert component.parallel.input_data == (node.input_data or theirs.input_data)
        assert component.parallel.max_retries == given["retries"].max_retries
        assert component.parallel.timeout == given["retries"].timeout
        assert list(component.parallel.partition_keys) == (node.partition_keys or theirs.partition_keys or [])


@pytest.mark.parametrize("workers", [1, 4])
def test_results_are_in_the_order_of_the_input_however_many_workers(
    parallel: Callable[..., Finished], project: Path, workers: int
) -> None:
    slow_first = """
    import time
    def init(): pass
    def run(mini_batch):
        time.sleep(0.3 if mini_batch[0].endswith("000") else 0)
        return [open(path).read() for path in mini_batch]
    """
    finished = parallel(slow_first, 15, max_concurrency_per_instance=workers)
    assert statuses(finished) == {"a": "completed"}
    assert lines(project) == [str(number) for number in range(15)]
    assert f"8 mini-batches, 15 items, {workers} workers" in log_of(finished, "a")


def test_a_mini_batch_that_fails_is_tried_again(parallel: Callable[..., Finished], project: Path) -> None:
    flaky = """
    import os
    def init(): pass
    def run(mini_batch):
        mark = mini_batch[0].replace("/", "_")
        if not os.path.exists(mark):
            open(mark, "w").close()
            raise ValueError("the first time")
        return mini_batch
    """
    finished = parallel(flaky, 4, mini_batch_error_threshold=0)
    assert statuses(finished) == {"a": "completed"}
    assert len(lines(project)) == 4
    assert log_of(finished, "a").count("run() raised ValueError: the first time") == 2


def test_a_mini_batch_that_takes_too_long_is_given_to_a_new_worker(
    parallel: Callable[..., Finished], project: Path
) -> None:
    stuck = """
    import os, time
    def init(): pass
    def run(mini_batch):
        if not os.path.exists("stuck"):
            open("stuck", "w").close()
            time.sleep(60)
        return [os.path.basename(path) for path in mini_batch]
    """
    finished = parallel(stuck, 4, retry_settings={"max_retries": 1, "timeout": 1}, mini_batch_error_threshold=0)
    assert statuses(finished) == {"a": "completed"}
    assert lines(project) == ["000", "001", "002", "003"]
    assert "run() took longer than 1 s" in log_of(finished, "a")


def test_a_worker_that_dies_is_replaced(parallel: Callable[..., Finished], project: Path) -> None:
    dying = """
    import os
    def init(): pass
    def run(mini_batch):
        if not os.path.exists("died"):
            open("died", "w").close()
            os._exit(9)
        return mini_batch
    """
    finished = parallel(dying, 4, mini_batch_error_threshold=0)
    assert statuses(finished) == {"a": "completed"}
    assert "its worker ended with exit code 9" in log_of(finished, "a")
    assert len(lines(project)) == 4


ODD_FAILS = """
def init(): pass
def run(mini_batch):
    if mini_batch[0].endswith("2"):
        raise ValueError("odd")
    return mini_batch[:1] if mini_batch[0].endswith("4") else mini_batch
"""
#: Of three mini-batches of two, one raises (2 items) and one gives one result too few.
THRESHOLDS: dict[str, tuple[dict[str, Any], str, bool]] = {
    "none": ({}, "", True),
    "mini-batches, allowed": ({"mini_batch_error_threshold": 2}, "", True),
    "mini-batches, too many": ({"mini_batch_error_threshold": 1}, "", False),
    "items, allowed": ({"error_threshold": 3}, "", True),
    "items, too many": ({"error_threshold": 2}, "", False),
    "per cent, allowed": ({}, "--allowed_failed_percent 70", True),
    "per cent, too many": ({}, "--allowed_failed_percent=60", False),
    "count, too many": ({}, "--allowed_failed_count 1", False),
    "an argument wins": ({"error_threshold": 0}, "--error_threshold 3", True),
}


@pytest.mark.parametrize(("settings", "arguments", "passes"), THRESHOLDS.values(), ids=THRESHOLDS)
def test_failures_are_counted_against_the_thresholds(
    parallel: Callable[..., Finished], project: Path, settings: dict[str, Any], arguments: str, passes: bool
) -> None:
    finished = parallel(ODD_FAILS, 6, arguments, retry_settings={"max_retries": 0, "timeout": 20}, **settings)
    assert statuses(finished) == {"a": "completed" if passes else "failed"}
    if passes:
        assert [Path(line).name for line in lines(project)] == ["000", "001", "004"]
        assert "2 failed; 6 items: 3 failed" in log_of(finished, "a")
    else:
        assert finished.state.steps["a"].exit_code == 1
        assert "[parallel] error: " in log_of(finished, "a")


@pytest.mark.parametrize(
    ("settings", "arguments"), [({"error_threshold": -1}, ""), ({}, "--error_threshold -1")], ids=["key", "argument"]
)
def test_one_result_for_a_whole_mini_batch_may_be_meant(
    parallel: Callable[..., Finished], project: Path, settings: dict[str, Any], arguments: str
) -> None:
    script = """
    def init(): pass
    def run(mini_batch):
        return [f"{len(mini_batch)} files"]
    """
    finished = parallel(script, 6, arguments, mini_batch_error_threshold=0, **settings)
    assert statuses(finished) == {"a": "completed"}
    assert (project / "out" / "out").read_text() == "2 files\n" * 3
    assert "attempt 1" not in log_of(finished, "a")


def test_a_column_of_paths_is_there_for_the_transformations_that_drop_it(run: Run, project: Path) -> None:
    for name in ("a", "b"):
        (project / "table" / name).mkdir(parents=True)
        (project / "table" / name / "rows.csv").write_text("n\n1\n2\n")
    (project / "table" / "MLTable").write_text(
        "paths: [{pattern: ./**/*.csv}]\ntransformations:\n"
        "  - read_delimited: {delimiter: ',', header: all_files_same_headers, include_path_column: true}\n"
        "  - extract_columns_from_partition_format: {partition_format: '{letter}/{file_name}.{extension}'}\n"
        "  - drop_columns: [Path, file_name, extension]\n"
    )
    (project / "code").mkdir()
    (project / "code" / "entry.py").write_text(
        "def init(): pass\ndef run(table): return [f'{list(table.columns)} {len(table)}']\n"
    )
    job = {
        "type": "parallel",
        "inputs": {"data": {"type": "mltable", "path": "./table", "mode": "direct"}},
        "outputs": {"out": "${{parent.outputs.out}}"},
        "input_data": "${{inputs.data}}",
        "partition_keys": ["letter"],
        "error_threshold": -1,
        "task": {
            "type": "run_function",
            "code": "./code",
            "entry_script": "entry.py",
            "environment": "azureml:any@latest",
            "append_row_to": "${{outputs.out}}",
        },
    }
    run({"a": job}, outputs={"out": {"type": "uri_file"}}, options=Options(out=project / "out"))
    assert (project / "out" / "out").read_text() == "['n', 'letter'] 2\n" * 2


FATAL = {
    "init() raises": ("def init(): raise ValueError('no model')\ndef run(b): return b", "init() of entry.py failed"),
    "a result that is no list": ("def init(): pass\ndef run(b): return 3", "should give a list or a DataFrame"),
}


@pytest.mark.parametrize(("script", "words"), FATAL.values(), ids=FATAL)
def test_what_can_never_work_fails_the_step(parallel: Callable[..., Finished], script: str, words: str) -> None:
    finished = parallel(script, mini_batch_error_threshold=0)
    assert statuses(finished) == {"a": "failed"}
    assert words in log_of(finished, "a")


def test_arguments_reach_the_script_and_shutdown_is_called(parallel: Callable[..., Finished], project: Path) -> None:
    script = """
    import sys
    def init():
        print("arguments:", sys.argv[1:])
    def run(mini_batch):
        return mini_batch
    def shutdown():
        print("over")
    """
    finished = parallel(script, 2, "--a 'b c'\n--d 'e\nf'\n--g\n")
    assert r"arguments: ['--a', 'b c', '--d', 'e\nf', '--g']" in log_of(finished, "a")
    assert "over" in log_of(finished, "a")


@pytest.mark.parametrize(
    ("end", "words"),
    [
        ("raise ValueError('no room')", "ValueError: no room\n[parallel] error: worker 0 ended with exit code 1"),
        ("os.kill(os.getpid(), 9)", "last words\n[parallel] error: worker 0 was killed by signal 9"),
    ],
)
def test_a_shutdown_that_fails_fails_the_step(parallel: Callable[..., Finished], end: str, words: str) -> None:
    script = f"""
    import os
    def init(): pass
    def run(mini_batch):
        return mini_batch
    def shutdown():
        print("last words", flush=True)
        if not os.path.exists({str(Path.cwd() / "mended")!r}):
            {end}
    """
    finished = parallel(script, 2)
    assert statuses(finished) == {"a": "failed"}
    assert f"{words}, in shutdown() of entry.py" in log_of(finished, "a")
    (Path.cwd() / "mended").touch()
    again = parallel(script, 2, options=Options(resume="latest"))
    assert statuses(again) == {"a": "completed"}
    # What shutdown() would have made of them is nowhere else.
    assert "were done by the previous attempt" not in log_of(again, "a")


def test_without_append_row_to_the_script_writes_its_output_itself(run: Run, project: Path) -> None:
    script = """
    import argparse, os
    def init():
        global out
        parser = argparse.ArgumentParser()
        parser.add_argument("--out")
        out = parser.parse_known_args()[0].out
    def run(mini_batch):
        for path in mini_batch:
            open(os.path.join(out, os.path.basename(path)), "w").write("done")
        return mini_batch
    """
    job = a_step(project, script, 3, "--out '${{outputs.out}}'")
    del job["task"]["append_row_to"]
    finished = run({"a": job}, outputs={"out": {"type": "uri_folder"}}, options=Options(out=project / "out"))
    assert statuses(finished) == {"a": "completed"}
    assert sorted(path.name for path in (project / "out" / "out").iterdir()) == ["000", "001", "002"]


def test_an_output_folder_gets_the_file_that_azure_names(run: Run, project: Path) -> None:
    job = a_step(project, ECHO, 2)
    run({"a": job}, outputs={"out": {"type": "uri_folder"}}, options=Options(out=project / "out"))
    assert (project / "out" / "out" / "parallel_run_step.txt").read_text() == "0\n1\n"


def test_settings_are_part_of_the_cache_key(parallel: Callable[..., Finished]) -> None:
    assert statuses(parallel(ECHO)) == {"a": "completed"}
    assert statuses(parallel(ECHO)) == {"a": "cached"}
    assert statuses(parallel(ECHO, mini_batch_size="3")) == {"a": "completed"}


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are looked up in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_workers_die_with_the_runner(project: Path, number: int) -> None:
    script = (
        "import time\ndef init(): pass\ndef run(mini_batch):\n    open('started', 'w').close()\n    time.sleep(60)\n"
    )
    job = a_step(project, script, max_concurrency_per_instance=3, retry_settings={"max_retries": 0, "timeout": 60})
    write_pipeline(project / "pipeline.yml", {"a": job}, outputs={"out": {"type": "uri_file"}})
    command = [sys.executable, "-m", "azdistill", "run", "pipeline.yml", "--no-tracking"]
    runner = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    _wait(lambda: list((project / ".azdistill").rglob("started")))
    runner.send_signal(number)
    runner.communicate(timeout=60)
    _wait(lambda: not [pid for run in list_runs(find_home()) for pid in marked(f"AZUREML_ROOT_RUN_ID={run.run_id}")])
    assert not list((project / ".azdistill" / "cache").glob("??/*/outputs/out"))


def _wait(true: Callable[[], Any]) -> None:
    until = time.monotonic() + 60
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


BAD: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "no task": ("AZD112", {"task": None}, {}),
    "no input": ("AZD112", {"input_data": None}, {}),
    "no script": ("AZD112", {}, {"entry_script": None}),
    "input is text": ("AZD171", {"input_data": "./data"}, {}),
    "input misspelt": ("AZD171", {"input_data": "${{inputs.date}}"}, {}),
    "size": ("AZD172", {"mini_batch_size": "ten"}, {}),
    "size 0": ("AZD172", {"mini_batch_size": "0"}, {}),
    "script is absent": ("AZD173", {}, {"entry_script": "entri.py"}),
    "rows go nowhere": ("AZD174", {}, {"append_row_to": "./out"}),
    "rows go to an unknown output": ("AZD174", {}, {"append_row_to": "${{outputs.oout}}"}),
    "kind": ("AZD113", {}, {"type": "run_funtion"}),
    "retries": ("AZD134", {"retry_settings": {"max_retries": -1}}, {}),
    "threshold": ("AZD134", {"error_threshold": -2}, {}),
    "workers": ("AZD134", {"max_concurrency_per_instance": 0}, {}),
    "code": ("AZD120", {}, {"code": "./cod"}),
    "argument": ("AZD150", {}, {"program_arguments": "--x ${{inputs.nothing}}"}),
    "key": ("AZD110", {"mini_batchsize": "3"}, {}),
}


@pytest.mark.parametrize(("code", "settings", "task"), BAD.values(), ids=BAD)
def test_mistakes_are_found_before_the_run_at_their_place(
    project: Path, code: str, settings: dict[str, Any], task: dict[str, Any]
) -> None:
    job = a_step(project, ECHO)
    job["task"].update(task)
    job.update(settings)
    if job["task"]:
        job["task"] = {key: value for key, value in job["task"].items() if value is not None}
    job = {key: value for key, value in job.items() if value is not None}
    path = write_pipeline(project / "pipeline.yml", {"a": job}, outputs={"out": {"type": "uri_file"}})
    _, problems = aml.examine(path)
    errors = [problem for problem in problems if problem.severity == "error"]
    assert {problem.code for problem in errors} == {code}, errors
    assert all(problem.line for problem in errors)


def test_a_script_without_run_is_found(project: Path) -> None:
    path = write_pipeline(
        project / "pipeline.yml",
        {"a": a_step(project, "def main(): pass")},
        outputs={"out": {"type": "uri_file"}},
    )
    (problem,) = aml.examine(path)[1]
    assert (problem.code, problem.message) == ("AZD173", "entry.py has no init() and run()")


def test_other_kinds_of_task_are_valid_and_refused_here(run: Run, project: Path) -> None:
    job = a_step(project, ECHO)
    job["task"]["type"] = "model"
    with pytest.raises(spec_error(), match="a parallel task of type model is not run locally"):
        run({"a": job}, outputs={"out": {"type": "uri_file"}})


def spec_error() -> type[Exception]:
    from azdistill.errors import SpecError

    return SpecError


LOGGING = """
from azureml_user.parallel_run import EntryScript

def init():
    EntryScript().logger.info("made ready")

def run(mini_batch):
    EntryScript().logger.debug("not told")
    return [EntryScript().logger is EntryScript().logger for _ in mini_batch]
"""


def test_a_script_logs_as_microsofts_pages_show(parallel: Callable[..., Finished], project: Path) -> None:
    finished = parallel(LOGGING, files=1)
    assert (project / "out" / "out").read_text() == "True\n"
    assert "|INFO|made ready" in log_of(finished, "a")
    assert "not told" not in log_of(finished, "a")
