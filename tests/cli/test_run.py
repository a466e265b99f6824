"""``azdistill run`` as a user types it."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import validate

from azdistill.cli import cli
from azdistill.cli.runs import _change
from azdistill.errors import UserError

SCHEMA = {
    "type": "object",
    "required": ["run_id", "status", "seconds", "steps", "outputs"],
    "additionalProperties": False,
    "properties": {
        "run_id": {"type": ["string", "null"]},
        "status": {"enum": ["completed", "failed", "canceled"]},
        "seconds": {"type": "number"},
        "error": {"type": "string"},
        "outputs": {"type": "object", "additionalProperties": {"type": "string"}},
        "withheld": {"type": "object", "additionalProperties": {"type": "string"}},
        "steps": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "required": ["status", "seconds", "cached", "attempts", "log"],
                "additionalProperties": False,
                "properties": {
                    "status": {"enum": ["completed", "cached", "failed", "canceled", "skipped"]},
                    "seconds": {"type": "number"},
                    "cached": {"type": "boolean"},
                    "attempts": {"type": "integer"},
                    "log": {"type": ["string", "null"]},
                    "reason": {"enum": ["branch", "failure"]},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a pipeline of one step that says and writes ``word``, and another that fails where it is 'bad'."""
    folder = tmp_path / "with space ü"
    folder.mkdir()
    command = "echo saying '${{inputs.word}}' && echo '${{inputs.word}}' > '${{outputs.said}}'"
    check = "test '${{inputs.word}}' != bad || { echo 'error[BAD]: bad word' >&2; echo 'rows.jsonl:3' >&2; exit 65; }"
    common = {"type": "command", "environment": "azureml:any@latest", "inputs": {"word": "${{parent.inputs.word}}"}}
    said = {"type": "uri_file", "path": "${{parent.outputs.said}}"}
    pipeline = {
        "type": "pipeline",
        "inputs": {"word": "hello"},
        "outputs": {"said": {"type": "uri_file"}},
        "jobs": {
            "say": {**common, "command": command, "outputs": {"said": said}},
            "check": {**common, "command": check, "tags": {"azdistill.exit_codes": "sysexits"}},
        },
    }
    (folder / "pipeline.yml").write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    return folder


def azdistill(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program in ``project``, without tracking."""
    command = [sys.executable, "-m", "azdistill", *arguments, *(["--no-tracking"] if arguments[0] == "run" else [])]
    variables = {name: value for name, value in os.environ.items() if name != "AZDISTILL_HOME"} | environment
    return subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True, timeout=60)


def answer(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one object on stdout."""
    found: dict[str, Any] = json.loads(done.stdout)
    validate(found, SCHEMA)
    return found


def test_a_run_prints_each_change_and_a_summary(project: Path) -> None:
    done = azdistill(project, "run", "pipeline.yml", "--out", "out dir")
    assert done.returncode == 0, done.stderr
    assert "say: started" in done.stdout
    assert "say | saying hello" in done.stdout
    assert f"said: {project}/out dir/said" in done.stdout
    assert (project / "out dir" / "said").read_text() == "hello\n"


def test_json_is_one_object_and_everything_else_goes_to_stderr(project: Path) -> None:
    first = azdistill(project, "run", "pipeline.yml", "--out", "out", "--json")
    found = answer(first)
    assert found["status"] == "completed"
    assert {name: step["cached"] for name, step in found["steps"].items()} == {"say": False, "check": False}
    assert Path(found["outputs"]["said"]).read_text() == "hello\n"
    assert "say | saying hello" in first.stderr
    again = answer(azdistill(project, "run", "pipeline.yml", "--out", "out", "--json"))
    assert {name: step["cached"] for name, step in again["steps"].items()} == {"say": True, "check": True}
    assert again["run_id"] != found["run_id"]


def test_a_failure_shows_what_went_wrong_and_where_the_log_is(project: Path) -> None:
    done = azdistill(project, "run", "pipeline.yml", "--set", "word=bad")
    assert done.returncode == 2
    assert "step 'check' failed" in done.stdout
    assert "error[BAD]: bad word\n  rows.jsonl:3" in done.stdout
    log = next(line.split("log: ")[1] for line in done.stdout.splitlines() if "log: " in line)
    assert "bad word" in Path(log).read_text()
    assert "Traceback" not in done.stdout + done.stderr


def test_json_is_printed_on_failure_too(project: Path) -> None:
    done = azdistill(project, "run", "pipeline.yml", "--set", "word=bad", "--json")
    assert done.returncode == 2
    found = answer(done)
    assert found["status"] == "failed"
    assert found["steps"]["check"]["status"] == "failed"
    assert "exit code 65" in found["error"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "wrod=x"], "did you mean 'word'?"),
        (["--set", "word"], "not of the form name=value"),
        (["--env", "NOT_SET_AT_ALL"], "NOT_SET_AT_ALL is not set"),
    ],
)
def test_wrong_options_are_the_users_error(project: Path, arguments: list[str], said: str) -> None:
    done = azdistill(project, "run", "pipeline.yml", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    failed = azdistill(project, "run", "pipeline.yml", *arguments, "--json")
    assert said in answer(failed)["error"]


def test_a_missing_interpreter_is_this_machines_fault(project: Path) -> None:
    assert azdistill(project, "run", "pipeline.yml", "--python", "/no/python").returncode == 3


def test_everything_wrong_is_said_at_once(project: Path) -> None:
    pipeline = yaml.safe_load((project / "pipeline.yml").read_text())
    pipeline["jobs"]["say"]["inputs"]["word"] = "${{parent.inputs.wrod}}"
    pipeline["jobs"]["check"]["command"] = "echo ${{inputs.wort}}"
    (project / "pipeline.yml").write_text(yaml.safe_dump(pipeline))
    done = azdistill(project, "run", "pipeline.yml")
    assert done.returncode == 2
    assert "wrod" in done.stderr
    assert "wort" in done.stderr
    assert not (project / ".azdistill").exists()


def test_what_azdistill_did_not_make_is_never_overwritten(project: Path) -> None:
    (project / "out").mkdir()
    (project / "out" / "said").write_text("mine")
    done = azdistill(project, "run", "pipeline.yml", "--out", "out")
    assert done.returncode == 2
    assert (project / "out" / "said").read_text() == "mine"
    assert not (project / ".azdistill").exists()


def test_the_state_folder_can_lie_elsewhere(project: Path, tmp_path: Path) -> None:
    done = azdistill(project, "run", "pipeline.yml", AZDISTILL_HOME=str(tmp_path / "state"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "state" / "runs").is_dir()
    assert not (project / ".azdistill").exists()


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_variable_is_passed_by_its_name_and_a_value_is_not_repeated(project: Path, more: list[str]) -> None:
    given = ["run", str(project / "pipeline.yml"), "--env", "KEY=abc123secretXYZ", *more]
    done = CliRunner().invoke(cli, given)
    assert isinstance(done.exception, UserError)
    assert str(done.exception).startswith("error[AZD330]: --env takes the name of a variable, not its value")
    assert "abc123secretXYZ" not in done.output + str(done.exception)


def test_a_secret_is_in_nothing_that_is_written_or_printed(project: Path) -> None:
    secret = "c4n4ry/päss+word=123456"
    encoded = [secret, base64.b64encode(secret.encode()).decode(), quote(secret, safe=""), quote(secret)]
    pipeline = yaml.safe_load((project / "pipeline.yml").read_text())
    quoted = """python -c 'import os, urllib.parse as u; print(u.quote(os.environ["API_KEY"], safe=""))'"""
    record = """printf '{"kind":"param","name":"k","value":"%s"}\\n' "$API_KEY" >> "$AZDISTILL_METRICS_FILE" """
    says = f'printf "%s\\n" "$API_KEY"; printf %s "$API_KEY" | base64; {quoted}; {record}'
    pipeline["jobs"]["check"]["command"] = f"{says}; echo error: $API_KEY '${{{{inputs.key}}}}' >&2; exit 1"
    pipeline["jobs"]["check"]["inputs"]["key"] = "env:API_KEY"
    (project / "pipeline.yml").write_text(yaml.safe_dump(pipeline))
    done = azdistill(project, "run", "pipeline.yml", "--json", API_KEY=secret)
    assert done.returncode == 1
    assert "***" in done.stderr
    texts = [done.stdout, done.stderr]
    texts += [path.read_bytes().decode("utf-8", "replace") for path in project.rglob("*") if path.is_file()]
    assert len(texts) > 8
    assert not [(form, text) for form in encoded for text in texts if form in text]


def test_runs_are_listed_and_compared(project: Path) -> None:
    record = '{"kind":"metric","name":"accuracy","value":0.%s}\\n'
    metric = f"""printf '{record}' '${{{{inputs.digit}}}}' >> "$AZDISTILL_METRICS_FILE" """
    measure = {"type": "command", "environment": "azureml:any@latest", "command": metric}
    measure |= {"inputs": {"digit": "${{parent.inputs.digit}}"}, "tags": {"azdistill.headline": "true"}}
    pipeline = {"type": "pipeline", "name": "measured", "inputs": {"digit": 5}, "jobs": {"measure": measure}}
    (project / "measured.yml").write_text(yaml.safe_dump(pipeline))
    ids = [
        answer(azdistill(project, "run", "measured.yml", "--set", f"digit={d}", "--json"))["run_id"] for d in (5, 6, 6)
    ]
    listed = json.loads(azdistill(project, "runs", "--json").stdout)
    assert [run["run_id"] for run in listed] == ids[::-1]
    # A cached step's metrics are the run's own.
    assert [run["metrics"] for run in listed] == [{"accuracy": 0.6}, {"accuracy": 0.6}, {"accuracy": 0.5}]
    assert "accuracy 0.6" in azdistill(project, "runs").stdout
    compared = json.loads(azdistill(project, "compare", ids[0], "latest", "--json").stdout)
    assert compared["params"] == [{"name": "digit", "a": "5", "b": "6"}]
    assert compared["metrics"] == [{"name": "accuracy", "a": 0.5, "b": 0.6, "change": pytest.approx(0.2)}]
    assert "+20.0%" in azdistill(project, "compare", ids[0], "latest").stdout


@pytest.mark.parametrize(
    ("name", "change", "shown"),
    [
        ("accuracy", 0.2, "+20.0%"),
        ("accuracy", -0.5, "-50.0%"),
        ("accuracy", 18.0, "> +999%"),
        ("accuracy", 0.0, ""),
        ("accuracy", None, ""),
        ("p_value_distilled_vs_teacher", 1e100, ""),
    ],
)
def test_a_change_is_shown_where_it_says_something(name: str, change: float | None, shown: str) -> None:
    assert _change(name, change) == shown


def test_a_run_that_is_not_there_is_the_users_error(project: Path) -> None:
    assert "no runs here yet" in azdistill(project, "compare", "a", "b").stderr
    azdistill(project, "run", "pipeline.yml")
    azdistill(project, "run", "pipeline.yml")
    done = azdistill(project, "compare", "latest", "pipeline_")
    assert done.returncode == 2
    assert "several runs begin with" in done.stderr


def choice(project: Path, flag: bool) -> None:
    """A pipeline that gives out ``big`` where ``flag`` is true."""
    common = {"type": "command", "environment": "azureml:any@latest"}
    jobs = {
        "gate": {"type": "if_else", "condition": flag, "true_block": "${{parent.jobs.train}}"},
        "train": {**common, "command": "echo > '${{outputs.o}}'", "outputs": {"o": "${{parent.outputs.big}}"}},
        "last": {**common, "command": "exit 3"},
        "after": {**common, "command": "true", "inputs": {"x": "${{parent.jobs.train.outputs.o}}"}},
    }
    pipeline = {"type": "pipeline", "outputs": {"big": {"type": "uri_file"}}, "jobs": jobs}
    (project / "choice.yml").write_text(yaml.safe_dump(pipeline))


def test_what_a_branch_leaves_out_is_said_in_a_line_each(project: Path) -> None:
    choice(project, False)
    text = (project / "choice.yml").read_text().replace("exit 3", "exit 0")
    (project / "choice.yml").write_text(text)
    done = azdistill(project, "run", "choice.yml", "--out", "out")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "train: skipped: 'gate' is false" in lines
    assert "  after  skipped    it needs 'train', which was skipped" in lines
    assert "big: not written: step 'train' was skipped ('gate' is false)" in lines
    found = answer(azdistill(project, "run", "choice.yml", "--json"))
    assert (found["status"], found["outputs"]) == ("completed", {})
    assert found["withheld"] == {"big": "step 'train' was skipped ('gate' is false)"}
    assert (found["steps"]["train"]["reason"], found["steps"]["train"]["detail"]) == ("branch", "'gate' is false")


def test_json_tells_a_branch_from_a_failure(project: Path) -> None:
    choice(project, False)
    found = answer(azdistill(project, "run", "choice.yml", "--json"))
    assert found["status"] == "failed"
    assert {name: step.get("reason") for name, step in found["steps"].items()} == {
        **{"train": "branch", "after": "branch", "last": None},
    }


def test_a_dry_run_counts_what_would_be_skipped(project: Path) -> None:
    choice(project, False)
    done = azdistill(project, "run", "choice.yml", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "train  skip    'gate' is false" in done.stdout
    assert "dry run: 1 would run, 0 would be reused, 2 skipped; nothing was started" in done.stdout


SPARK = "type: spark\ncode: .\nentry: {file: x.py}\n"


def test_kinds_that_run_on_azure_only_are_valid_and_refused_here(project: Path) -> None:
    spark = "{type: spark, code: ., entry: {file: x.py}}"
    say = "{type: command, command: echo hello, environment: 'azureml:e:1'}"
    (project / "mixed.yml").write_text(f"type: pipeline\njobs:\n  count: {spark}\n  learn: {spark}\n  say: {say}\n")
    validated = azdistill(project, "validate", "mixed.yml")
    assert validated.returncode == 0
    assert validated.stdout.count("warning[AZD194]") == 2
    assert "ok: mixed.yml (3 steps), 2 warnings" in validated.stdout
    done = azdistill(project, "run", "mixed.yml")
    assert done.returncode == 2
    for name, line in (("count", 3), ("learn", 4)):
        assert f"step '{name}': spark runs on Azure only" in done.stderr
        assert f"mixed.yml:{line}:17" in done.stderr
    assert azdistill(project, "run", "mixed.yml", "--only", "say").returncode == 0


def test_a_job_that_runs_on_azure_only_is_valid_by_itself(project: Path) -> None:
    (project / "spark.yml").write_text(SPARK)
    validated = azdistill(project, "validate", "spark.yml")
    assert validated.returncode == 0
    assert "ok: spark.yml (spark), 1 warning" in validated.stdout
    for verb in (("run", "spark.yml"), ("submit", "spark.yml", "--yes")):
        done = azdistill(project, *verb)
        assert done.returncode == 2
        assert "error[AZD114]: spark runs on Azure only" in done.stderr
        assert "spark.yml:1:7" in done.stderr
