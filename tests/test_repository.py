"""What the repository holds: sources, and nothing that running them has left."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

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
