"""What a step records: one JSON line each in the metrics file, or calls of mlflow, or nothing."""

from __future__ import annotations

import io
import json
import math
import sys
import types

import pytest
from common import tracking
from common.progress import Progress
from snapshots import read_jsonl


@pytest.fixture
def metrics(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    monkeypatch.setenv("AZDISTILL_METRICS_FILE", str(path))
    return path


def test_each_call_is_one_line_of_the_metrics_file(metrics, tmp_path):
    tracking.log_metric("loss", 0.5, 3)
    tracking.log_metrics({"a": 1, "b": 2})
    tracking.log_params({"epochs": 3})
    tracking.set_tag("kind", "x")
    tracking.log_artifact(tmp_path)
    lines = read_jsonl(metrics)
    assert [line["kind"] for line in lines] == ["metric", "metric", "metric", "param", "tag", "artifact"]
    assert (lines[0]["name"], lines[0]["value"], lines[0]["step"]) == ("loss", 0.5, 3)
    assert lines[0]["timestamp"] > 1e12
    assert lines[3] == {"kind": "param", "name": "epochs", "value": "3"}
    assert lines[5]["path"] == str(tmp_path)


def test_a_number_that_is_not_finite_is_a_word_of_json(metrics):
    for value in (math.nan, math.inf, -math.inf):
        tracking.log_metric("loss", value)
    lines = [json.loads(line, parse_constant=pytest.fail) for line in metrics.read_text().splitlines()]
    assert [line["value"] for line in lines] == ["NaN", "Infinity", "-Infinity"]


def test_without_the_file_mlflow_is_called(monkeypatch):
    calls = []
    names = ("log_metric", "log_params", "set_tag", "log_artifact", "log_artifacts")
    fake = types.SimpleNamespace(**{name: lambda *a, _n=name, **k: calls.append(_n) for name in names})
    monkeypatch.delenv("AZDISTILL_METRICS_FILE", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "azureml://x")
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    tracking.log_metric("a", 1)
    tracking.log_params({"b": 2})
    tracking.set_tag("c", 3)
    tracking.log_artifact("file.html")
    tracking.log_artifact(".")
    assert calls == ["log_metric", "log_params", "set_tag", "log_artifact", "log_artifacts"]


def test_without_either_nothing_happens(monkeypatch):
    monkeypatch.delenv("AZDISTILL_METRICS_FILE", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracking.log_metric("a", 1)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = types.SimpleNamespace(seconds=100.0)
    monkeypatch.setattr("common.progress.time.monotonic", lambda: now.seconds)
    return now


def test_progress_draws_a_bar_with_rate_and_time_left_on_a_terminal(clock):
    stream = Terminal()
    with Progress(100, "asking", stream=stream) as progress:
        clock.seconds += 10
        progress.update(50, "5 retries")
    assert "asking [############            ] 50/100 (50%), 5.0/s, 10s left, 5 retries" in stream.getvalue()


def test_progress_prints_few_lines_into_a_log(clock):
    stream = io.StringIO()
    with Progress(1000, "asking", stream=stream) as progress:
        for _ in range(1000):
            clock.seconds += 0.01
            progress.update()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[-1] == "asking 1000/1000 (100%), 100.0/s"


def test_progress_is_recorded_more_often_than_it_is_printed(clock, metrics):
    with Progress(10, "asking", stream=io.StringIO()) as progress:
        for _ in range(10):
            clock.seconds += 1
            progress.update()
    lines = read_jsonl(metrics)
    assert [line["done"] for line in lines] == list(range(11))
    assert lines[5]["eta"] == pytest.approx(5.0)


def test_what_was_found_does_not_count_in_the_rate(clock):
    progress = Progress(100, "asking", stream=io.StringIO())
    progress.found(90)
    clock.seconds += 5
    progress.update(5)
    assert (progress.done, progress.rate) == (95, 1.0)
    assert progress.eta == pytest.approx(5.0)


class Service:
    """An mlflow module that remembers what was logged to which run; ``client_error`` is raised by its client."""

    def __init__(self, client_error: Exception | None = None) -> None:
        self.own: dict[str, float] = {}
        self.lifted: dict[str, dict[str, float]] = {}
        self.entities = types.SimpleNamespace(Metric=lambda key, value, timestamp, step: (key, value))
        self.tags: dict[tuple[str, str], str] = {}
        self._error = client_error

    def set_tag(self, *what):
        run_id, name, value = what if len(what) == 3 else ("step", *what)
        if self._error and len(what) == 3:
            raise self._error
        self.tags[run_id, name] = value

    def log_metric(self, name, value, step=None):
        self.own[name] = value

    def MlflowClient(self):
        return self

    def log_batch(self, run_id, metrics):
        if self._error:
            raise self._error
        self.lifted.setdefault(run_id, {}).update(dict(metrics))


@pytest.fixture
def on_azure(monkeypatch):
    monkeypatch.delenv("AZDISTILL_METRICS_FILE", raising=False)
    for name, value in (
        ("MLFLOW_TRACKING_URI", "azureml://x"),
        ("AZUREML_RUN_ID", "step"),
        ("AZUREML_ROOT_RUN_ID", "all"),
    ):
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_on_azure_headline_metrics_reach_the_pipelines_run_too(on_azure):
    service = Service()
    on_azure.setitem(sys.modules, "mlflow", service)
    values = {f"m{number}": float(number) for number in range(250)}
    tracking.log_headline(values)
    assert service.own == values
    assert service.lifted == {"all": values}


def test_a_job_of_one_step_is_told_once(on_azure):
    service = Service()
    on_azure.setitem(sys.modules, "mlflow", service)
    on_azure.setenv("AZUREML_ROOT_RUN_ID", "step")
    tracking.log_headline({"a": 1.0})
    assert (service.own, service.lifted) == ({"a": 1.0}, {})


def test_a_service_that_refuses_the_lifting_costs_a_warning(on_azure, capsys):
    on_azure.setitem(sys.modules, "mlflow", Service(ConnectionError("no")))
    on_azure.setattr(tracking, "_warned", False)
    tracking.log_headline({"a": 1.0})
    assert "could not be logged to the pipeline's run: no" in capsys.readouterr().err


def test_the_local_runner_lifts_by_itself(metrics, monkeypatch):
    monkeypatch.setenv("AZUREML_ROOT_RUN_ID", "all")
    tracking.log_headline({"a": 1})
    assert [line["name"] for line in read_jsonl(metrics)] == ["a"]


def test_a_headline_tag_reaches_the_pipelines_run_too(on_azure, capsys):
    service = Service()
    on_azure.setitem(sys.modules, "mlflow", service)
    tracking.set_headline_tag("azdistill.not_better", "true")
    name = "azdistill.not_better"
    assert service.tags == {("step", name): "true", ("all", name): "true"}
    on_azure.setitem(sys.modules, "mlflow", Service(ConnectionError("no")))
    on_azure.setattr(tracking, "_warned", False)
    tracking.set_headline_tag(name, "true")
    assert "could not be set on the pipeline's run: no" in capsys.readouterr().err
