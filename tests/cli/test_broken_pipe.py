"""A reader that goes away ends a command without a word; anything else that goes away is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from azdistill.cli import main, runs


def breaking(*_: object, **__: object) -> None:
    """Write to a pipe that nobody reads, which is not stdout."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        os.write(writing, b"a request")
    finally:
        os.close(writing)


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> None:
    """``azdistill runs`` whose server goes away."""
    monkeypatch.setattr(runs.runs_command, "invoke", breaking)


@pytest.mark.usefixtures("verb")
def test_a_service_that_goes_away_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    streams = sys.stdout, sys.stderr
    with pytest.raises(SystemExit) as ended:
        main(["runs"])
    assert ended.value.code == 3
    assert "error[AZD900]: a process or service went away" in capfd.readouterr().err
    assert (sys.stdout, sys.stderr) == streams


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_not(unbuffered: str, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "azdistill", "runs"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, b"")
