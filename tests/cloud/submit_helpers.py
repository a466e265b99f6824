"""A small project to submit, and a connection to a workspace on loopback that does not wait between tries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from loopback import Workspace

from azdistill.cloud.workspace.clouds import find
from azdistill.cloud.workspace.connect import Connection

COMPONENT = """\
$schema: https://azuremlschemas.azureedge.net/latest/commandComponent.schema.json
type: command
name: count_rows
version: 1
inputs:
  rows: {type: uri_file}
  factor: {type: integer, default: 2}
  api_key: {type: string, optional: true}
outputs:
  counted: {type: uri_file}
code: .
additional_includes: [../shared_code]
environment:
  image: mcr.microsoft.com/azureml/minimal-py312-inference:latest
command: >-
  python count_rows.py ${{inputs.rows}} ${{inputs.factor}} ${{outputs.counted}}
  $[[--api_key ${{inputs.api_key}}]]
"""

PIPELINE = """\
$schema: https://azuremlschemas.azureedge.net/latest/pipelineJob.schema.json
type: pipeline
display_name: count
experiment_name: counting
settings:
  default_compute: azureml:cpu-cluster
inputs:
  rows:
    type: uri_file
    path: ./rows.jsonl
  factor: 3
outputs:
  counted: {type: uri_file}
jobs:
  first:
    type: command
    component: ./component/component.yml
    inputs: {rows: "${{parent.inputs.rows}}", factor: "${{parent.inputs.factor}}"}
  second:
    type: command
    component: ./component/component.yml
    inputs: {rows: "${{parent.jobs.first.outputs.counted}}"}
    outputs: {counted: "${{parent.outputs.counted}}"}
    limits: {timeout: 600}
"""

PROGRAM = """\
import sys

from shared_code.numbers import times

rows, factor, out = sys.argv[1:4]
with open(out, "w") as file:
    file.write(str(times(len(open(rows).readlines()), int(factor))) + "\\n")
"""


def make_project(folder: Path) -> Path:
    """The pipeline of a project of one component, used twice; its code has an include and ignored files."""
    files = {
        "pyproject.toml": "",
        "pipeline.yml": PIPELINE,
        "rows.jsonl": '{"a": 1}\n{"a": 2}\n',
        "component/component.yml": COMPONENT,
        "component/count_rows.py": PROGRAM,
        "component/.amlignore": "*.bin\nnotes/\n",
        "component/model.bin": "heavy",
        "component/notes/todo.txt": "later",
        "component/sub/data.txt": "kept",
        "component/__pycache__/count_rows.pyc": "compiled",
        "shared_code/__init__.py": "",
        "shared_code/numbers.py": "def times(a, b):\n    return a * b\n",
        "shared_code/cached.bin": "ignored as well",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder / "pipeline.yml"


def connection_to(ws: Workspace, name: str | None = None) -> Connection:
    """A connection with a credential of this process; ``ws.environ()`` has to be on for the SDK to find its cloud."""
    return Connection(ws.subscription_id, ws.group, name or ws.name, find(ws.cloud), ws.credential())


@contextmanager
def impatient() -> Iterator[list[float]]:
    """azure-core waits for nothing between tries; gives the seconds that it would have waited."""
    waited: list[float] = []
    from azure.core.pipeline.transport import HttpTransport

    from azdistill.cloud.submit import submit

    with (
        patch.object(HttpTransport, "sleep", lambda _, seconds: waited.append(seconds)),
        patch.object(submit, "_PAUSE", 0),
    ):
        yield waited
