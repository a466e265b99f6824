"""From the command line to the report: `azdistill run` in a folder of its own, against a teacher on loopback."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

for folder in (Path(__file__).parent, Path(__file__).parents[1] / "components"):
    sys.path.append(str(folder))

from program import Program  # noqa: E402


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """The program in an empty folder."""
    return Program(tmp_path)
