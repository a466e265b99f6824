"""A task is found by its name: one new file, in a copy of the project where nothing else was edited."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from azdistill import families

ROOT = Path(__file__).parents[1]

#: No how-to page adds a task of this name, so that the tests also pass in a checkout where one was followed.
LIMERICK = '''
"""Limericks: five lines on a theme."""

from common.tasks import Row, Task

ALIASES = ("funny_poem",)
SAMPLE = {"strategy": "direct", "max_tokens": 300}


class Limerick(Task):
    metrics = ("bleu", "chrf")
    headline = "bleu"

    def closed(self, row: Row) -> bool:
        return False


TASK = Limerick()
'''
RECIPE = """
task: Funny-Poem
teacher: {model: tiny, endpoint: "http://127.0.0.1:9/v1"}
student: owner/small
data: {training_data: rows.jsonl, validation_fraction: 0, test_fraction: 0}
"""
PIPELINE = """
type: pipeline
outputs: {{rows: {{type: uri_file}}}}
jobs:
  prepare:
    type: command
    component: {component}
    inputs:
      training_data: {{type: uri_file, path: rows.jsonl}}
      task_type: {task}
      validation_fraction: 0
      test_fraction: 0
    outputs: {{train: "${{{{parent.outputs.rows}}}}"}}
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with a sixth task, its prompt and its sample data: three new files."""
    tree = tmp_path_factory.mktemp("tree")
    for folder in ("azdistill", "components", "environments", "pipelines"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tree / "components" / "common" / "tasks" / "limerick.py").write_text(LIMERICK)
    prompts = tree / "components" / "teacher" / "teacher_inference" / "prompts" / "limerick"
    prompts.mkdir()
    (prompts / "direct.jinja2").write_text("Write a limerick.\n")
    row = {"messages": [{"role": "user", "content": "A cat"}], "reference": "There was a cat"}
    (tree / "pipelines" / "data" / "limerick.jsonl").write_text(json.dumps(row) + "\n")
    return tree


def azdistill(tree: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The tree's own program, run in ``folder``."""
    return subprocess.run(
        [sys.executable, "-m", "azdistill", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(tree), "AZDISTILL_HOME": str(folder / "state")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def folder(tree: Path, tmp_path: Path) -> Path:
    """A folder with rows of the task."""
    shutil.copy(tree / "pipelines" / "data" / "limerick.jsonl", tmp_path / "rows.jsonl")
    return tmp_path


def write_pipeline(tree: Path, folder: Path, task: str) -> str:
    component = tree / "components" / "data" / "prepare_data" / "component.yml"
    (folder / "pipeline.yml").write_text(PIPELINE.format(component=component, task=task))
    return "pipeline.yml"


def test_a_recipe_of_a_task_in_one_file_validates_and_compiles(tree: Path, folder: Path) -> None:
    (folder / "recipe.yml").write_text(RECIPE)
    assert azdistill(tree, folder, "validate", "recipe.yml").returncode == 0
    compiled = azdistill(tree, folder, "compile", "recipe.yml", "-o", "job.yml")
    assert compiled.returncode == 0, compiled.stderr
    assert "task_type: limerick\n" in (folder / "job.yml").read_text()


def test_a_task_in_one_file_runs(tree: Path, folder: Path) -> None:
    pipeline = write_pipeline(tree, folder, "limerick")
    ended = azdistill(tree, folder, "run", pipeline, "--no-tracking", "--json")
    assert ended.returncode == 0, ended.stderr
    (row,) = Path(json.loads(ended.stdout)["outputs"]["rows"]).read_text().splitlines()
    assert json.loads(row)["reference"] == "There was a cat"


def test_a_misspelt_task_is_found_in_pipelines_and_recipes(tree: Path, folder: Path) -> None:
    ended = azdistill(tree, folder, "validate", write_pipeline(tree, folder, "limrick"))
    assert ended.returncode == 2
    assert "AZD133" in ended.stderr + ended.stdout
    assert "did you mean 'limerick'?" in ended.stderr + ended.stdout
    (folder / "recipe.yml").write_text(RECIPE.replace("Funny-Poem", "limrick"))
    ended = azdistill(tree, folder, "validate", "recipe.yml")
    assert ended.returncode == 2
    assert "AZD205" in ended.stderr + ended.stdout
    assert "did you mean 'limerick'?" in ended.stderr + ended.stdout


def test_a_project_of_a_task_in_one_file_begins_with_its_prompts_and_data(tree: Path, folder: Path) -> None:
    ended = azdistill(tree, folder, "init", "new", "--task", "limerick")
    assert ended.returncode == 0, ended.stderr
    recipe = (folder / "new" / "recipe.yml").read_text()
    assert "strategy: direct " in recipe
    assert "max_tokens: 300\n" in recipe
    assert (folder / "new" / "prompts" / "limerick" / "direct.jinja2").is_file()
    assert azdistill(tree, folder, "validate", "new/recipe.yml").returncode == 0


def test_a_misspelt_protocol_is_found_in_pipelines_and_recipes(tree: Path, folder: Path) -> None:
    (folder / "recipe.yml").write_text(RECIPE.replace("endpoint:", "api: Chat-Completions, endpoint:"))
    assert azdistill(tree, folder, "compile", "recipe.yml", "-o", "job.yml").returncode == 0
    text = (folder / "job.yml").read_text()
    assert "api: chat_completions\n" in text
    (folder / "job.yml").write_text(text.replace("api: chat_completions\n", "api: chat_completion\n"))
    (folder / "recipe.yml").write_text(RECIPE.replace("endpoint:", "api: chat_completion, endpoint:"))
    for file, code in (("job.yml", "AZD133"), ("recipe.yml", "AZD205")):
        ended = azdistill(tree, folder, "validate", file)
        assert ended.returncode == 2
        assert code in ended.stderr + ended.stdout
        assert "did you mean 'chat_completions'?" in ended.stderr + ended.stdout


def test_a_hyperparameter_reaches_the_training_by_its_name_in_the_recipe_and_the_component(
    tree: Path, folder: Path
) -> None:
    models = tree / "azdistill" / "recipe" / "models.py"
    component = tree / "components" / "student" / "finetune_student" / "component.yml"
    for path, line, more in (
        (models, "    lora: bool | None = None\n", "    label_smoothing: Fraction | None = None\n"),
        (component, "  lora:\n", "  label_smoothing: {type: number, default: 0.0, min: 0.0, max: 1.0}\n"),
        (component, "  --seed ${{inputs.seed}}\n", "  --label_smoothing ${{inputs.label_smoothing}}\n"),
    ):
        text = path.read_text()
        assert text.count(line) == 1
        path.write_text(text.replace(line, more + line))
    (folder / "recipe.yml").write_text(RECIPE + "hyperparameters: {label_smoothing: 0.1}\n")
    compiled = azdistill(tree, folder, "compile", "recipe.yml", "-o", "job.yml")
    assert compiled.returncode == 0, compiled.stderr
    job = yaml.safe_load((folder / "job.yml").read_text())
    assert job["inputs"]["label_smoothing"] == 0.1
    trained = {name for name, node in job["jobs"].items() if "label_smoothing" in node["inputs"]}
    assert trained == {"finetune", "finetune_gold"}


def test_a_member_is_known_by_its_file_its_aliases_and_its_constants(tmp_path: Path) -> None:
    (tmp_path / "ox.py").write_text('ALIASES = ("bull_ox",)\nLEGS = {"legs": 4}\nBODY = object()\nraise RuntimeError\n')
    (tmp_path / "_shared.py").write_text("")
    (tmp_path / "notes.txt").write_text("")
    assert families.names(tmp_path) == ["ox"]
    for word in ("ox", "OX", "Bull-Ox"):
        found = families.member(tmp_path, word)
        assert found
        assert found.header == {"ALIASES": ("bull_ox",), "LEGS": {"legs": 4}}
    assert families.member(tmp_path, "_shared") is None
    assert families.names(tmp_path / "none") == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "components").glob("*/*/component.yml")), ids=lambda path: path.parent.name
)
def test_the_folder_that_a_component_names_for_an_input_is_there(path: Path) -> None:
    spec = yaml.safe_load(path.read_text())
    named = {tag: folder for tag, folder in spec.get("tags", {}).items() if tag.startswith("azdistill.family.")}
    assert ("task_type" in spec["inputs"]) == ("azdistill.family.task_type" in named)
    for tag, folder in named.items():
        assert tag.removeprefix("azdistill.family.") in spec["inputs"]
        assert families.names(path.parent / folder)
