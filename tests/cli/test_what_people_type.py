"""What people type who have not read the manual: it works, or the next step is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from azdistill.cli import main

PIPELINE = """\
type: pipeline
inputs: {word: hello}
jobs:
  say:
    type: command
    command: >-
      echo saying '${{inputs.word}}'; test '${{inputs.word}}' != bad || { echo 'error[BAD]: a bad word'; exit 65; }
    environment: azureml:any@latest
    inputs: {word: '${{parent.inputs.word}}'}
    tags: {azdistill.exit_codes: sysexits}
  more:
    type: command
    command: echo
    environment: azureml:any@latest
    queue_settings: {job_tier: standard}
"""
Type = Callable[..., tuple[int, str, str]]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a pipeline."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AZDISTILL_HOME", raising=False)
    (tmp_path / "pipeline.yml").write_text(PIPELINE)
    (tmp_path / "azdistill.yml").write_text("local: {}\n")
    return tmp_path


@pytest.fixture
def azdistill(project: Path, capsys: pytest.CaptureFixture[str]) -> Type:
    """Exit code, stdout and stderr of a command line."""

    def typed(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, *(["--no-tracking"] if "run" in arguments else [])])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return typed


def test_version_and_help(azdistill: Type) -> None:
    assert azdistill("-V") == azdistill("--version")
    assert azdistill("help") == azdistill("--help")
    assert azdistill("help", "runs", "pull") == azdistill("runs", "pull", "--help")
    assert "did you mean 'validate'?" in azdistill("help", "validat")[2]
    assert azdistill("help", "run", "x")[0] == 2


def test_run_takes_the_only_pipeline_of_a_folder(azdistill: Type, project: Path) -> None:
    for named in ((), (".",), (str(project),)):
        status, _, err = azdistill("run", *named, "--dry-run")
        assert (status, "taking " in err) == (0, True)
    (project / "recipe.yml").write_text("task: qa\nteacher: gpt-4o\n")
    status, _, err = azdistill("run")
    assert status == 2
    assert "error[AZD252]: this folder holds 2 recipes and pipelines" in err
    assert "azdistill run pipeline.yml or azdistill run recipe.yml" in err


def test_run_in_an_empty_folder_names_the_next_step(azdistill: Type, project: Path) -> None:
    (project / "empty").mkdir()
    status, _, err = azdistill("run", "empty")
    assert status == 2
    assert "the folder empty holds no recipe or pipeline" in err
    assert "azdistill init DIR" in err


def test_run_without_a_file_says_what_is_wrong_with_the_only_one(azdistill: Type, project: Path) -> None:
    (project / "pipeline.yml").write_text("type: pipeline\njobs: [\n")
    status, _, err = azdistill("run")
    assert status == 2
    assert "pipeline.yml:3:1" in err


@pytest.mark.parametrize(
    ("file", "hint"),
    [
        ("pipelin.yml", "did you mean 'pipeline.yml'?"),
        ("pipeline.yaml", "did you mean 'pipeline.yml'?"),
        ("zzz", "there are: azdistill.yml, pipeline.yml"),
        ("inenr/pipeline.yml", "there is no folder inenr; did you mean 'inner'?"),
        ("inner/pipelines.yml", "did you mean 'inner/pipeline.yml'?"),
        ("zzz/pipeline.yml", "there is no folder zzz\n"),
    ],
)
@pytest.mark.parametrize("verb", ["run", "validate", "compile"])
def test_a_file_that_is_not_there_names_the_one_that_is(
    azdistill: Type, project: Path, verb: str, file: str, hint: str
) -> None:
    (project / "inner").mkdir()
    (project / "inner" / "pipeline.yml").write_text(PIPELINE)
    status, out, err = azdistill(verb, file, *(["-o", "-"] if verb == "compile" else []))
    assert status == 2
    assert f"hint: {hint}" in out + err


def test_a_data_file_of_a_recipe_that_is_not_there_names_the_one_that_is(azdistill: Type, project: Path) -> None:
    azdistill("init", "made")
    recipe = project / "made" / "recipe.yml"
    recipe.write_text(recipe.read_text().replace("data/nli.jsonl", "data/nil.jsonl"))
    status, out, _ = azdistill("validate", "made/recipe.yml")
    assert status == 2
    assert "hint: did you mean 'nli.jsonl'?" in out


def test_a_failure_is_told_once(azdistill: Type, project: Path) -> None:
    status, out, err = azdistill("run", "--set", "word=bad")
    assert status == 2
    assert (out + err).count("the command ended with exit code 65") == 1
    assert out.count("  error[BAD]: a bad word\n") == 1
    assert err.splitlines()[-1] == "error[AZD370]: step 'say': the command ended with exit code 65"


@pytest.mark.parametrize("before", [True, False])
def test_quiet_tells_how_it_ended_and_nothing_else(azdistill: Type, before: bool) -> None:
    def quietly(*more: str) -> tuple[int, str, str]:
        return azdistill(*(("-q", "run", *more) if before else ("run", "-q", *more)))

    status, out, err = azdistill("run", "--no-cache")
    assert "note: " in out
    status, out, err = quietly()
    assert (status, out.count("\n"), err) == (0, 1, "")
    assert ": completed in " in out
    status, out, err = quietly("--set", "word=bad")
    assert status == 2
    assert "saying" not in out
    assert "error[BAD]: a bad word" in out
    assert err.startswith("error[AZD370]")


def test_runs_are_chosen_by_state_name_and_time(azdistill: Type, project: Path) -> None:
    azdistill("run")
    azdistill("run", "--set", "word=bad")
    (project / "other.yml").write_text(PIPELINE + "name: another\nexperiment_name: second\n")
    azdistill("run", "other.yml")

    def listed(*options: str) -> list[str]:
        return [f"{run['pipeline']} {run['status']}" for run in json.loads(azdistill("runs", "--json", *options)[1])]

    assert listed() == ["another completed", "pipeline failed", "pipeline completed"]
    assert listed("--status", "failed") == ["pipeline failed"]
    assert listed("--status", "failed", "--status", "completed", "--limit", "1") == ["another completed"]
    assert listed("--name", "PIPE") == ["pipeline failed", "pipeline completed"]
    assert listed("--experiment", "second") == ["another completed"]
    assert listed("--since", "1h") == listed()
    assert listed("--since", "2999-01-01") == []
    assert azdistill("runs", "--name", "nothing like it")[1] == "no run fits\n"
    assert azdistill("runs", "--status", "faild")[0] == 2


def test_the_list_says_why_a_run_failed(azdistill: Type) -> None:
    azdistill("run", "--set", "word=bad")
    assert "say: error[BAD]: a bad word" in azdistill("runs")[1]
    (run,) = json.loads(azdistill("runs", "--json")[1])
    assert run["error"] == "say: error[BAD]: a bad word"
