"""What the repository holds: sources, and nothing that running them has left."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


def test_nothing_is_tracked_that_is_ignored() -> None:
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("no git repository")
    # What this project ignores, and not what its reader does everywhere.
    command = ["git", "-c", "core.excludesFile=", "ls-files", "--cached", "--ignored", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip(f"git does not answer: {listed.stderr.strip()}")
    assert listed.stdout.splitlines() == []


def test_the_package_carries_its_types() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "Typing :: Typed" in project["project"]["classifiers"]
    assert (ROOT / "azdistill/py.typed").read_bytes() == b""


def test_the_workflow_tests_every_python_that_the_package_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    named = re.findall(r"Python :: (3\.\d+)", " ".join(project["project"]["classifiers"]))
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == named


@pytest.mark.parametrize("name", [".github/workflows/ci.yml", "CONTRIBUTING.md", "README.md", ".ci/run"])
def test_every_target_that_a_page_or_workflow_names_is_in_the_makefile(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^|[`(;] *|run: *)make ([a-z]+)", text, re.MULTILINE))
    assert named
    assert named <= targets


def test_the_hooks_run_what_make_check_runs() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    check = _recipe("check")
    for hook in config["repos"][0]["hooks"]:
        program = hook["entry"].replace(" --force-exclude", "").replace("ruff format", "ruff format --check")
        assert program in check


@pytest.mark.skipif(not shutil.which("make"), reason="no make")
@pytest.mark.parametrize(
    ("settings", "command"),
    [
        (["UV="], ".venv/bin/python -m pip install --disable-pip-version-check --quiet"),
        (["UV=/opt/uv"], "/opt/uv pip install --python .venv/bin/python --quiet"),
        (
            ["UV=/opt/uv", "PIP_INDEX_URL=https://mirror/simple", "PIP_FIND_LINKS=/wheels"],
            '/opt/uv pip install --python .venv/bin/python --default-index "https://mirror/simple" '
            '--find-links "/wheels" --quiet',
        ),
    ],
)
def test_uv_installs_where_it_is_and_pip_elsewhere(settings: list[str], command: str) -> None:
    assert f"{command} --constraint requirements.lock --editable" in _recipe("install", *settings)


def _recipe(target: str, *settings: str) -> str:
    """The commands that ``make target`` would run, one blank between their words."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV", "MAKE"))}
    command = ["make", "--dry-run", "--always-make", target, *settings]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=environment)
    return " ".join(listed.stdout.split())


@pytest.mark.parametrize("folder", ["azdistill", "components"])
def test_no_file_has_more_lines_than_a_reader_holds(folder: str) -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert {str(path.relative_to(ROOT)): count for path, count in lengths.items() if count > 400} == {}
