"""The steps of each how-to page, followed to the letter in a copy of the project, end with what the page promises.

The copy is of the checkout as it stands. A step that somebody has followed there already is not followed again.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT, Block, blocks

PAGES = sorted((ROOT / "docs/contributing").glob("add-a-*.md"))
COPIED = ("azdistill", "components", "docs", "environments", "pipelines", "tests", "pyproject.toml", "Makefile")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what the pages change, with the programs that they call."""
    ignored = shutil.ignore_patterns("__pycache__", ".pytest_cache")
    for name in COPIED:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, tmp_path / name, **({"ignore": ignored} if source.is_dir() else {}))
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, command in (("python", ""), ("azdistill", " -m azdistill")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}"{command} "$@"\n', encoding="utf-8")
        (programs / name).chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_steps_of_a_page_work_as_written(page: Path, project: Path) -> None:
    steps = list(blocks(page))
    assert steps[-1].info == "sh", "the last block proves that the steps worked"
    for block in steps:
        if block.info == "sh":
            _run(block.text, project)
        else:
            _edit(block, project)


def _edit(block: Block, project: Path) -> None:
    """Write the file that a block names, or replace some of its lines."""
    kind, _, name = block.info.partition(" file=")
    path = project / name
    if kind != "diff":
        is_other = path.exists() and path.read_text(encoding="utf-8") != block.text
        assert not is_other, f"{name} is there already, and is another file than the page's"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
        return
    lines = block.text.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if line[0] in " -")
    new = "".join(line[1:] for line in lines if line[0] in " +")
    text = path.read_text(encoding="utf-8")
    if new in text:
        return
    assert text.count(old) == 1, f"{name} holds these lines {text.count(old)} times:\n{old}"
    path.write_text(text.replace(old, new), encoding="utf-8")


def _run(script: str, project: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{project / 'programs'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(project),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    ended = subprocess.run(
        ["bash", "-euc", script], cwd=project, env=environment, capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, f"{script}\n{ended.stdout}\n{ended.stderr}"
