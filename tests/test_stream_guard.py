"""A test that damages the process's streams fails by its name, and no other does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import io, os, sys
import pytest

def test_closes():
    sys.stderr.close()

def test_drops_a_wrapper():
    io.TextIOWrapper(sys.stdout.buffer)

def test_swaps():
    sys.stdout = io.StringIO()

def test_turns_a_descriptor_elsewhere():
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

@pytest.fixture
def closing():
    yield
    sys.stdout.close()

def test_closes_at_its_end(closing):
    pass

def test_is_innocent(capsys):
    print("printed")
    assert capsys.readouterr().out == "printed\\n"

def test_is_innocent_of_what_it_puts_back(capfd, monkeypatch):
    os.write(1, b"written")
    monkeypatch.setattr("sys.stdout", io.StringIO())
    monkeypatch.setattr("sys.stderr", io.StringIO())
    assert capfd.readouterr().out == "written"
"""


@pytest.mark.parametrize("capture", ["fd", "sys"])
def test_whoever_damages_a_stream_is_named_and_nobody_else(capture: str, tmp_path: Path) -> None:
    (tmp_path / "test_streams.py").write_text(TESTS)
    options = ["-p", "stream_guard", "-p", "no:cacheprovider", f"--capture={capture}", "-rEf", "--color=no"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "-c", os.devnull, "test_streams.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    named = re.findall(r"^(?:FAILED|ERROR) test_streams.py::test_(\w+)", ended.stdout, re.MULTILINE)
    assert sorted(named) == [
        "closes",
        "closes_at_its_end",
        "drops_a_wrapper",
        "swaps",
        "turns_a_descriptor_elsewhere",
    ], ended.stdout + ended.stderr
    assert 'test_streams.py", line 6, in test_closes' in ended.stdout
