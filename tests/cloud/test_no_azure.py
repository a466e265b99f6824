"""Verbs that do not need Azure never import it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from submit_helpers import make_project

PIPELINE = Path(__file__).parents[2] / "pipelines" / "evaluate.yml"


@pytest.mark.parametrize(
    "arguments",
    [
        ("validate", str(PIPELINE)),
        ("runs",),
        ("cache", "ls"),
        ("run", "pipeline.yml", "--no-tracking", "--no-cache"),
    ],
)
def test_azure_is_not_imported(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    make_project(tmp_path)
    code = (
        "import json, sys\n"
        "from azdistill.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as ended:\n    status = ended.code\n"
        "names = sorted({name for name in sys.modules if name.split('.')[0] == 'azure'})\n"
        "print(json.dumps([status, names]))"
    )
    environment = {**os.environ, "AZDISTILL_HOME": str(tmp_path / "state")}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    status, names = json.loads(done.stdout.splitlines()[-1])
    assert (status or 0) == 0, done.stderr
    assert names == []
