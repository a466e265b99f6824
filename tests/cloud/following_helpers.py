"""A workspace on loopback in which small pipelines run, and the command line pointed at it, in this process."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from loopback import Workspace

from azdistill.cloud.jobs import recent
from azdistill.cloud.jobs.follow import Job, follow
from azdistill.cloud.workspace.connect import Connection, connect

ROOT = Path(__file__).parents[2]
CANARY = "canary-4f1d"

#: One step's code: what it does is told by its input. It starts and ends as our components do.
WORK = """
import os, sys, time
from pathlib import Path
from common import arguments, tracking
from common.step import BadData, run_step

def main():
    given = arguments.of(__file__)
    made = given.made
    print("says", given.word, flush=True)
    if given.what == "wait":
        print("waiting", flush=True)
        while not Path(given.word).exists():
            time.sleep(0.02)
        print("done, at last", end="", flush=True)
    if given.what == "colour":
        print("\\x1b[31mred\\x1b[0m and a bar: 1%\\r2%\\r3%")
    if given.what == "track":
        tracking.log_metric("loss", 3.0, 1)
        tracking.log_metric("loss", 2.5, 2)
        tracking.log_params({"rate": 0.1})
        tracking.log_headline({"distilled.accuracy": 0.75, "retention": 0.9})
        tracking.set_tag("retention_metric", "accuracy")
    if given.what == "fail":
        raise BadData("row 3 of rows.jsonl is no row")
    if given.what == "raise":
        raise ValueError("boom")
    if given.what != "empty":
        made.mkdir(parents=True, exist_ok=True)
        (made / "inner").mkdir(exist_ok=True)
        (made / "word.txt").write_text(given.word)
        (made / "report.html").write_text("<p>" + given.word)
        (made / "inner" / "large.bin").write_bytes(given.word.encode() * 300_000)

run_step(main)
"""
COMPONENT = """
type: command
name: work
version: "1"
code: ./code
environment: {image: "ubuntu:24.04"}
inputs:
  what: {type: string, default: ok}
  word: {type: string, default: hello}
  after: {type: uri_folder, optional: true}
outputs:
  made: {type: uri_folder}
command: >-
  python work.py --what ${{inputs.what}} --word ${{inputs.word}} --made ${{outputs.made}} $[[--after ${{inputs.after}}]]
"""
PIPELINE = """
type: pipeline
experiment_name: small
inputs: {{word: {word}, second: {second}}}
outputs: {{report: {{type: uri_folder}}}}
settings: {{default_compute: serverless{settings}}}
jobs:
  first:
    type: command
    component: ./work.yml
    inputs: {{what: {first}, word: "${{{{parent.inputs.word}}}}"}}
  second:
    type: command
    component: ./work.yml
    inputs:
      what: "${{{{parent.inputs.second}}}}"
      word: "${{{{parent.inputs.word}}}}"
      after: "${{{{parent.jobs.first.outputs.made}}}}"
    outputs: {{made: "${{{{parent.outputs.report}}}}"}}
"""


@dataclass(frozen=True)
class Answer:
    """What the command line printed and ended with."""

    code: int
    out: str
    err: str


class Cloud:
    """A workspace, a connection to it, and a folder to submit from."""

    def __init__(self, workspace: Workspace, folder: Path) -> None:
        self.workspace, self.folder = workspace, folder
        self.connection: Connection = connect()
        (folder / "code").mkdir(parents=True)
        shutil.copytree(ROOT / "components" / "common", folder / "code" / "common")
        (folder / "code" / "work.py").write_text(WORK)
        (folder / "code" / "component.yml").write_text(COMPONENT)
        (folder / "work.yml").write_text(COMPONENT)
        self._number = 0

    def submit(self, *, first: str = "ok", second: str = "ok", word: str = "hello", settings: str = "") -> str:
        """Submit a pipeline of two steps with the SDK; its name."""
        from azure.ai.ml import load_job

        path = self.folder / "pipeline.yml"
        path.write_text(PIPELINE.format(first=first, second=second, word=word, settings=settings))
        job: Any = load_job(path)
        self._number += 1
        job.name = f"run-{self._number}-of-{self.folder.parent.name}"
        name = str(self.connection.ml_client.jobs.create_or_update(job).name)
        recent.remember(self.connection, name)
        return name

    def finished(self, **options: str) -> Job:
        """A run that has ended."""
        return follow(self.connection, self.submit(**options), sleep=briefly)

    def run(self, *arguments: str) -> Answer:
        """``azdistill ...`` in this process."""
        return run_cli(*arguments)


def run_cli(*arguments: str) -> Answer:
    """``azdistill ...`` in this process."""
    from azdistill.cli import main

    out, err, code = io.StringIO(), io.StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            main(list(arguments))
        except SystemExit as end:
            code = int(end.code or 0)
    return Answer(code, out.getvalue(), err.getvalue())


def briefly(_: float) -> None:
    """Sleep as little as a test can afford."""
    import time

    time.sleep(0.02)


@contextmanager
def a_cloud(folder: Path, **options: Any) -> Iterator[Cloud]:
    """A workspace that this process is pointed at, without a trace of the caller's own environment."""
    saved, here = dict(os.environ), Path.cwd()
    for name in list(os.environ):
        if name.startswith(("AZURE", "ARM_", "MLFLOW", "AZDISTILL_HOME")):
            del os.environ[name]
    try:
        with Workspace(folder / "azure", **options) as workspace:
            (folder / "here").mkdir()
            os.environ.update(workspace.environment())
            os.environ["AZDISTILL_HOME"] = str(folder / "home")
            os.chdir(folder / "here")
            yield Cloud(workspace, folder / "project")
    finally:
        os.chdir(here)
        os.environ.clear()
        os.environ.update(saved)


@pytest.fixture(scope="module")
def shared_cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One workspace for all tests of a module."""
    with a_cloud(tmp_path_factory.mktemp("cloud")) as cloud:
        yield cloud


@pytest.fixture
def cloud(shared_cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """The module's workspace without faults, and a folder and memory of its own for each test."""
    monkeypatch.setenv("AZDISTILL_HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    yield shared_cloud
    shared_cloud.workspace.faults.clear()
