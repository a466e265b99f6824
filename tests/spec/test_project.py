"""What a spec may take files from: its project, and nothing around it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from azdistill import aml
from azdistill.snapshot import root_of

STEP = "type: pipeline\njobs:\n  a: {{command: x, environment: {environment}{more}}}\n"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """``tmp_path`` with a pipeline's folder, and a folder beside it that is not of the project."""
    (tmp_path / "project" / "jobs").mkdir(parents=True)
    (tmp_path / "project" / "src").mkdir()
    (tmp_path / "outside").mkdir()
    for name in ("Dockerfile", "conda.yml", "run.py"):
        (tmp_path / "outside" / name).write_text("x")
    (tmp_path / "outside" / "component.yml").write_text(
        "name: c\ntype: command\nenvironment: azureml:e:1\ncommand: x\n"
    )
    return tmp_path / "outside"


def codes(folder: Path, environment: str = "'azureml:e:1'", more: str = "", text: str = "") -> list[str]:
    (folder / "project" / "jobs" / "p.yml").write_text(text or STEP.format(environment=environment, more=more))
    return [problem.code for problem in aml.examine(folder / "project" / "jobs" / "p.yml")[1]]


@pytest.mark.parametrize(
    ("environment", "more"),
    [
        ("'azureml:e:1'", ", code: ../../outside"),
        ("'azureml:e:1'", ", code: /etc"),
        ("'azureml:e:1'", ", code: ../../outside/run.py"),
        ("'azureml:e:1'", ", additional_includes: [../../outside]"),
        ("'azureml:e:1'", ", additional_includes: [../../outside.zip]"),
        ("{build: {path: ../../outside}}", ""),
        ("{build: {path: ../src, dockerfile_path: ../../outside/Dockerfile}}", ""),
        ("{image: x, conda_file: ../../outside/conda.yml}", ""),
    ],
)
def test_what_lies_outside_is_refused(environment: str, more: str, outside: Path) -> None:
    (outside.parent / "project" / ".git").mkdir()
    assert codes(outside.parent, environment, more) == ["AZD177"]


def test_a_component_outside_is_refused(outside: Path) -> None:
    text = "type: pipeline\njobs: {a: {component: ../../outside/component.yml}}\n"
    (outside.parent / "project" / "azdistill.yml").write_text("")
    assert codes(outside.parent, text=text) == ["AZD177"]


def test_a_link_is_what_it_leads_to(outside: Path) -> None:
    (outside.parent / "project" / "jobs" / "src").symlink_to(outside)
    assert codes(outside.parent, more=", code: ./src") == ["AZD177"]


@pytest.mark.parametrize("mark", [".git", "azdistill.yml", "pyproject.toml"])
def test_a_folder_beside_is_of_the_same_project(mark: str, outside: Path) -> None:
    (outside.parent / "project" / mark).write_text("")
    assert codes(outside.parent, more=", code: ../src") == []


def severities(folder: Path, code: str) -> list[str]:
    codes(folder, more=f", code: '{code}'")
    return [problem.severity for problem in aml.examine(folder / "project" / "jobs" / "p.yml")[1]]


def test_without_a_mark_what_lies_near_is_a_warning(outside: Path) -> None:
    assert severities(outside.parent, "../src") == ["warning"]
    assert severities(outside.parent, "../../outside") == ["warning"]
    (outside.parent / "project" / "jobs" / "src").mkdir()
    assert severities(outside.parent, "./src") == []


def test_without_a_mark_a_place_far_away_and_a_link_are_refused(outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = outside.parent / "project" / "jobs"
    assert severities(outside.parent, os.path.relpath("/etc", jobs)) == ["error"]
    assert severities(outside.parent, str(outside)) == ["error"]
    (jobs / "linked").symlink_to(outside)
    assert severities(outside.parent, "./linked") == ["error"]
    monkeypatch.setenv("HOME", str(outside.parent / "project"))
    assert severities(outside.parent, "../src") == ["error"]


def test_without_a_mark_components_share_the_project_of_their_pipeline(outside: Path) -> None:
    jobs = outside.parent / "project" / "jobs"
    (jobs / "train").mkdir()
    (jobs / "common").mkdir()
    (jobs / "train" / "c.yml").write_text(
        "name: c\ntype: command\nenvironment: azureml:e:1\ncommand: x\ncode: .\nadditional_includes: [../common]\n"
    )
    assert codes(outside.parent, text="type: pipeline\njobs: {a: {component: ./train/c.yml}}\n") == []


def test_the_components_of_azdistill_are_of_every_project(outside: Path) -> None:
    ours = Path(__file__).parents[2] / "components" / "operations" / "probe" / "component.yml"
    text = f"type: pipeline\njobs: {{a: {{component: {ours}}}}}\n"
    assert "AZD177" not in codes(outside.parent, text=text)


def test_data_may_lie_anywhere(outside: Path) -> None:
    assert codes(outside.parent, more=", inputs: {d: {type: uri_folder, path: ../../outside}}") == []


def test_a_repository_goes_before_what_marks_a_folder_in_it(outside: Path) -> None:
    project = outside.parent / "project"
    (project / ".git").mkdir()
    (project / "jobs" / "azdistill.yml").write_text("")
    assert root_of(project / "jobs") == project


@pytest.mark.parametrize(
    "named", ["code: ./code", "additional_includes: [./code]", "additional_includes: [./code.zip]"]
)
def test_a_link_in_code_that_leaves_is_told_where_the_code_is_named(named: str, tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "code").mkdir(parents=True)
    (project / "pyproject.toml").touch()
    (project / "code" / "link").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "secret.txt").touch()
    (project / "c.yml").write_text(f"name: c\ntype: command\ncommand: run\nenvironment: azureml:e@latest\n{named}\n")
    (problem,) = aml.examine(project / "c.yml")[1]
    assert (problem.code, problem.line, problem.column) == ("AZD177", 5, named.index("./code") + 1)
    (project / "code" / ".amlignore").write_text("link\n")
    if named.startswith("code"):
        assert aml.examine(project / "c.yml")[1] == []


def test_a_link_in_code_that_leads_to_itself_is_told(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "loop").symlink_to("loop")
    (tmp_path / "c.yml").write_text(
        "name: c\ntype: command\ncommand: run\nenvironment: azureml:e@latest\ncode: ./code\n"
    )
    (problem,) = aml.examine(tmp_path / "c.yml")[1]
    assert (problem.code, problem.line) == ("AZD177", 5)
    assert "leads to nothing" in problem.message
