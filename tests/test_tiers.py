"""Collecting is cheap, and a test is of the tier that its time says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiers


def test_collecting_the_tests_imports_no_heavy_library(request: pytest.FixtureRequest) -> None:
    assert request.config.stash[tiers.imported_at_collection] == []


def test_each_path_of_the_fast_tier_is_there() -> None:
    assert [name for name in tiers.QUICK if not (tiers.TESTS / name).exists()] == []


BAD = {
    "a heavy library": ("import importlib, sys\n    sys.modules['mlflow'] = sys", "it uses mlflow"),
    "a server": ("import socket\n    socket.create_server(('127.0.0.1', 0)).close()", "it uses a server"),
}


@pytest.mark.parametrize(("body", "message"), BAD.values(), ids=BAD)
def test_a_quick_test_that_uses_more_is_failed_by_its_name(tmp_path: Path, body: str, message: str) -> None:
    (tmp_path / "test_one.py").write_text(f"import pytest\n\n@pytest.mark.quick\ndef test_it():\n    {body}\n")
    options = ["-p", "tiers", "-p", "no:cacheprovider", "-c", os.devnull, "--color=no", "-m", "quick"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "test_one.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tiers.TESTS), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"test_it is no quick test: {message}" in ended.stdout
    assert "1 failed" in ended.stdout
