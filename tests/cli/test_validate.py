"""``azdistill validate``: what is printed, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from azdistill import redact
from azdistill.aml import load_pipeline
from azdistill.aml.checks.secrets import hidden
from azdistill.cli.validate import validate_command
from azdistill.errors import SpecError

COMPONENT = """\
name: train
type: command
environment: azureml:env@latest
inputs:
  rate: {type: number, max: 1}
command: train ${{inputs.rate}}
"""
PIPELINE = """\
type: pipeline
jobs:
  train:
    type: command
    component: ./train.yml
    inputs:
      rate: 2
      ratte: 1
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.yml").write_text(COMPONENT)
    (tmp_path / "pipeline.yml").write_text(PIPELINE)
    yield tmp_path
    redact.forget()


def validate(*arguments: str) -> Result:
    return CliRunner().invoke(validate_command, arguments)


def test_a_problem_is_shown_with_its_line_and_a_caret() -> None:
    result = validate("pipeline.yml")
    assert result.exit_code == 2
    assert result.stdout == (
        "error[AZD134]: input 'rate' of step 'train' is 2, above the largest allowed: 1\n"
        " --> pipeline.yml:7:13\n"
        "  |\n"
        "7 |       rate: 2\n"
        "  |             ^\n"
        "\n"
        "error[AZD130]: step 'train': its component has no input 'ratte'\n"
        " --> pipeline.yml:8:7\n"
        "  |\n"
        "8 |       ratte: 1\n"
        "  |       ^^^^^\n"
        "  = hint: did you mean 'rate'?\n"
        "\n"
        "2 errors\n"
    )


def test_json_is_one_list_for_all_files() -> None:
    result = validate("pipeline.yml", "train.yml", "--json")
    assert result.exit_code == 2
    problems = json.loads(result.stdout)
    assert [problem["code"] for problem in problems] == ["AZD134", "AZD130"]
    assert problems[1] == {
        "code": "AZD130",
        "severity": "error",
        "file": "pipeline.yml",
        "line": 8,
        "column": 7,
        "message": "step 'train': its component has no input 'ratte'",
        "hint": "did you mean 'rate'?",
    }


def test_json_of_nothing_wrong_is_an_empty_list() -> None:
    result = validate("train.yml", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])


def test_what_is_right_is_said(folder: Path) -> None:
    (folder / "pipeline.yml").write_text(PIPELINE.replace("rate: 2\n      ratte: 1", "rate: 0.5"))
    (folder / "environment.yml").write_text("name: gpu\nimage: ubuntu\n")
    result = validate("pipeline.yml", "train.yml", "environment.yml")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "ok: pipeline.yml (1 step)",
        "ok: train.yml (command component train)",
        "ok: environment.yml (environment gpu)",
    ]


def test_a_pipeline_component_is_called_one(folder: Path) -> None:
    (folder / "p.yml").write_text(
        "type: pipeline\ninputs: {x: {type: string}}\njobs:\n"
        "  a: {command: 'echo ${{inputs.x}}', environment: azureml:e@latest, inputs: {x: '${{parent.inputs.x}}'}}\n"
    )
    assert "ok: p.yml (pipeline component, 1 step)" in validate("p.yml").output
    with pytest.raises(SpecError, match="this is a pipeline component, not a pipeline job") as caught:
        load_pipeline("p.yml")
    assert "run as a step of a job" in caught.value.hint


def test_warnings_do_not_fail(folder: Path) -> None:
    (folder / "train.yml").write_text(COMPONENT + "outputs: {model: {type: uri_folder}}\n")
    result = validate("train.yml")
    assert result.exit_code == 0
    assert result.stdout.endswith("ok: train.yml (command component train), 1 warning\n")


def test_a_missing_file_is_a_problem_too() -> None:
    result = validate("nothing.yml", "train.yml")
    assert result.exit_code == 2
    assert "error[AZD101]: no such file: nothing.yml" in result.stdout
    assert "ok: train.yml" in result.stdout


def test_a_problem_in_a_component_is_shown_once_and_there(folder: Path) -> None:
    (folder / "train.yml").write_text(COMPONENT.replace("${{inputs.rate}}", "${{inputs.rat}}"))
    problems = json.loads(validate("pipeline.yml", "train.yml", "--json").stdout)
    assert [(p["code"], p["file"], p["line"]) for p in problems if p["code"] == "AZD150"] == [
        ("AZD150", "train.yml", 6)
    ]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_secret_is_not_printed(folder: Path, as_json: bool) -> None:
    key = "sk-abcdefghijklmnopqrstuvwxyz012345"
    (folder / "pipeline.yml").write_text(f"type: pipeline\ninputs: {{api_key: '{key}'}}\njobs: {{}}\n")
    result = validate("pipeline.yml", *(["--json"] if as_json else []))
    assert result.exit_code == 2
    assert "AZD170" in result.stdout
    assert key[:12] not in result.stdout


@pytest.mark.parametrize(
    "line", ["api_key: hush-hush # {}", "x: {{password: 'hush-hush', {}: 1}}", "note: sk-hush-hushabcdefghijklmno {}"]
)
def test_a_line_is_quoted_without_its_secrets(line: str) -> None:
    shown = hidden(line)
    assert "hush" not in shown
    assert len(shown) == len(line)


@pytest.mark.parametrize(
    "line", ["api_key: ${env:KEY}", "rate: 0.1", "teacher_key: env:TEACHER_KEY", "max_tokens: 512"]
)
def test_a_line_without_secrets_is_quoted_as_it_is(line: str) -> None:
    assert hidden(line) == line


def test_control_characters_do_not_reach_the_terminal(folder: Path) -> None:
    (folder / "train.yml").write_text(COMPONENT + 'descripton: "a\\e]0;title\\a"\n"\\e[31mred": 1\n')
    assert "\x1b" not in validate("train.yml").stdout


def test_a_long_line_is_cut_around_the_place(folder: Path) -> None:
    (folder / "train.yml").write_text(
        COMPONENT.replace("train ${{", f"train {'x' * 300} ${{{{inputs.no}}}} {'y' * 300} ${{{{")
    )
    lines = validate("train.yml").stdout.splitlines()
    assert max(map(len, lines)) < 120
    source, caret = lines[3], lines[4]
    assert source[caret.index("^") : caret.rindex("^") + 1] == "${{inputs.no}}"


def test_no_file_is_a_mistake_of_usage() -> None:
    assert validate().exit_code == 2


def test_a_pipeline_of_ten_steps_is_checked_quickly_and_without_azure(folder: Path) -> None:
    step = "  s{n}: {{type: command, component: ./train.yml, inputs: {{rate: 0.5}}}}\n"
    (folder / "ten.yml").write_text("type: pipeline\njobs:\n" + "".join(step.format(n=n) for n in range(10)))
    code = (
        "import sys\nfrom azdistill.cli import main\n"
        "try:\n    main(['validate', 'ten.yml'])\nexcept SystemExit as done:\n    assert not done.code\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not loaded & {'azure', 'mlflow', 'torch', 'numpy', 'pydantic'}, loaded\n"
    )
    before = os.times()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = os.times()
    assert done.stdout == "ok: ten.yml (10 steps)\n"
    # Processor time, which a busy machine does not stretch as much. The goal is 0.3 s; an import that crept in
    # costs more.
    assert after.children_user + after.children_system - before.children_user - before.children_system < 0.6
