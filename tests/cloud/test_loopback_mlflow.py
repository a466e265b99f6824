"""What steps log with MLflow's plugin for Azure ML is there for any MLflow client, with the service's limits."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback import Workspace
from loopback.execution.runs import Run
from loopback_pipelines import completed, ready, submit, write

LOGS = """
    import os
    import sys
    import mlflow

    mlflow.log_metric("loss", 0.5, step=1)
    mlflow.log_metric("loss", 0.25, step=2)
    mlflow.log_params({"lr": 0.1, "word": sys.argv[1]})
    mlflow.set_tag("colour", "blue")
    open("note.txt", "w").write("a note")
    mlflow.log_artifact("note.txt", "notes")
    client = mlflow.MlflowClient()
    parent = client.get_run(os.environ["AZUREML_RUN_ID"]).data.tags["mlflow.parentRunId"]
    client.log_metric(parent, "lifted", 3)
"""
READS = """
    import json, os, sys
    import mlflow
    from azure.ai.ml import MLClient
    from azure.core.credentials import AccessToken

    class Given:
        def get_token(self, *scopes, **options):
            return AccessToken(os.environ["TOKEN"], 4102444800)

    job, step, folder = sys.argv[1:]
    names = ("AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", "AZURE_ML_WORKSPACE")
    workspaces = MLClient(Given(), *(os.environ[name] for name in names)).workspaces
    mlflow.set_tracking_uri(workspaces.get(os.environ["AZURE_ML_WORKSPACE"]).mlflow_tracking_uri)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("logged")
    search = lambda *a, **k: [run.info.run_id for run in client.search_runs([experiment.experiment_id], *a, **k)]
    run = client.get_run(step)
    pages, token = [], None
    while token is None or token:
        page = client.search_runs([experiment.experiment_id], max_results=1, page_token=token)
        pages.append([run.info.run_id for run in page])
        token = page.token or ""
    def refused(*a, **k):
        try:
            search(*a, **k)
        except Exception as error:
            return str(error)
    answer = {
        "status": run.info.status,
        "metrics": run.data.metrics,
        "params": run.data.params,
        "tags": run.data.tags,
        "parent": client.get_run(job).data.metrics,
        "history": [[m.step, m.value] for m in client.get_metric_history(step, "loss")],
        "children": search(f"tags.`mlflow.parentRunId` = '{job}'"),
        "low": search("metrics.loss < 0.3 and params.word = 'hello' and attributes.status = 'FINISHED'"),
        "none": search("metrics.loss < 0.2"),
        "pages": pages,
        "ordered": refused(order_by=["metrics.loss DESC"]),
        "unlike": refused("tags.colour != 'red'"),
        "artifacts": [a.path for a in client.list_artifacts(step)],
        "note": open(client.download_artifacts(step, "notes/note.txt", folder)).read(),
        "absent": client.get_experiment_by_name("absent"),
        "registered": mlflow.register_model(f"file://{folder}/model", "kept").version,
    }
    try:
        client.search_logged_models([experiment.experiment_id])
    except Exception as error:
        answer["logged_models"] = str(error)
    print(json.dumps(answer))
"""


@pytest.fixture(scope="module")
def ws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with Workspace(tmp_path_factory.mktemp("workspace")) as workspace:
        yield workspace
        assert workspace.errors == []


@pytest.fixture(scope="module")
def logged(ws: Workspace, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A step has logged to the workspace, and a client in another process has read it: what it found."""
    folder, client = tmp_path_factory.mktemp("logged"), ready(ws)
    write(folder, "code/log.py", LOGS)
    write(folder, "model/MLmodel", "flavors: {}\nmodel_uuid: '1'\n")
    text = """
        type: pipeline
        experiment_name: logged
        settings: {default_compute: azureml:cpu}
        jobs:
          log:
            type: command
            code: ./code
            command: python log.py hello
            environment: {image: 'ubuntu:24.04'}
    """
    job = submit(client, folder, text)
    completed(ws, job.name)
    step = next(iter(client.jobs.list(parent_job_name=job.name)))
    token = ws.tokens.give("https://management.azure.com/.default")
    environment = {**os.environ, **ws.environment(), "TOKEN": token}
    script = write(folder, "read.py", READS)
    done = subprocess.run(
        [sys.executable, script, job.name, step.name, folder], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {**answer, "job": job.name, "step": step.name}


def test_what_a_step_logs_is_in_its_run(logged: dict[str, Any]) -> None:
    assert logged["status"] == "FINISHED"
    assert logged["metrics"] == {"loss": 0.25}
    assert logged["params"] == {"lr": "0.1", "word": "hello"}
    assert logged["history"] == [[1, 0.5], [2, 0.25]]
    assert logged["tags"]["colour"] == "blue"


def test_a_step_is_a_child_of_its_job_and_can_log_to_it(logged: dict[str, Any]) -> None:
    assert logged["tags"]["mlflow.parentRunId"] == logged["job"]
    assert logged["children"] == [logged["step"]]
    assert logged["parent"] == {"lifted": 3.0}


def test_runs_are_searched_and_paged(logged: dict[str, Any]) -> None:
    assert logged["low"] == [logged["step"]]
    assert logged["none"] == []
    assert logged["pages"] == [[logged["step"]], [logged["job"]]]


def test_searches_that_the_service_does_not_do_are_refused(logged: dict[str, Any]) -> None:
    assert "only attributes can be ordered by" in logged["ordered"]
    assert "!= is not supported on tags" in logged["unlike"]


def test_artifacts_are_listed_and_downloaded(logged: dict[str, Any]) -> None:
    assert {"notes", "user_logs"} <= set(logged["artifacts"])
    assert logged["note"] == "a note"


def test_an_experiment_that_is_absent_is_none(logged: dict[str, Any]) -> None:
    assert logged["absent"] is None


def test_there_is_no_api_of_logged_models(logged: dict[str, Any]) -> None:
    assert "logged-models/search failed with error code 404" in logged["logged_models"]


def test_a_registered_model_is_one_of_the_workspaces_models(ws: Workspace, logged: dict[str, Any]) -> None:
    assert logged["registered"] == "1"
    model = ws.client().models.get("kept", "1")
    assert model.type == "mlflow_model"
    assert "LocalUpload" in model.path


def test_a_reused_step_shows_the_metrics_of_the_run_it_reuses(ws: Workspace, logged: dict[str, Any]) -> None:
    from azure.ai.ml import load_job

    assert ws.jobs.runs.get(logged["step"]).metrics["loss"][-1]["value"] == 0.25
    source = Path(ws.folder.parent / "logged0")
    job = ws.client().jobs.create_or_update(load_job(source / "pipeline.yml"))
    ws.jobs.wait(job.name)
    step = ws.jobs.runs.children(job.name)[0]
    assert step.properties["azureml.reusedrunid"] == logged["step"]
    assert step.metrics["loss"][-1]["value"] == 0.25


class TestTracking:
    """The REST API itself."""

    @pytest.fixture(autouse=True)
    def run(self, ws: Workspace) -> Run:
        self._ws = ws
        return ws.jobs.runs.add(Run(f"run-{len(ws.jobs.runs.all())}", "rest"))

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        url = f"{self._ws.url}/mlflow/v2.0{self._ws.id}/api/2.0/mlflow/{path}"
        token = self._ws.tokens.give("https://ml.azure.com/.default")
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(url, method=method, data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, context=ssl.create_default_context(cafile=self._ws.ca)) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")

    def test_it_wants_a_token(self) -> None:
        url = f"{self._ws.url}/mlflow/v2.0{self._ws.id}/api/2.0/mlflow/runs/get?run_id=x"
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(url, context=ssl.create_default_context(cafile=self._ws.ca))

    def test_a_parameter_keeps_its_first_value(self, run: Run) -> None:
        body = {"run_id": run.name, "key": "lr", "value": "1"}
        assert self.call("POST", "runs/log-parameter", body)[0] == 200
        assert self.call("POST", "runs/log-parameter", body)[0] == 200
        status, answer = self.call("POST", "runs/log-parameter", {**body, "value": "2"})
        assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")

    def test_an_experiment_is_made_once(self) -> None:
        made = self.call("POST", "experiments/create", {"name": f"once-{id(self)}"})[1]["experiment_id"]
        status, answer = self.call("POST", "experiments/create", {"name": f"once-{id(self)}"})
        assert (status, answer["error_code"]) == (400, "RESOURCE_ALREADY_EXISTS")
        assert self.call("GET", f"experiments/get?experiment_id={made}")[1]["experiment"]["lifecycle_stage"] == "active"

    def test_a_run_of_ones_own_ends_when_it_says_so(self) -> None:
        experiment = self._ws.jobs.runs.experiment_id("own")
        made = self.call("POST", "runs/create", {"experiment_id": experiment, "run_name": "mine"})[1]["run"]["info"]
        assert made["status"] == "RUNNING"
        ended = self.call("POST", "runs/update", {"run_id": made["run_id"], "status": "FINISHED", "end_time": 1})
        assert ended[1]["run_info"]["status"] == "FINISHED"

    def test_the_status_of_a_job_is_the_services_business(self, run: Run) -> None:
        run.start()
        answer = self.call("POST", "runs/update", {"run_id": run.name, "status": "FAILED"})[1]
        assert answer["run_info"]["status"] == "RUNNING"

    def test_a_batch_holds_at_most_a_thousand_metrics(self, run: Run) -> None:
        metrics = [{"key": "m", "value": n, "timestamp": n, "step": n} for n in range(1001)]
        assert self.call("POST", "runs/log-batch", {"run_id": run.name, "metrics": metrics})[0] == 400
        assert self.call("POST", "runs/log-batch", {"run_id": run.name, "metrics": metrics[:1000]})[0] == 200
        assert len(run.metrics["m"]) == 1000

    @pytest.mark.parametrize(
        ("filter_", "found"),
        [
            ("attributes.run_name LIKE 'tri%'", True),
            ("run_name ILIKE 'TRI%'", True),
            ("params.a = 'x' AND tags.b = 'y'", True),
            ("params.a IN ('w', 'x')", True),
            ("metrics.m >= 1", True),
            ("metrics.m > 1", False),
            ("params.a != 'x'", False),
            ("params.absent = 'x'", False),
        ],
    )
    def test_a_filter(self, run: Run, filter_: str, found: bool) -> None:
        run.display_name, run.params, run.tags = "trial", {"a": "x"}, {"b": "y"}
        run.metrics = {"m": [{"key": "m", "value": 1.0, "timestamp": 1, "step": 0}]}
        experiment = self._ws.jobs.runs.experiment_id("rest")
        answer = self.call("POST", "runs/search", {"experiment_ids": [experiment], "filter": filter_})[1]
        assert (run.name in [one["info"]["run_id"] for one in answer["runs"]]) is found

    @pytest.mark.parametrize("filter_", ["nonsense", "planets.a = 'x'", "params.a = x", "metrics.`a b` > 1"])
    def test_a_filter_that_is_refused(self, filter_: str) -> None:
        experiment = self._ws.jobs.runs.experiment_id("rest")
        status, answer = self.call("POST", "runs/search", {"experiment_ids": [experiment], "filter": filter_})
        assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
