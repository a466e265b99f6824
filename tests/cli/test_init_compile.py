"""``azdistill init`` and ``azdistill compile``, as they are typed."""

import json
from pathlib import Path

import pytest
import yaml

from azdistill import aml, compile
from azdistill.cli import main
from azdistill.project import create

TASKS = ("nli", "conversation", "qa", "math", "summarization")


def run(*arguments: str | Path) -> int:
    """The exit code of ``azdistill ARGUMENTS``."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that ``init`` made, with what its recipe needs set."""
    monkeypatch.setenv("TEACHER_ENDPOINT", "http://127.0.0.1:9/v1")
    create(tmp_path / "mine", "math")
    monkeypatch.chdir(tmp_path / "mine")
    return tmp_path / "mine"


@pytest.mark.parametrize("task", TASKS)
def test_init_writes_a_project_that_compiles_for_every_task(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("init", tmp_path / "new", "--task", task) == 0
    assert f"next: cd {tmp_path / 'new'} && azdistill validate recipe.yml" in capsys.readouterr().out
    assert run("validate", tmp_path / "new" / "recipe.yml") == 0
    monkeypatch.setenv("TEACHER_ENDPOINT", "http://127.0.0.1:9/v1")
    built = compile.compile_recipe(tmp_path / "new" / "recipe.yml")
    assert aml.check(built.pipeline()) == []
    strategy = built.mapping["inputs"]["strategy"]
    assert (tmp_path / "new" / "prompts" / task / f"{strategy}.jinja2").is_file()
    gold = task != "conversation"
    assert ("finetune_gold" in built.mapping["jobs"]) is gold


def test_init_makes_a_git_friendly_project_with_its_next_commands(project: Path) -> None:
    assert ".azdistill/" in (project / ".gitignore").read_text().splitlines()
    assert "azdistill run recipe.yml" in (project / "README.md").read_text()
    rows = [json.loads(line) for line in (project / "data" / "math.jsonl").read_text().splitlines()]
    assert len(rows) == 36
    assert all(row["messages"][-1]["role"] == "user" and row["reference"] for row in rows)


@pytest.mark.parametrize("name", ["1", "yes", "a: b", "it's"])
def test_a_folder_of_any_name_gives_yaml_that_reads_back(name: str, tmp_path: Path) -> None:
    create(tmp_path / name, "nli")
    assert yaml.safe_load((tmp_path / name / "recipe.yml").read_text())["name"] == name


def test_init_refuses_a_folder_with_something_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "recipe.yml").write_text("mine\n")
    assert run("init", tmp_path) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yml"]


def test_init_with_force_adds_what_is_missing_and_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.yml").write_text("mine\n")
    assert run("init", tmp_path, "--force") == 0
    assert (tmp_path / "recipe.yml").read_text() == "mine\n"
    assert (tmp_path / "README.md").exists()
    assert f"kept  {tmp_path / 'recipe.yml'}" in capsys.readouterr().out


def test_init_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert run("init", tmp_path / "file") == 2


def test_init_knows_its_tasks(tmp_path: Path) -> None:
    assert run("init", tmp_path / "new", "--task", "poetry") == 2
    assert not (tmp_path / "new").exists()


def test_compile_writes_a_pipeline_and_says_what_it_decided(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compile", "recipe.yml", "-o", "job.yml", "--set", "num_epochs=1", "--set", "temperature=0.7") == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "note: temperature 0.7 means sampling_temperature" in said.err
    assert "next: azdistill run job.yml" in said.err
    written, problems = aml.examine("job.yml")
    assert problems == []
    assert isinstance(written, aml.Pipeline)
    assert yaml.safe_load(Path("job.yml").read_text())["inputs"]["num_epochs"] == 1


def test_compile_to_stdout_writes_yaml_and_nothing_else(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compile", "recipe.yml", "-o", "-") == 0
    mapping = yaml.safe_load(capsys.readouterr().out)
    assert mapping["type"] == "pipeline"
    assert mapping["inputs"]["training_data"]["path"] == "./data/math.jsonl"


def test_compile_reports_every_mistake_and_writes_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = project / "recipe.yml"
    recipe.write_text(
        recipe.read_text().replace("batch_size: 4", "batchsize: 4").replace("method: sft", "method: soft")
    )
    assert run("compile", "recipe.yml", "-o", "job.yml") == 2
    said = capsys.readouterr().err
    assert "did you mean 'batch_size'?" in said
    assert "method: should be 'sft' or 'logits'" in said
    assert not Path("job.yml").exists()


@pytest.mark.parametrize(
    ("pair", "message"),
    [("num_epochs", "name=value"), ("num_epoch=1", "did you mean 'num_epochs'?"), ("num_epochs=many", "at --set")],
)
def test_compile_explains_a_bad_set(project: Path, capsys: pytest.CaptureFixture[str], pair: str, message: str) -> None:
    assert run("compile", "recipe.yml", "-o", "-", "--set", pair) == 2
    assert message in capsys.readouterr().err


def test_a_value_that_would_break_out_of_its_quotes_is_refused(project: Path) -> None:
    assert run("compile", "recipe.yml", "-o", "job.yml", "--set", "evaluation.title=it's") == 2
    assert not Path("job.yml").exists()


def test_compile_overwrites_its_own_file_and_nobody_elses(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compile", "recipe.yml", "-o", "job.yml") == 0
    assert run("compile", "recipe.yml", "-o", "job.yml") == 0
    assert run("compile", "recipe.yml", "-o", "README.md") == 2
    assert "--force overwrites it" in capsys.readouterr().err
    assert (project / "README.md").read_text().startswith("# mine")
    assert run("compile", "recipe.yml", "-o", "README.md", "--force") == 0


def test_a_literal_key_is_refused_and_not_repeated(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compile", "recipe.yml", "-o", "-", "--set", "teacher.api_key=sk-0123456789") == 2
    said = capsys.readouterr()
    assert "sk-0123456789" not in said.out + said.err


def test_a_retirement_is_a_warning_on_stderr(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    there = "teacher_endpoint=https://x.services.ai.azure.com/openai/v1"
    assert run("compile", "recipe.yml", "-o", "-", "--set", "teacher=llama-3.1-405b-instruct", "--set", there) == 0
    said = capsys.readouterr()
    assert "warning[AZD240]: llama-3.1-405b-instruct was retired on 2026-06-13" in said.err
    assert "warning" not in said.out


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("compile", tmp_path / "none.yml", "-o", "-") == 2
    assert "no such file" in capsys.readouterr().err
