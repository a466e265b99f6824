"""Command jobs that stand by themselves: run as a pipeline of one step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from local_helpers import ENVIRONMENT, log_of, statuses

from azdistill import aml
from azdistill.cli import cli as program
from azdistill.errors import SpecError
from azdistill.local.pipeline_run import Finished, Options, run_pipeline

SCHEMA = "https://azuremlschemas.azureedge.net/latest/commandJob.schema.json"
COMMAND = "echo '${{inputs.word}}' $COLOUR > '${{outputs.text}}'; cat '${{inputs.data}}' >> '${{outputs.text}}'"


def job(**more: Any) -> Path:
    """A command job's file: it writes a word, a variable and a file into its output."""
    written = {
        "$schema": SCHEMA,
        "command": COMMAND,
        "environment": ENVIRONMENT,
        "inputs": {"word": "it works", "data": {"type": "uri_file", "path": "data.txt"}},
        "outputs": {"text": {"type": "uri_file"}},
        "environment_variables": {"COLOUR": "blue"},
        "compute": "azureml:cpu-cluster",
        "limits": {"timeout": 600},
        **more,
    }
    Path("data.txt").write_text("a line\n")
    Path("job.yml").write_text(yaml.safe_dump(written))
    return Path("job.yml")


def run(file: Path, options: Options | None = None) -> Finished:
    pipeline = aml.load_pipeline(file)
    assert not [problem for problem in aml.check(pipeline) if problem.severity == "error"]
    return run_pipeline(pipeline, options or Options())


def cli(*arguments: str) -> Any:
    return CliRunner().invoke(program, list(arguments))


def test_a_command_job_runs_as_one_step_with_its_inputs_and_outputs(project: Path) -> None:
    finished = run(job(name="my-job"), Options(out=project / "out"))
    assert statuses(finished) == {"main": "completed"}
    assert finished.state.pipeline == "my-job"
    assert (project / "out" / "text").read_text() == "it works blue\na line\n"


def test_an_unchanged_command_job_comes_from_the_cache_and_a_changed_one_does_not() -> None:
    assert statuses(run(job())) == {"main": "completed"}
    assert statuses(run(job())) == {"main": "cached"}
    assert statuses(run(job(environment_variables={"COLOUR": "red"}))) == {"main": "completed"}


def test_set_gives_a_command_jobs_input(project: Path) -> None:
    told = cli("run", str(job()), "--set", "word=other", "--out", "out", "--no-tracking", "--json")
    assert told.exit_code == 0, told.output
    assert (project / "out" / "text").read_text() == "other blue\na line\n"
    refused = cli("run", "job.yml", "--set", "wrod=x", "--no-tracking")
    assert "word" in str(refused.exception)


def test_a_dry_run_tells_of_the_step() -> None:
    told = cli("run", str(job()), "--dry-run", "--json")
    assert told.exit_code == 0, told.output
    assert "main" in json.loads(told.stdout)["steps"]


def test_a_command_job_may_name_the_local_compute_and_a_distribution() -> None:
    file = job(compute="local", distribution={"type": "pytorch", "process_count_per_instance": 2}, command="echo $RANK")
    spread = yaml.safe_load(file.read_text()) | {"outputs": {}}
    file.write_text(yaml.safe_dump(spread))
    finished = run(file)
    assert statuses(finished) == {"main": "completed"}
    assert "[rank 1] 1" in log_of(finished, "main")


def test_what_is_not_honoured_is_refused_by_strict() -> None:
    file = job(services={"ui": {"type": "jupyter_lab"}}, identity={"type": "user_identity"})
    with pytest.raises(SpecError) as caught:
        run(file, Options(strict=True))
    assert {"services", "identity"} <= {word.strip(":") for p in caught.value.problems for word in p.message.split()}


def test_what_is_wrong_in_a_command_job_is_told_with_its_line() -> None:
    file = job(command="echo '${{inputs.wrod}}' > '${{outputs.text}}'", comand="x")
    found = {problem.code: problem for problem in aml.examine(file)[1] if problem.severity == "error"}
    lines = file.read_text().splitlines()
    assert "comand" in found["AZD110"].message
    assert lines[found["AZD110"].line - 1].startswith("comand")
    undefined = next(problem for problem in found.values() if "wrod" in problem.message)
    assert lines[undefined.line - 1].startswith("command:")


def test_a_value_that_would_break_out_of_the_command_is_refused() -> None:
    file = job(inputs={"word": "it's", "data": {"type": "uri_file", "path": "data.txt"}})
    assert any(problem.severity == "error" for problem in aml.examine(file)[1])


def test_a_command_job_is_no_component(project: Path) -> None:
    job()
    Path("pipeline.yml").write_text(yaml.safe_dump({"type": "pipeline", "jobs": {"a": {"component": "./job.yml"}}}))
    assert "AZD114" in {problem.code for problem in aml.examine("pipeline.yml")[1]}


def test_submitting_a_command_job_is_refused_by_name() -> None:
    from azdistill.cloud.submit.prepare import prepare

    with pytest.raises(SpecError) as caught:
        prepare(job())
    assert [problem.code for problem in caught.value.problems] == ["AZD114"]
