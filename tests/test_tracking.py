"""What MLflow knows of a run. One store is migrated for the whole session and copied for each test."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from azdistill import redact
from azdistill.cli.runs import _newest_view, ui_command
from azdistill.client.headline import MOST, columns
from azdistill.local.plan.steps import Plan
from azdistill.local.store.events import Event, RunState
from azdistill.local.tracking import Tracker, environment, tracking_uri
from azdistill.local.tracking.listener import TrackingListener
from azdistill.local.tracking.worker import VIEW_TAG, shared_view, show_columns, valid_name

ROOT = Path(__file__).parents[1]
#: What the tracker sends of an end that nothing more is to be said of.
ENDED: dict[str, Any] = {"status": "completed", "tags": {}, "artifacts": [], "columns": [], "compared": True}
STEP_ENDED: dict[str, Any] = {"status": "completed", "tags": {}, "outputs": {}, "artifacts": []}


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated store without an experiment of ours, made by the tracker itself."""
    folder = tmp_path_factory.mktemp("template")
    warnings: list[str] = []
    tracker = Tracker(f"sqlite:///{folder / 'mlflow.db'}", warnings.append)
    tracker.send("run_started", name="template", experiment="template", params={}, tags={}, headline=[])
    tracker.send("run_ended", **ENDED)
    tracker.close()
    assert warnings == []
    return folder / "mlflow.db"


@pytest.fixture
def project(tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a store of its own."""
    folder = tmp_path / "a project ü"
    folder.mkdir()
    shutil.copy(template, folder / "mlflow.db")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("AZDISTILL_HOME", raising=False)
    yield folder
    redact.forget()


def azdistill(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program, with tracking."""
    command = [sys.executable, "-m", "azdistill", *arguments]
    return subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120)


def runs_of(project: Path, experiment: str) -> dict[str, Any]:
    """MLflow's runs by the name of their step, the latest of each; the parents' by their azdistill run id."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    found = client.get_experiment_by_name(experiment)
    assert found
    runs = client.search_runs([found.experiment_id], order_by=["attributes.start_time ASC"])
    return {run.data.tags.get("azdistill.step") or run.data.tags["azdistill.run_id"]: run for run in runs}


def history(project: Path, run: Any, name: str = "mine") -> list[Any]:
    """Every value of a metric."""
    from mlflow import MlflowClient

    found = MlflowClient(f"sqlite:///{project / 'mlflow.db'}").get_metric_history(run.info.run_id, name)
    return sorted(found, key=lambda metric: metric.step)


RECORDS = [
    {"kind": "metric", "name": "loss", "value": 3.0, "step": 1, "timestamp": 1000},
    {"kind": "metric", "name": "loss", "value": 1.5, "step": 2, "timestamp": 2000},
    {"kind": "metric", "name": "rouge(1)", "value": 0.5, "step": None},
    {"kind": "param", "name": "rows", "value": 12},
    {"kind": "param", "name": "rate", "value": 2},
    {"kind": "tag", "name": "note", "value": "x"},
    {"kind": "progress", "done": 1, "total": 2},
]


def pipeline(project: Path) -> Path:
    """A step that measures, then the headline step, which logs an artefact and gives the report."""
    lines = "\n".join(json.dumps(record) for record in RECORDS)
    (project / "code").mkdir()
    (project / "code" / "records.jsonl").write_text(lines + "\n")
    measure = {
        **{"type": "command", "environment": "azureml:any@latest", "code": "./code", "inputs": {"rate": 2.0}},
        "command": "cat records.jsonl >> \"$AZDISTILL_METRICS_FILE\"; echo '${{inputs.rate}}' > '${{outputs.x}}'",
        "outputs": {"x": {"type": "uri_file"}},
    }
    record = '{"kind":"artifact","path":"%s"}\\n'
    artefact = f"""printf '{record}' '${{{{outputs.report}}}}/report.html' >> "$AZDISTILL_METRICS_FILE" """
    head = {
        **{"type": "command", "environment": "azureml:any@latest", "code": "./code"},
        "command": "cat '${{inputs.x}}' records.jsonl >> \"$AZDISTILL_METRICS_FILE\"; "
        "echo '<p>' > '${{outputs.report}}/report.html'; "
        "head -c 6000000 /dev/zero > '${{outputs.report}}/large.bin'; " + artefact,
        "inputs": {"x": "${{parent.jobs.measure.outputs.x}}"},
        "outputs": {"report": {"type": "uri_folder", "path": "${{parent.outputs.report}}"}},
        "tags": {"azdistill.headline": "true"},
    }
    whole = {
        "type": "pipeline",
        "experiment_name": "größe",
        "inputs": {"a": 1},
        "outputs": {"report": {"type": "uri_folder"}},
    }
    path = project / "pipeline.yml"
    path.write_text(yaml.safe_dump({**whole, "jobs": {"measure": measure, "head": head}}), encoding="utf-8")
    return path


@pytest.mark.slow
def test_a_run_and_its_cached_repetition_are_in_mlflow(project: Path) -> None:
    pipeline(project)
    ids = []
    for _ in range(2):
        done = azdistill("run", "pipeline.yml", "--json", "--out", "out")
        assert done.returncode == 0, done.stderr
        assert "warning" not in done.stderr
        ids.append(json.loads(done.stdout)["run_id"])
    runs = runs_of(project, "größe")
    for run_id in ids:
        parent = runs[run_id]
        assert parent.info.status == "FINISHED"
        assert parent.data.params == {"a": "1"}
        # The headline step's metrics stand at the parent under their own names, those of the other step do not.
        assert parent.data.metrics == {"loss": 1.5, "rouge_1_": 0.5}
    for name in ("measure", "head"):
        child = runs[name]
        assert child.info.status == "FINISHED"
        assert child.data.tags["mlflow.parentRunId"] == runs[ids[1]].info.run_id
        assert child.data.tags["azdistill.cached"] == "true"
        assert child.data.tags["note"] == "x"
        assert child.data.metrics == {"loss": 1.5, "rouge_1_": 0.5}
        assert child.data.params["rows"] == "12"
    assert runs["measure"].data.params["rate"] == "2.0", "what the pipeline gives stands"
    _check_artifacts(project, runs[ids[1]], runs["head"])
    _check_view(project, runs["head"].info.experiment_id)


def columns_of_view(project: Path, experiment: str) -> list[str]:
    """What the stored view of an experiment shows."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    view = json.loads(client.get_experiment(experiment).tags[VIEW_TAG])
    return list(view["selectedColumns"])


COMPARED = ["teacher.accuracy", "distilled.accuracy", "retention"]
_LOGS = """printf '{"kind": "metric", "name": "%s", "value": 1}\\n' NAMES >> "$AZDISTILL_METRICS_FILE"; """


def compared_pipeline(project: Path) -> None:
    """A step that counts rows and may fail or hang, then the headline step."""
    common = {"type": "command", "environment": "azureml:any@latest"}
    then = "echo > counted; case '${{inputs.then}}' in fail) exit 3;; hang) sleep 300;; esac; "
    prepare = {
        **common,
        "command": _LOGS.replace("NAMES", "rows_in rows_rejected requests") + then + "echo > '${{outputs.rows}}'",
        "inputs": {"then": "${{parent.inputs.then}}", "epochs": "${{parent.inputs.epochs}}"},
        "outputs": {"rows": {"type": "uri_file"}},
    }
    compare = {
        **common,
        "command": "cat '${{inputs.rows}}'; " + _LOGS.replace("NAMES", " ".join(COMPARED)),
        "inputs": {"rows": "${{parent.jobs.prepare.outputs.rows}}"},
        "tags": {"azdistill.headline": "true"},
    }
    whole = {"type": "pipeline", "experiment_name": "shared", "inputs": {"then": "end", "epochs": 1}}
    (project / "p.yml").write_text(yaml.safe_dump({**whole, "jobs": {"prepare": prepare, "compare": compare}}))


def cancelled(*arguments: str) -> int:
    """Run until the first step has counted, then Ctrl-C."""
    program = subprocess.Popen([sys.executable, "-m", "azdistill", *arguments], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not list(Path(".azdistill/runs").glob("*/steps/prepare/attempts/*/snapshot/counted")):
        assert time.monotonic() < deadline
        assert program.poll() is None
        time.sleep(0.05)
    program.send_signal(signal.SIGINT)
    program.communicate(timeout=60)
    for mark in Path(".azdistill/runs").glob("*/steps/prepare/attempts/*/snapshot/counted"):
        mark.unlink()
    return program.returncode


@pytest.mark.slow
def test_runs_that_end_before_the_comparison_leave_the_shared_view_as_it_is(project: Path) -> None:
    from mlflow import MlflowClient

    compared_pipeline(project)
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    assert azdistill("run", "p.yml", "--set", "then=fail").returncode == 1
    experiment = client.get_experiment_by_name("shared")
    assert experiment
    assert VIEW_TAG not in experiment.tags, "a step's counters are no comparison"
    for epochs in ("15", "1", "3"):
        assert azdistill("run", "p.yml", "--set", f"epochs={epochs}").returncode == 0
    compared = columns_of_view(project, experiment.experiment_id)
    assert compared[2:] == [f"metrics.`{name}`" for name in COMPARED]
    for mark in Path(".azdistill/runs").glob("*/steps/prepare/attempts/*/snapshot/counted"):
        mark.unlink()
    for epochs in ("4", "5", "6"):
        assert cancelled("run", "p.yml", "--set", "then=hang", "--set", f"epochs={epochs}") != 0
        assert columns_of_view(project, experiment.experiment_id) == compared
    pipelines = client.search_runs([experiment.experiment_id], "tags.azdistill.pipeline != ''")
    assert sorted(run.info.status for run in pipelines) == ["FAILED", *["FINISHED"] * 3, *["KILLED"] * 3]


class StoredTags:
    """The experiment tags of a store."""

    def __init__(self, **tags: str) -> None:
        self.tags = tags

    def get_experiment(self, experiment: str) -> StoredTags:
        return self

    def set_experiment_tag(self, experiment: str, name: str, value: str) -> None:
        self.tags[name] = value

    def shown(self, *metrics: str, headline: bool) -> list[str]:
        show_columns(self, "1", metrics, headline=headline)
        return [name[9:-1] for name in json.loads(self.tags[VIEW_TAG])["selectedColumns"] if "metrics" in name]


def test_what_a_headline_step_says_of_the_pipeline_is_a_tag_of_its_run(project: Path) -> None:
    lines = [
        {"kind": "tag", "name": "azdistill.not_better", "value": "true"},
        {"kind": "tag", "name": "note", "value": "the step's own"},
        {"kind": "metric", "name": "better_than_baseline", "value": 0.0},
    ]
    (project / "code").mkdir()
    (project / "code" / "said.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    step = {
        **{"type": "command", "environment": "azureml:any@latest", "code": "./code"},
        "command": 'cat said.jsonl >> "$AZDISTILL_METRICS_FILE"',
    }
    jobs = {
        "compare": step | {"tags": {"azdistill.headline": "true"}},
        "other": step | {"environment_variables": {"X": "1"}},
    }
    pipeline = {"type": "pipeline", "experiment_name": "e", "jobs": jobs}
    (project / "p.yml").write_text(yaml.safe_dump(pipeline))
    done = azdistill("run", "p.yml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("NOT BETTER")
    runs = runs_of(project, "e")
    (parent,) = (run for run in runs.values() if "azdistill.step" not in run.data.tags)
    assert parent.data.tags["azdistill.not_better"] == "true"
    assert "note" not in parent.data.tags
    assert runs["compare"].data.tags["azdistill.not_better"] == "true"
    lines[0]["name"], lines[2]["value"] = "azdistill.other", 1.0
    (project / "code" / "said.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = azdistill("run", "p.yml")
    assert "NOT BETTER" not in done.stdout
    runs = runs_of(project, "e")
    newest = max(
        (run for run in runs.values() if "azdistill.step" not in run.data.tags), key=lambda r: r.info.start_time
    )
    assert "azdistill.not_better" not in newest.data.tags


def test_a_view_keeps_the_columns_of_every_kind_of_pipeline_in_the_experiment() -> None:
    store = StoredTags()
    assert store.shown("rows_in", headline=False) == ["rows_in"]
    assert store.shown("rows_out", headline=False) == ["rows_out", "rows_in"]
    assert store.shown(*COMPARED, headline=True) == COMPARED, "counters of steps give way to a comparison"
    assert store.shown("rows_in", "requests", "retries", "seconds", headline=False) == COMPARED
    assert store.shown("distilled.rougeL", headline=True) == [*COMPARED, "distilled.rougeL"]
    assert store.shown(*COMPARED, headline=True) == [*COMPARED, "distilled.rougeL"], "a lesser run takes none away"
    assert len(store.shown(*[f"m{number}" for number in range(40)], headline=True)) == 24


def test_metrics_whose_names_become_one_keep_the_points_of_both(project: Path) -> None:
    from mlflow import MlflowClient

    from azdistill.local.tracking.pulled import PulledEntry, PulledStore

    uri = f"sqlite:///{project / 'mlflow.db'}"
    metrics = {"acc@1": [(0.5, 1000, 0)], "acc#1": [(0.7, 2000, 1)]}
    PulledStore(uri).write("shared", PulledEntry("a", "a", "Completed", 1.0, 2.0, metrics=metrics), [])
    client = MlflowClient(uri)
    (run,) = client.search_runs([client.get_experiment_by_name("shared").experiment_id])
    assert [point.value for point in client.get_metric_history(run.info.run_id, "acc_1")] == [0.5, 0.7]


def test_a_pulled_run_adds_its_columns_and_takes_none_away(project: Path) -> None:
    from mlflow import MlflowClient

    from azdistill.local.tracking.pulled import PulledEntry, PulledStore

    def pulled(key: str, status: str, *metrics: str) -> list[str]:
        logged = {name: [(0.5, 1000, 0)] for name in metrics}
        PulledStore(uri).write("shared", PulledEntry(key, key, status, 1.0, 2.0, metrics=logged), [])
        experiment = MlflowClient(uri).get_experiment_by_name("shared")
        assert experiment
        return columns_of_view(project, experiment.experiment_id)[2:] if VIEW_TAG in experiment.tags else []

    uri = f"sqlite:///{project / 'mlflow.db'}"
    compared = [f"metrics.`{name}`" for name in COMPARED]
    assert pulled("a", "Canceled") == []
    assert pulled("b", "Completed", *COMPARED) == compared
    assert pulled("c", "Canceled") == compared
    assert pulled("d", "Completed", "teacher.rougeL") == [*compared, "metrics.`teacher.rougeL`"]


def test_a_view_of_an_earlier_version_is_mended_by_the_next_comparison() -> None:
    blank = StoredTags(**{VIEW_TAG: json.dumps(shared_view(["rows_in", "requests"]))})
    assert blank.shown("teacher.accuracy", headline=True) == ["teacher.accuracy"]
    telling = StoredTags(**{VIEW_TAG: json.dumps(shared_view(["teacher.accuracy"]))})
    assert telling.shown("rows_in", headline=False) == ["teacher.accuracy"]
    assert telling.shown("distilled.bleu", headline=True) == ["distilled.bleu", "teacher.accuracy"]
    unreadable = StoredTags(**{VIEW_TAG: "{}"})
    assert unreadable.shown("m", headline=True) == ["m"]


def _check_view(project: Path, experiment: str) -> None:
    """The runs page, whose metric columns MLflow hides until somebody chooses them, is stored with some chosen."""
    assert columns_of_view(project, experiment)[-2:] == ["metrics.`loss`", "metrics.`rouge_1_`"]
    address = _newest_view(f"sqlite:///{project / 'mlflow.db'}")
    assert address == f"/#/experiments/{experiment}/runs?viewStateShareKey=azdistill"


def _check_artifacts(project: Path, parent: Any, head: Any) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    history = client.get_metric_history(head.info.run_id, "loss")
    assert [(metric.step, metric.value) for metric in history] == [(1, 3.0), (2, 1.5)]
    assert {item.path for item in client.list_artifacts(head.info.run_id)} >= {"outputs.json", "report.html"}
    assert {item.path for item in client.list_artifacts(parent.info.run_id)} == {"report", "large_files.json"}
    assert {item.path for item in client.list_artifacts(parent.info.run_id, "report")} == {"report/report.html"}
    large = json.loads(Path(client.download_artifacts(parent.info.run_id, "large_files.json")).read_text())
    assert [(Path(each["path"]).name, each["size"]) for each in large["files"]] == [("large.bin", 6000000)]


@pytest.mark.slow
def test_a_failed_step_and_a_step_that_logs_itself(project: Path) -> None:
    uses = "import mlflow\nwith mlflow.start_run():\n    mlflow.log_metric('mine', 3, step=1)\n"
    uses += (
        "    mlflow.log_metric('mine', 4, step=2)\n    mlflow.set_tag('note', 'x')\n    mlflow.log_param('rate', 7)\n"
    )
    # A value in the metrics file beside it is known already, and is not read back for a second one.
    said = """echo '{"kind": "metric", "name": "ours", "value": 1}' >> "$AZDISTILL_METRICS_FILE" """
    (project / "code").mkdir()
    (project / "code" / "train.py").write_text(uses)
    common = {"type": "command", "environment": "azureml:any@latest"}
    jobs = {
        "own": {**common, "code": "./code", "command": f"python train.py && {said} && echo > '${{{{outputs.x}}}}'"}
        | {"outputs": {"x": {"type": "uri_file"}}, "tags": {"azdistill.headline": "true"}},
        "bad": {**common, "command": "cat '${{inputs.x}}'; exit 3", "inputs": {"x": "${{parent.jobs.own.outputs.x}}"}},
    }
    (project / "p.yml").write_text(yaml.safe_dump({"type": "pipeline", "experiment_name": "e", "jobs": jobs}))
    # The second time the first step is found in the cache: what it logged is of this run too.
    for status in ("completed", "cached"):
        done = azdistill("run", "p.yml", "--json")
        assert done.returncode == 1
        runs = runs_of(project, "e")
        assert runs["own"].data.tags["azdistill.status"] == status
        assert runs["own"].data.metrics == {"mine": 4.0, "ours": 1.0}
        assert len(history(project, runs["own"], "ours")) == 1
        assert (runs["own"].data.tags["note"], runs["own"].data.params) == ("x", {"rate": "7"})
        assert [(metric.step, metric.value) for metric in history(project, runs["own"])] == [(1, 3.0), (2, 4.0)]
        assert runs["own"].info.status == "FINISHED"
        assert runs["bad"].info.status == "FAILED"
        parent = runs[json.loads(done.stdout)["run_id"]]
        assert parent.info.status == "FAILED"
        assert parent.data.metrics == {"mine": 4.0, "ours": 1.0}
        assert [(metric.step, metric.value) for metric in history(project, parent)] == [(1, 3.0), (2, 4.0)]
    assert len(runs) == 4
    # A run that failed is listed with the reason in the place of its metrics.
    assert azdistill("runs").stdout.count("  bad: ") == 2


@pytest.mark.slow
def test_what_a_library_logs_unasked_is_of_the_step_that_called_it(project: Path) -> None:
    # No word of MLflow stands in the step's code: a library of its interpreter brings it in.
    library = project / "library"
    library.mkdir()
    (library / "trainer.py").write_text("import mlflow\nmlflow.log_metric('theirs', 4)\nmlflow.log_param('size', 3)\n")
    common = {"type": "command", "environment": "azureml:any@latest"}
    jobs = {"learn": {**common, "command": f"PYTHONPATH='{library}' python -c 'import trainer'"}}
    (project / "p.yml").write_text(yaml.safe_dump({"type": "pipeline", "experiment_name": "e", "jobs": jobs}))
    done = azdistill("run", "p.yml", "--json")
    assert done.returncode == 0, done.stderr
    runs = runs_of(project, "e")
    assert runs.keys() == {"learn", json.loads(done.stdout)["run_id"]}
    assert runs["learn"].data.metrics == {"theirs": 4.0}
    assert runs["learn"].data.params == {"size": "3"}


@pytest.mark.slow
def test_runs_begin_and_end_when_they_did_and_not_when_mlflow_was_told(project: Path) -> None:
    tracker = Tracker(tracking_uri(), lambda text: None)
    begun = time.time() * 1000 - 1
    tracker.send("run_started", name="r", experiment="e", params={}, tags={"azdistill.run_id": "r"}, headline=[])
    tracker.send("step_started", step="s", params={}, tags={})
    tracker.send("record", step="s", record={"kind": "metric", "name": "loss", "value": 1})
    tracker.send("step_ended", step="s", **STEP_ENDED)
    tracker.send("run_ended", **ENDED)
    ended = time.time() * 1000
    # The process that does it is still importing MLflow.
    tracker.close()
    for run in runs_of(project, "e").values():
        assert begun <= run.info.start_time <= run.info.end_time <= ended


@pytest.mark.slow
def test_the_trials_of_a_sweep_are_runs_below_its_own(project: Path) -> None:
    said = (
        """printf '{"kind": "metric", "name": "loss", "value": %s}\\n' ${{inputs.x}} >> "$AZDISTILL_METRICS_FILE"; """
    )
    trial = {
        **{"type": "command", "environment": "azureml:any@latest", "inputs": {"x": {"type": "number", "default": 7}}},
        "command": said + "echo ${{inputs.x}} > '${{outputs.out}}'",
        "outputs": {"out": {"type": "uri_file"}},
    }
    sweep = {
        **{"type": "sweep", "trial": trial, "sampling_algorithm": "grid", "limits": {"max_total_trials": 2}},
        "search_space": {"x": {"type": "choice", "values": [3, 2]}},
        "objective": {"goal": "minimize", "primary_metric": "loss"},
    }
    (project / "p.yml").write_text(
        yaml.safe_dump({"type": "pipeline", "experiment_name": "e", "jobs": {"tune": sweep}})
    )
    done = azdistill("run", "p.yml", "--json")
    assert done.returncode == 0, done.stderr
    runs = runs_of(project, "e")
    assert runs.keys() == {"tune", "tune.trial_1", "tune.trial_2", json.loads(done.stdout)["run_id"]}
    above = {name: run.data.tags.get("mlflow.parentRunId") for name, run in runs.items()}
    assert above["tune.trial_1"] == above["tune.trial_2"] == runs["tune"].info.run_id
    found = {name: (run.data.params, run.data.metrics) for name, run in runs.items() if name.startswith("tune")}
    assert found["tune.trial_1"] == ({"x": "3"}, {"loss": 3.0})
    assert found["tune.trial_2"] == found["tune"] == ({"x": "2"}, {"loss": 2.0})
    best = [name for name, run in runs.items() if run.data.tags.get("azdistill.best_trial") == "true"]
    assert best == ["tune.trial_2"]
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert columns_of_view(project, runs["tune"].info.experiment_id)[-1] == "metrics.`loss`"
    assert "  tune.loss 2" in azdistill("runs").stdout


@pytest.mark.slow
def test_skipped_steps_and_values_that_were_handed_on(project: Path) -> None:
    common = {"type": "command", "environment": "azureml:any@latest"}
    given = {"inputs": {"n": "${{parent.jobs.count.outputs.n}}"}}
    jobs = {
        "count": {**common, "command": "echo 3 > ${{outputs.n}}", "outputs": {"n": {"type": "integer"}}},
        "gate": {"type": "if_else", "condition": False, "true_block": "${{parent.jobs.big}}"},
        "big": {**common, "command": "true"},
        "use": {**common, "command": "echo ${{inputs.n}}", **given},
    }
    (project / "p.yml").write_text(yaml.safe_dump({"type": "pipeline", "experiment_name": "e", "jobs": jobs}))
    for _ in range(2):
        done = azdistill("run", "p.yml", "--json")
        assert done.returncode == 0, done.stderr
        runs = runs_of(project, "e")
        parent = runs.pop(json.loads(done.stdout)["run_id"])
        assert parent.data.tags["azdistill.skipped"] == "big (branch)"
        assert "big" not in runs
        assert runs["use"].data.params == {"n": "3"}


@pytest.mark.slow
def test_a_store_that_cannot_be_written_costs_a_warning(project: Path) -> None:
    jobs = {"a": {"type": "command", "environment": "azureml:any@latest", "command": "true"}}
    (project / "p.yml").write_text(yaml.safe_dump({"type": "pipeline", "jobs": jobs}))
    done = azdistill("run", "p.yml", MLFLOW_TRACKING_URI="sqlite:////no/such/folder/mlflow.db")
    assert done.returncode == 0
    assert "warning: MLflow" in done.stderr


@pytest.mark.slow
def test_nobody_waits_for_a_store_that_does_not_answer(project: Path) -> None:
    warnings: list[str] = []
    tracker = Tracker("sqlite:////no/such/folder/mlflow.db", warnings.append)
    tracker.send("run_started", name="r", experiment="e", params={}, tags={}, headline=[])
    assert tracker.ask("child_run_id", 60, step="s") is None
    tracker.send("run_ended", **ENDED)
    begun = time.monotonic()
    tracker.close()
    assert time.monotonic() - begun < 30
    assert len(warnings) == 1


@pytest.mark.slow
def test_what_is_wrong_before_a_run_is_said_at_once(project: Path) -> None:
    jobs = {"a": {"type": "command", "environment": "azureml:any@latest", "command": "true"}}
    (project / "p.yml").write_text(yaml.safe_dump({"type": "pipeline", "jobs": jobs}))
    begun = time.monotonic()
    done = azdistill("run", "p.yml", "--python", "/no/such/python")
    assert done.returncode == 3
    assert done.stderr.splitlines()[0] == "error[AZD305]: no Python interpreter '/no/such/python'"
    assert time.monotonic() - begun < 60


@pytest.mark.slow
def test_a_wait_that_is_noticed_is_announced(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr("azdistill.local.tracking._NOTICED", 0.0)
    tracker = Tracker(tracking_uri(), told.append)
    tracker.send("run_started", name="r", experiment="e", params={}, tags={}, headline=[])
    tracker.send("run_ended", **ENDED)
    tracker.close(waiting=lambda: told.append("waiting"))
    assert told == ["waiting"]


@pytest.mark.slow
def test_a_runner_that_dies_leaves_no_run_open_and_no_process(project: Path) -> None:
    script = (
        "import os, sys; from azdistill.local.tracking import Tracker, environment, tracking_uri\n"
        "t = Tracker(tracking_uri(), print)\n"
        "t.send('run_started', name='r', experiment='e', params={}, tags={'azdistill.run_id': 'r'}, headline=[])\n"
        "print(t.ask('child_run_id', 60, step='s'), t._process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=90)
    pid = int(done.stdout.split()[-1])
    # It gives itself 1.2 s; the rest is for a busy machine.
    until = time.monotonic() + 30
    while _alive(pid) and time.monotonic() < until:
        time.sleep(0.01)
    assert not _alive(pid)
    assert {name: run.info.status for name, run in runs_of(project, "e").items()} == {"r": "KILLED", "s": "KILLED"}


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        (None, "sqlite:///{here}/mlflow.db"),
        ("sqlite:///a/b.db", "sqlite:///{here}/a/b.db"),
        ("sqlite:////abs/b.db", "sqlite:////abs/b.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("azureml://westus.api.azureml.ms/x", "azureml://westus.api.azureml.ms/x"),
        ("databricks", "databricks"),
    ],
)
def test_the_uri_reads_the_same_from_every_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None, seen: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", given) if given else monkeypatch.delenv(
        "MLFLOW_TRACKING_URI", raising=False
    )
    assert tracking_uri() == seen.format(here=tmp_path)


@pytest.mark.parametrize(("name", "valid"), [("loss", "loss"), ("rouge(1)", "rouge_1_"), ("größe", "gr__e"), ("", "_")])
def test_names_that_mlflow_refuses_are_replaced(name: str, valid: str) -> None:
    assert valid_name(name) == valid


def test_the_columns_of_a_distillation_are_the_models_and_what_compares_them() -> None:
    models = ("gold_sft", "distilled", "baseline", "teacher")
    logged = [f"{model}.{name}" for model in models for name in ("bleu", "accuracy", "rougeL", "parameters")]
    logged += ["rows", "throughput_ratio", "memory_reduction", "latency_reduction", "retention"]
    found = columns([*logged, "p_value_distilled_vs_baseline"], {"retention_metric": "accuracy"})
    assert found[:5] == [*(f"{model}.accuracy" for model in reversed(models)), "retention"]
    assert {"latency_reduction", "memory_reduction", "p_value_distilled_vs_baseline"} < set(found)
    assert len(found) <= MOST
    assert columns(logged, {"retention_metric": "bleu"})[0] == "teacher.bleu"
    assert columns(["teacher.rougeL", "distilled.rougeL"]) == ["teacher.rougeL", "distilled.rougeL"]


def test_the_columns_of_another_pipeline_are_the_first_that_it_logged() -> None:
    names = [f"m{number}" for number in range(30)]
    assert columns(names) == names[:MOST]
    assert columns([]) == []


def test_ui_prints_the_newest_experiments_page_first(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def serve(uri: str, port: int | None, on_answer: Callable[[int], object]) -> int:
        assert (uri, port) == (f"sqlite:///{project / 'mlflow.db'}", 5999)
        on_answer(5999)
        return 0

    monkeypatch.setattr("azdistill.local.tracking.ui.serve_ui", serve)
    with pytest.raises(SystemExit):
        ui_command.main(["--port", "5999"], standalone_mode=False)
    assert capsys.readouterr().out == "http://127.0.0.1:5999\n"
    with contextlib.closing(sqlite3.connect("mlflow.db")) as store, store:
        [(experiment,)] = store.execute("SELECT experiment_id FROM experiments WHERE name = 'template'")
        store.execute(
            "INSERT INTO experiment_tags (key, value, experiment_id) VALUES (?, '{}', ?)", (VIEW_TAG, experiment)
        )
    with pytest.raises(SystemExit):
        ui_command.main(["--port", "5999"], standalone_mode=False)
    page = f"http://127.0.0.1:5999/#/experiments/{experiment}/runs?viewStateShareKey=azdistill\n"
    assert capsys.readouterr().out == page


def test_numbers_that_are_not_finite_reach_mlflow_and_come_back(project: Path) -> None:
    from mlflow import MlflowClient

    warnings: list[str] = []
    tracker = Tracker(tracking_uri(), warnings.append)
    tracker.send("run_started", name="r", experiment="odd", params={}, tags={"azdistill.run_id": "r"}, headline=[])
    tracker.send("step_started", step="s", params={}, tags={})
    tracker.send("record", step="s", record={"kind": "metric", "name": "mine", "value": float("nan"), "step": 1})
    run_id = tracker.ask("child_run_id", 60, step="s")
    assert run_id
    MlflowClient(tracking_uri()).log_metric(run_id, "own", float("nan"), step=2)
    logged = tracker.ask("logged", 60, step="s")
    tracker.send("step_ended", step="s", **STEP_ENDED)
    tracker.send("run_ended", **ENDED)
    tracker.close()
    assert warnings == []
    assert [(record["name"], record["value"]) for record in logged if record["kind"] == "metric"] == [("own", "NaN")]
    assert [str(metric.value) for metric in history(project, runs_of(project, "odd")["s"])] == ["nan"]


@pytest.mark.parametrize(
    ("uri", "auth", "sees_all"),
    [
        *(("sqlite:///mlflow.db", "", False), ("https://tracking.example", "", False), ("databricks", "", False)),
        *(
            ("postgresql+psycopg2://u@h/d", "", False),
            ("odd-plugin://x", "", True),
            ("https://t.example", "mine", True),
        ),
    ],
)
def test_mlflow_is_given_no_keys_but_those_of_stores(
    uri: str, auth: str, sees_all: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = ("TEACHER_API_KEY", "HF_TOKEN", "AZURE_OPENAI_API_KEY", "OPENAI_API_KEY")
    server = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_SERVER_CERT_PATH", "HTTPS_PROXY", "REQUESTS_CA_BUNDLE", "NETRC")
    store = ("AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_CONNECTION_STRING", "AZURE_CONFIG_DIR", "IDENTITY_ENDPOINT")
    for name in (*keys, *server, *store):
        monkeypatch.setenv(name, "canary")
    monkeypatch.setenv("MLFLOW_TRACKING_AUTH", auth)
    given = environment(uri)
    assert [name for name in keys if name in given] == (list(keys) if sees_all else [])
    assert {"PATH", *server, *store} <= given.keys()


class SilentTracker:
    """A tracker that has every run, and a store at ``uri``."""

    def __init__(self, uri: str) -> None:
        self.uri = uri

    def send(self, method: str, **arguments: Any) -> None:
        """Nothing is sent."""

    def ask(self, method: str, timeout: float, **arguments: Any) -> str:
        return "a-run"


@pytest.mark.parametrize(
    ("uri", "apart", "has_run"),
    [
        *(("sqlite:////home/me/mlflow.db", False, True), ("sqlite:////home/me/mlflow.db", True, False)),
        *(("file:///home/me/mlruns", True, False), ("http://127.0.0.1:5000", True, True)),
    ],
)
def test_a_container_logs_to_no_store_whose_files_it_cannot_see(uri: str, apart: bool, has_run: bool) -> None:
    listener = TrackingListener(SilentTracker(uri), "p.yml", apart=apart)  # type: ignore[arg-type]
    plan = Plan("p", "e", {}, {}, {}, False, False, ())
    listener.hear(Event.of("run_started", plan=plan), RunState("run_1", Path(), "p"))
    assert ("MLFLOW_RUN_ID" in listener.variables("a", uses_mlflow=True)) is has_run


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="what a process was started with is known on Linux only")
def test_the_process_that_talks_to_mlflow_has_no_teachers_key(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEACHER_API_KEY", "canary-4711")
    tracker = Tracker(f"sqlite:///{project / 'mlflow.db'}", print)
    variables = Path(f"/proc/{tracker._process.pid}/environ")
    end = time.monotonic() + 60
    # Empty for a moment, while the process becomes the program.
    while not (seen := variables.read_bytes()):
        assert time.monotonic() < end
    tracker.close()
    assert b"MLFLOW_DISABLE_TELEMETRY" in seen
    assert b"canary-4711" not in seen
