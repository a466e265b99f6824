"""Runs of a workspace in the local store: beside local runs, once, with everything that was logged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from following_helpers import Answer, Cloud, run_cli

from azdistill.cli.runs_filter import moment_since
from azdistill.cloud.jobs.follow import Job
from azdistill.errors import UserError


@pytest.fixture(scope="module")
def tracked(shared_cloud: Cloud) -> Job:
    """A run whose second step logs as compare does."""
    return shared_cloud.finished(second="track", word="pulled")


@pytest.fixture(scope="module")
def pulled(
    shared_cloud: Cloud, tracked: Job, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Answer]]:
    """A folder into which it was pulled."""
    folder = tmp_path_factory.mktemp("pulled")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("AZDISTILL_HOME", str(folder / ".azdistill"))
        yield folder, run_cli("runs", "pull", tracked.name)


@pytest.fixture
def store(cloud: Cloud, pulled: tuple[Path, Answer], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The command line works in that folder."""
    monkeypatch.chdir(pulled[0])
    monkeypatch.setenv("AZDISTILL_HOME", str(pulled[0] / ".azdistill"))
    return pulled[0]


def runs_of(folder: Path) -> dict[str, object]:
    """Name -> run, of the MLflow store in a folder."""
    from mlflow.client import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    found = client.search_runs([e.experiment_id for e in client.search_experiments()])
    assert len({run.info.run_name for run in found}) == len(found)
    return {run.info.run_name: run for run in found}


def test_the_last_step_tells_the_pipelines_run_its_headline(cloud: Cloud, tracked: Job) -> None:
    run = cloud.workspace.jobs.runs.get(tracked.name)
    assert run.metrics["distilled.accuracy"][-1]["value"] == 0.75
    assert "loss" not in run.metrics


def test_parent_and_children_come_with_all_that_was_logged(
    store: Path, pulled: tuple[Path, Answer], tracked: Job
) -> None:
    assert (pulled[1].code, pulled[1].out) == (0, f"{tracked.name}: completed, 2 steps\n")
    assert "INFO" not in pulled[1].err
    runs = runs_of(store)
    assert set(runs) == {tracked.name, "first", "second"}
    parent, second = runs[tracked.name], runs["second"]
    assert parent.data.metrics == {"distilled.accuracy": 0.75, "retention": 0.9}  # type: ignore[attr-defined]
    assert parent.data.params["word"] == "pulled"  # type: ignore[attr-defined]
    assert parent.data.tags["azdistill.run_id"] == tracked.name  # type: ignore[attr-defined]
    assert second.data.params == {"what": "track", "word": "pulled", "rate": "0.1"}  # type: ignore[attr-defined]
    assert second.data.tags["mlflow.parentRunId"] == parent.info.run_id  # type: ignore[attr-defined]
    assert parent.info.status == second.info.status == "FINISHED"  # type: ignore[attr-defined]
    assert abs(parent.info.start_time / 1000 - (tracked.started or 0)) < 0.01  # type: ignore[attr-defined]


#: A program with log handlers of its own, one of which closes its stream when it is shut, as absl's does.
PROGRAM = """
import contextlib, io, logging, os, sys

class Absl(logging.StreamHandler):
    def close(self):
        if self.stream not in (sys.stdout, sys.stderr):
            self.stream.close()
        super().close()

own = sys.stderr = io.StringIO()
handlers = Absl(), logging.FileHandler("own.log", mode="w")
log = logging.getLogger("own")
log.addHandler(handlers[1])
from azdistill.local.tracking.pulled import PulledStore
with contextlib.redirect_stderr(io.StringIO()) as said:
    PulledStore("sqlite:///" + os.path.abspath("mlflow.db"))
log.warning("after")
print([own.closed, open("own.log").read(), said.getvalue()])
"""


def test_the_programs_own_streams_and_log_handlers_stay_open(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    command = [sys.executable, "-c", PROGRAM]
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert ended.stdout == "[False, 'after\\n', '']\n"


def test_metrics_keep_their_history_and_files_come_along(store: Path, tracked: Job) -> None:
    from mlflow.client import MlflowClient

    client = MlflowClient(f"sqlite:///{store / 'mlflow.db'}")
    runs = runs_of(store)
    history = client.get_metric_history(runs["second"].info.run_id, "loss")  # type: ignore[attr-defined]
    assert [(point.value, point.step) for point in history] == [(3.0, 1), (2.5, 2)]
    reports = [file.path for file in client.list_artifacts(runs[tracked.name].info.run_id, "report")]  # type: ignore[attr-defined]
    assert "report/report.html" in reports
    logs = [file.path for file in client.list_artifacts(runs["first"].info.run_id)]  # type: ignore[attr-defined]
    assert logs == ["user_logs"]


def test_pulling_again_changes_nothing(store: Path, tracked: Job, cloud: Cloud) -> None:
    before = runs_of(store)
    cloud.workspace.requests.clear()
    shown = cloud.run("runs", "pull", tracked.name, "--json")
    assert json.loads(shown.out) == {"runs": [{"name": tracked.name, "changed": False}]}
    after = runs_of(store)
    assert {name: run.to_dictionary() for name, run in before.items()} == {  # type: ignore[attr-defined]
        name: run.to_dictionary()  # type: ignore[attr-defined]
        for name, run in after.items()
    }
    assert not cloud.workspace.requests.find("GET", "/blob/")


def test_local_and_pulled_runs_are_listed_and_compared(store: Path, tracked: Job, cloud: Cloud) -> None:
    (store / "local.yml").write_text(
        "type: pipeline\nexperiment_name: small\ninputs: {word: local}\njobs:\n  only:\n    type: command\n"
        '    command: echo \'{"kind":"metric","name":"retention","value":0.45}\' >> $AZDISTILL_METRICS_FILE;'
        " echo ${{inputs.word}} > ${{outputs.made}}\n"
        "    environment: {image: 'ubuntu:24.04'}\n    tags: {azdistill.headline: 'true'}\n"
        "    inputs: {word: '${{parent.inputs.word}}'}\n    outputs: {made: {type: uri_file}}\n"
    )
    assert cloud.run("run", "local.yml", "--no-tracking").code == 0
    listed = json.loads(cloud.run("runs", "--json").out)
    assert [run.get("workspace") for run in listed] == [None, "loopback"]
    local = listed[0]["run_id"]
    shown = cloud.run("compare", local, tracked.name, "--json")
    compared = json.loads(shown.out)
    assert {"name": "word", "a": "local", "b": "pulled"} in compared["params"]
    metrics = {row["name"]: row for row in compared["metrics"]}
    assert metrics["distilled.accuracy"]["b"] == 0.75
    assert cloud.run("compare", local, tracked.name[:5]).code == 0
    shutil.rmtree(store / ".azdistill" / "runs")


@pytest.mark.slow
def test_an_unfinished_run_is_completed_by_a_later_pull(cloud: Cloud, tmp_path: Path) -> None:
    name = cloud.submit(second="wait", word=str(tmp_path / "go"))
    while cloud.workspace.jobs.runs.get(name).status != "Running":
        pass
    assert "running" in cloud.run("runs", "pull").out
    folder = Path.cwd()
    assert runs_of(folder)[name].info.status == "RUNNING"  # type: ignore[attr-defined]
    (tmp_path / "go").touch()
    cloud.workspace.jobs.wait(name)
    assert cloud.run("runs", "pull").out == f"{name}: completed, 2 steps\n"
    runs = runs_of(folder)
    assert {run.info.status for run in runs.values()} == {"FINISHED"}  # type: ignore[attr-defined]
    assert set(runs) == {name, "first", "second"}


def test_a_run_that_cannot_be_pulled_stops_no_other(cloud: Cloud, tracked: Job) -> None:
    shown = cloud.run("runs", "pull", "no-such-run", tracked.name, "--json")
    assert shown.code == 2
    told = json.loads(shown.out)
    assert told["runs"] == [{"name": tracked.name, "changed": True}]
    assert [(one["name"], one["code"]) for one in told["failed"]] == [("no-such-run", "AZD430")]
    assert "error[AZD430]: 1 of 2 runs were not pulled: no-such-run" in shown.err
    assert tracked.name in runs_of(Path.cwd())


def test_a_service_that_fails_for_one_run_ends_the_pull_as_the_service_did(cloud: Cloud, tracked: Job) -> None:
    fault = cloud.workspace.fail(f"GET */jobs/{tracked.name}", status=403)
    shown = cloud.run("runs", "pull", tracked.name, "no-such-run")
    fault.times = 0
    assert (shown.code, "error[AZD403]: 2 of 2 runs were not pulled" in shown.err) == (4, True)


def test_runs_of_the_workspace_are_listed(cloud: Cloud, tracked: Job) -> None:
    shown = cloud.run("runs", "--azure")
    assert shown.code == 0
    assert tracked.name in shown.out
    (run,) = [run for run in json.loads(cloud.run("runs", "--azure", "--json").out) if run["name"] == tracked.name]
    assert (run["status"], run["experiment"]) == ("Completed", "small")


def test_what_is_to_be_pulled_may_be_said_by_experiment_and_time(cloud: Cloud) -> None:
    shown = cloud.run("runs", "pull", "--experiment", "smal")
    assert (shown.code, "error[AZD447]" in shown.err) == (2, True)
    assert cloud.run("runs", "pull", "--since", "yesterday").code == 2


@pytest.mark.parametrize(("text", "seconds"), [("7d", 604800), ("12h", 43200), ("30m", 1800), ("2w", 1209600)])
def test_spans_of_time(text: str, seconds: int) -> None:
    assert moment_since(text, now=10_000_000) == 10_000_000 - seconds


def test_dates() -> None:
    assert moment_since("2026-01-31") == datetime(2026, 1, 31, tzinfo=UTC).timestamp()
    with pytest.raises(UserError):
        moment_since("soon")
