"""Nothing goes that people rely on: error codes, verbs, options, recipe keys, variables, components, files of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from surface import PROMISED, files_of_a_run, missing, surface

PIPELINE = """
type: pipeline
outputs: {copy: {type: uri_folder}}
jobs:
  make:
    type: command
    command: echo 3 > '${{outputs.made}}/number.txt'
    environment: azureml:any:1
    outputs: {made: {type: uri_folder}}
  copy:
    type: command
    command: cp '${{inputs.made}}/number.txt' '${{outputs.copy}}/number.txt'
    environment: azureml:any:1
    inputs: {made: '${{parent.jobs.make.outputs.made}}'}
    outputs: {copy: '${{parent.outputs.copy}}'}
"""


@pytest.fixture(scope="module")
def promised() -> dict[str, object]:
    document: dict[str, object] = json.loads(PROMISED.read_text(encoding="utf-8"))
    return document


def test_nothing_that_was_promised_is_gone(promised: dict[str, object]) -> None:
    assert missing({part: promises for part, promises in promised.items() if part != "files_of_a_run"}, surface()) == []


def test_a_run_leaves_the_files_that_it_always_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, promised: dict[str, object]
) -> None:
    from azdistill.cli import cli

    monkeypatch.chdir(tmp_path)
    (tmp_path / "pipeline.yml").write_text(PIPELINE, encoding="utf-8")
    monkeypatch.setenv("AZDISTILL_HOME", str(tmp_path / "state"))
    cli.main(["run", "pipeline.yml", "--no-tracking"], standalone_mode=False)
    assert missing(promised["files_of_a_run"], files_of_a_run(tmp_path / "state")) == []


@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        ({"a": ["x", "y"]}, {"a": ["y"]}, ["/a/x"]),
        ({"a": {"type": "string"}}, {"a": {"type": "integer"}}, ["/a/type: 'string' is 'integer' now"]),
        ({"a": {"enum": ["x"]}}, {"a": {}}, []),
        ({"a": 1}, {"a": 1, "b": 2}, []),
        ({"a": 1}, {}, ["/a"]),
    ],
)
def test_what_is_lost_is_named(before: object, after: object, lost: list[str]) -> None:
    assert missing(before, after) == lost
