"""The process that talks to MLflow, with an MLflow that notes what it is asked for, and prints as the real one does."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from azdistill import redact
from azdistill.local.plan.steps import Text
from azdistill.local.store.events import Event, RunState
from azdistill.local.tracking import Tracker, _message, worker
from azdistill.local.tracking.listener import TrackingListener
from azdistill.local.tracking.worker import Session, as_taken

URI = "https://user:pass-word-1@mlflow.example.org"
#: ``mlflow.client`` of a server: its ``set_terminated`` prints where the run is to be seen.
CLIENT = """
import os, sys
from types import SimpleNamespace as Some
class MlflowClient:
    def __init__(self, uri):
        open(os.environ["MLFLOW_NOTED"], "w").write(uri + " " + str("pass-word" in open("/proc/self/cmdline").read()))
    def get_experiment_by_name(self, name):
        return Some(experiment_id="1")
    def create_run(self, experiment, **more):
        return Some(info=Some(run_id="run-" + more["run_name"]))
    def set_terminated(self, run_id, *status, **more):
        os.write(1, b"View run at: http://mlflow\\n")
        print("View experiment at: http://mlflow", flush=True)
    def __getattr__(self, name):
        return lambda *arguments, **more: None
"""


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    redact.forget()
    yield
    redact.forget()


@pytest.fixture
def noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the stand-in, which the process imports for MLflow, notes the URI that it is given."""
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "__init__.py").touch()
    (tmp_path / "mlflow" / "client.py").write_text(CLIENT)
    (tmp_path / "mlflow" / "entities.py").write_text("Metric = Param = tuple\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("MLFLOW_NOTED", str(tmp_path / "noted"))
    return tmp_path / "noted"


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="arguments are looked up in /proc")
def test_what_mlflow_prints_is_no_answer_and_the_password_no_argument(noted: Path) -> None:
    warnings: list[str] = []
    tracker = Tracker(URI, warnings.append)
    ended: dict[str, Any] = {"status": "completed", "tags": {}, "artifacts": []}
    tracker.send("run_started", name="r", experiment="e", params={}, tags={}, headline=[])
    tracker.send("step_ended", step="first", outputs={}, **ended)
    assert tracker.ask("child_run_id", 60, step="second") == "run-second"
    tracker.send("run_ended", columns=[], compared=True, **ended)
    tracker.close()
    assert warnings == []
    assert noted.read_text() == f"{URI} False"


def test_a_process_that_is_told_nothing_ends_and_costs_no_warning(noted: Path) -> None:
    warnings: list[str] = []
    Tracker(URI, warnings.append).close()
    assert warnings == []
    assert not noted.exists()


@pytest.mark.parametrize("line", [b"View run at: http://x\n", b"5\n", b"null\n", b"\xff\n", b"\n"])
def test_a_line_that_is_no_answer_is_passed_over(line: bytes) -> None:
    assert _message(line) == {}


class Refused(Exception):
    """What MLflow raises for a value that it does not take."""

    error_code = "INVALID_PARAMETER_VALUE"


class Store:
    """Notes what is logged; refuses a batch with a negative time in it, and the tag ``bad``."""

    def __init__(self) -> None:
        self.logged: list[tuple[str, Any]] = []

    def log_batch(self, run_id: str, metrics: Any = (), params: Any = ()) -> None:
        if any(metric[2] < 0 for metric in metrics):
            raise Refused("a negative time")
        self.logged += [(run_id, metric[:2]) for metric in metrics] + [(run_id, param) for param in params]

    def set_tag(self, run_id: str, name: str, value: str) -> None:
        if name == "bad":
            raise Refused("no such tag")
        self.logged.append((run_id, (name, value)))


BAD: dict[str, dict[str, Any]] = {
    "null": {"value": None},
    "400 digits": {"value": int("9" * 400)},
    "text": {"value": "much"},
    "a step that is text": {"value": 1, "step": "first"},
    "a step of 70 bits": {"value": 1, "step": 1 << 70},
    "a time of 70 bits": {"value": 1, "timestamp": 1 << 70},
    "a time that a store refuses": {"value": 1, "timestamp": -5},
    "a name that is none": {"name": 5, "value": 1},
    "a tag that a store refuses": {"kind": "tag", "name": "bad", "value": 1},
}


def test_the_only_metric_of_a_batch_that_a_store_refuses_costs_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entities = SimpleNamespace(Metric=lambda *values: values, Param=lambda *values: values)
    monkeypatch.setattr(worker, "_mlflow", lambda module: entities)
    monkeypatch.setattr(worker, "say", lambda message: None)
    session = Session(URI)
    session._client = store = Store()
    session._runs = {"": "P", "a": "A"}
    records = [
        {"kind": "metric", "name": "loss", "value": 1, "timestamp": -5},
        {"kind": "param", "name": "rows", "value": "3"},
        {"kind": "tag", "name": "note", "value": "x"},
    ]
    for record in records:
        session.take({"do": "record", "step": "a", "record": record, "known": False, "at": 1})
    session.flush()
    assert store.logged == [("A", ("rows", "3")), ("A", ("note", "x"))]


def test_a_parameter_that_did_not_arrive_is_sent_again_and_one_that_did_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    class Store2(Store):
        failures = 1

        def log_batch(self, run_id: str, metrics: Any = (), params: Any = ()) -> None:
            if params and self.failures:
                self.failures -= 1
                raise ConnectionError("no route")
            super().log_batch(run_id, metrics, params)

    entities = SimpleNamespace(Metric=lambda *values: values, Param=lambda *values: values)
    monkeypatch.setattr(worker, "_mlflow", lambda module: entities)
    monkeypatch.setattr(worker, "say", lambda message: None)
    session = Session(URI)
    session._client = store = Store2()
    session._runs = {"": "P", "a": "A"}
    for _ in range(3):
        record = {"kind": "param", "name": "lr", "value": "0.1"}
        session.take({"do": "record", "step": "a", "record": record, "known": False, "at": 1})
        session.flush()
    assert store.logged == [("A", ("lr", "0.1"))]


def test_what_lies_at_the_top_of_a_folder_goes_to_the_top_of_the_artifacts(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for path in ("a", "deep/b"):
        (tmp_path / path).touch()
    assert [at for _, at in worker._files(tmp_path, "")] == ["", "deep"]
    assert [at for _, at in worker._files(tmp_path, "model")] == ["model", "model/deep"]


def test_a_later_attempt_has_its_run_id_without_asking_again() -> None:
    class Mute:
        """Answers the first question, and no other."""

        uri = URI
        questions = 0

        def ask(self, method: str, timeout: float, **arguments: Any) -> str | None:
            self.questions += 1
            return "run-1" if self.questions == 1 else None

    tracker: Any = Mute()
    listener = TrackingListener(tracker, "p.yml")
    listener._plan = SimpleNamespace(experiment="e")  # type: ignore[assignment]
    attempts = [listener.variables("train", uses_mlflow=True)["MLFLOW_RUN_ID"] for _ in range(2)]
    assert (attempts, tracker.questions) == (["run-1", "run-1"], 1)


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_record_that_mlflow_cannot_take_costs_a_warning_and_no_other_record(
    bad: dict[str, Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entities = SimpleNamespace(Metric=lambda *values: values, Param=lambda *values: values)
    monkeypatch.setattr(worker, "_mlflow", lambda module: entities)
    said: list[Any] = []
    monkeypatch.setattr(worker, "say", said.append)
    session = Session(URI)
    session._client = store = Store()
    session._runs, session._headline = {"": "P", "a": "A", "b": "B"}, {"a"}
    metric = {"kind": "metric", "name": "loss", "value": 1, "timestamp": 1}
    records = [metric, {**metric, **bad}, {"kind": "tag", "name": "note", "value": "x"}]
    records.append({"kind": "param", "name": "rows", "value": "\ud800"})
    for step, record in itertools.product("ab", records):
        session.take({"do": "record", "step": step, "record": record, "known": False, "at": 1})
    session.flush()
    (warning,) = {message["warning"] for message in said}
    assert warning.startswith("MLflow: ")
    found = [("loss", 1.0), ("rows", "?"), ("note", "x")]
    assert store.logged == [*(("A", each) for each in found), ("P", found[0]), *(("B", each) for each in found)]


def test_a_record_is_logged_with_what_it_has() -> None:
    given = {"kind": "metric", "name": "rouge(1)", "value": "0.5", "step": 3.0, "timestamp": None}
    assert json.dumps(as_taken(given, 7)) == (
        '{"kind": "metric", "name": "rouge_1_", "value": 0.5, "step": 3, "timestamp": 7}'
    )


class Told:
    """Notes what it is sent, and answers every question with one ``metric``."""

    uri = URI

    def __init__(self, metric: dict[str, Any]) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self._metric = metric

    def ask(self, method: str, timeout: float, **arguments: Any) -> Any:
        return "run-1" if method == "child_run_id" else [self._metric]

    def send(self, method: str, **arguments: Any) -> None:
        self.sent.append((method, arguments))


@pytest.fixture
def told() -> Any:
    return Told({"kind": "metric", "name": "loss", "value": 1})


@pytest.fixture
def listener(told: Any) -> TrackingListener:
    listener = TrackingListener(told, "p.yml")
    steps = {"train": SimpleNamespace(inputs={"epochs": Text("3")}, sweep=None)}
    listener._plan = SimpleNamespace(experiment="e", steps=steps)  # type: ignore[assignment]
    return listener


def test_a_step_begins_once_with_its_literals_and_its_attempt(told: Told, listener: TrackingListener) -> None:
    run, metric = RunState("run_1", Path(), "p", "e"), {"kind": "metric", "name": "loss", "value": 1}
    listener.hear(Event.of("step_started", "train", attempt=2), run)
    listener.hear(Event.of("record", "train", record=metric), run)
    begin = {"step": "train", "params": {"epochs": "3"}, "tags": {"azdistill.attempt": "2"}}
    record = {"step": "train", "record": metric, "known": False}
    assert told.sent == [("step_started", begin), ("record", record)]


def test_what_a_step_logged_to_its_run_is_not_logged_there_again(told: Told, listener: TrackingListener) -> None:
    listener.variables("train", uses_mlflow=True)
    (record,) = listener.logged("train")
    listener.hear(Event.of("record", "train", record=record), RunState("run_1", Path(), "p", "e"))
    assert [method for method, _ in told.sent] == ["step_started"]
