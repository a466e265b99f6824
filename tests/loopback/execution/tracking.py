"""MLflow's tracking API as the service has it: experiments, runs, metrics, parameters, tags. Run ids are job names."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..messages import Request, Response, ServiceError
from ..routes import GROUP, ML
from .runs import Run, Runs
from .search import matching, ordered

if TYPE_CHECKING:
    from ..workspace import Workspace
    from .jobs import Jobs

#: Both versions of the service answer alike.
API = f"/mlflow/{{edition}}{GROUP}{ML}/workspaces/{{workspace}}/api/2.0"
STATUS = {"Completed": "FINISHED", "Failed": "FAILED", "Canceled": "KILLED", "NotStarted": "SCHEDULED"}
_OTHERWISE = {"Queued": "SCHEDULED", "Preparing": "SCHEDULED"}
_BACK = {"FINISHED": "Completed", "FAILED": "Failed", "KILLED": "Canceled", "RUNNING": "Running"}
_KEYS = 250
_METRICS, _PARAMS, _TAGS = 1000, 100, 100


class MlflowError(ServiceError):
    """An error in MLflow's form: ``{"error_code", "message"}``."""

    def response(self) -> Response:
        """The answer this error makes."""
        return Response({"error_code": self.code, "message": self.message}, self.status, self.headers)


def bad(message: str) -> MlflowError:
    """A request that makes no sense."""
    return MlflowError(400, "INVALID_PARAMETER_VALUE", message)


def missing(message: str) -> MlflowError:
    """Something that is not there."""
    return MlflowError(404, "RESOURCE_DOES_NOT_EXIST", message)


def install(workspace: Workspace, jobs: Jobs) -> None:
    """Add the routes."""
    api = Tracking(workspace, jobs.runs)
    routes: dict[str, Callable[[dict[str, Any]], Any]] = {
        "POST experiments/create": api.create_experiment,
        "GET experiments/get": api.get_experiment,
        "GET experiments/get-by-name": api.get_experiment,
        "POST experiments/search": api.search_experiments,
        "GET experiments/search": api.search_experiments,
        "POST experiments/set-experiment-tag": api.set_experiment_tag,
        "POST runs/create": api.create_run,
        "GET runs/get": api.get_run,
        "POST runs/update": api.update_run,
        "POST runs/delete": lambda sent: api.hide(sent, True),
        "POST runs/restore": lambda sent: api.hide(sent, False),
        "POST runs/search": api.search_runs,
        "POST runs/log-metric": api.log_metric,
        "POST runs/log-parameter": api.log_parameter,
        "POST runs/log-batch": api.log_batch,
        "POST runs/set-tag": api.set_tag,
        "POST runs/delete-tag": api.delete_tag,
        "GET metrics/get-history": api.history,
    }
    for name, handler in routes.items():
        method, _, path = name.partition(" ")
        workspace.routes.add(method, f"{API}/mlflow/{path}", answering(handler), guard="ml")
    add = workspace.routes.add
    add("POST", f"{API}/preview/mlflow/runs/log-batch-async", answering(api.log_batch_async), guard="ml")
    add("GET", f"{API}/preview/mlflow/runs/get-run-data-status", answering(lambda _: {"is_complete": True}), guard="ml")


def answering(handler: Callable[[dict[str, Any]], Any]) -> Callable[[Request], Response]:
    """A route's handler of a function from what was sent (a body, or a query) to what is answered."""

    def answer(request: Request) -> Response:
        sent = {**request.query, **request.json()} if request.method != "GET" else dict(request.query)
        return Response(handler(sent) or {})

    return answer


def page(sent: dict[str, Any], found: list[Any], size: int = 1000) -> tuple[list[Any], dict[str, str]]:
    """One page of what was found, and the token of the next."""
    token = str(sent.get("page_token") or "0")
    if not token.isdigit():
        raise bad(f"Invalid page token '{token}'")
    start, most = int(token), int(sent.get("max_results") or size)
    rest = {"next_page_token": str(start + most)} if start + most < len(found) else {}
    return found[start : start + most], rest


class Tracking:
    """The handlers; each gets what was sent and gives the answer."""

    def __init__(self, workspace: Workspace, runs: Runs) -> None:
        self._workspace, self._runs = workspace, runs
        self._tags: dict[str, dict[str, str]] = {}

    # Experiments -------------------------------------------------------------------------------------------------

    def create_experiment(self, sent: dict[str, Any]) -> Any:
        name = sent.get("name") or ""
        if not name:
            raise bad("Experiment name cannot be empty.")
        if name in self._runs.experiments.values():
            raise MlflowError(400, "RESOURCE_ALREADY_EXISTS", f"Experiment '{name}' already exists.")
        return {"experiment_id": self._runs.experiment_id(name)}

    def get_experiment(self, sent: dict[str, Any]) -> Any:
        wanted = sent.get("experiment_id") or sent.get("experiment_name")
        for key, name in self._runs.experiments.items():
            if wanted in (key, name):
                return {"experiment": self._experiment(key)}
        raise missing(f"Could not find experiment {wanted}.")

    def search_experiments(self, sent: dict[str, Any]) -> Any:
        every = [self._experiment(key) for key in reversed(self._runs.experiments)]
        look = [({"name": one["name"]}, {}, {}, self._tags.get(one["experiment_id"], {}), one) for one in every]
        found, rest = page(sent, matching(sent.get("filter"), look))
        return {"experiments": found, **rest}

    def set_experiment_tag(self, sent: dict[str, Any]) -> None:
        self.get_experiment(sent)
        self._tags.setdefault(sent["experiment_id"], {})[sent["key"]] = sent["value"]

    def _experiment(self, key: str) -> dict[str, Any]:
        return {
            "experiment_id": key,
            "name": self._runs.experiments[key],
            "artifact_location": "",
            "lifecycle_stage": "active",
            "tags": _pairs(self._tags.get(key, {})),
        }

    # Runs --------------------------------------------------------------------------------------------------------

    def create_run(self, sent: dict[str, Any]) -> Any:
        experiment = self._runs.experiments.get(str(sent.get("experiment_id")))
        if experiment is None:
            raise missing(f"Could not find experiment {sent.get('experiment_id')}.")
        tags = {tag["key"]: tag["value"] for tag in sent.get("tags") or []}
        parent = self._runs.get(tags.get("mlflow.parentRunId", ""))
        name = str(uuid.uuid4())
        run = Run(
            name,
            experiment,
            kind="interactive",
            display_name=sent.get("run_name") or tags.get("mlflow.runName") or name[:8],
            parent=parent.name if parent else None,
            root=parent.root if parent else name,
            tags=tags,
        )
        run.start()
        return {"run": self._described(self._runs.add(run))}

    def get_run(self, sent: dict[str, Any]) -> Any:
        return {"run": self._described(self._run(sent))}

    def update_run(self, sent: dict[str, Any]) -> Any:
        """Name and status; a job's status is the service's own business."""
        run = self._run(sent)
        run.display_name = sent.get("run_name") or run.display_name
        if sent.get("status") and run.kind == "interactive":
            run.status = _BACK.get(sent["status"], "Running")
            run.ended = int(sent.get("end_time") or time.time() * 1000) / 1000 if run.status != "Running" else None
        return {"run_info": self._described(run)["info"]}

    def hide(self, sent: dict[str, Any], hidden: bool) -> None:
        self._run(sent).hidden = hidden

    def search_runs(self, sent: dict[str, Any]) -> Any:
        names = [self._runs.experiments.get(key) for key in sent.get("experiment_ids") or []]
        view = sent.get("run_view_type") or "ACTIVE_ONLY"
        runs = [run for run in self._runs.all() if run.experiment in names and not (run.parent and _waits(run))]
        runs = [run for run in runs if view == "ALL" or run.hidden is (view == "DELETED_ONLY")]
        look = [(_attributes(run), _last(run), run.params, self._all_tags(run), run) for run in runs]
        found, rest = page(sent, ordered(sent.get("order_by"), matching(sent.get("filter"), look), _attributes))
        return {"runs": [self._described(run) for run in found], **rest}

    # What is logged ----------------------------------------------------------------------------------------------

    def log_metric(self, sent: dict[str, Any]) -> None:
        self._metric(self._run(sent), sent)

    def log_parameter(self, sent: dict[str, Any]) -> None:
        self._param(self._run(sent), sent)

    def set_tag(self, sent: dict[str, Any]) -> None:
        self._tag(self._run(sent), sent)

    def delete_tag(self, sent: dict[str, Any]) -> None:
        if self._run(sent).tags.pop(sent["key"], None) is None:
            raise missing(f"No tag '{sent['key']}' on run {sent['run_id']}.")

    def log_batch(self, sent: dict[str, Any]) -> None:
        run = self._run(sent)
        metrics, params, tags = (sent.get(kind) or [] for kind in ("metrics", "params", "tags"))
        for kind, given, most in (("metrics", metrics, _METRICS), ("params", params, _PARAMS), ("tags", tags, _TAGS)):
            if len(given) > most:
                raise bad(f"A batch logging request can contain at most {most} {kind}. Got {len(given)} {kind}.")
        for param in params:
            self._param(run, param)
        for metric in metrics:
            self._metric(run, metric)
        for tag in tags:
            self._tag(run, tag)

    def log_batch_async(self, sent: dict[str, Any]) -> Any:
        self.log_batch(sent)
        return {"batch_tracking_id": uuid.uuid4().hex}

    def history(self, sent: dict[str, Any]) -> Any:
        found, rest = page(sent, self._run(sent).metrics.get(sent.get("metric_key") or "", []), 25000)
        return {"metrics": found, **rest}

    def _metric(self, run: Run, sent: dict[str, Any]) -> None:
        point = {
            "key": _key(sent),
            "value": float(sent["value"]),
            "timestamp": int(sent.get("timestamp") or time.time() * 1000),
            "step": int(sent.get("step") or 0),
        }
        with self._runs.lock:
            run.metrics.setdefault(point["key"], []).append(point)

    def _param(self, run: Run, sent: dict[str, Any]) -> None:
        key, value = _key(sent), str(sent.get("value") or "")
        if run.params.get(key, value) != value:
            raise bad(f"Changing param values is not allowed. Param with key='{key}' was already logged.")
        run.params[key] = value

    def _tag(self, run: Run, sent: dict[str, Any]) -> None:
        if sent.get("key") == "mlflow.runName":
            run.display_name = str(sent.get("value") or "")
        run.tags[_key(sent)] = str(sent.get("value") or "")

    # Describing --------------------------------------------------------------------------------------------------

    def _run(self, sent: dict[str, Any]) -> Run:
        wanted = sent.get("run_id") or sent.get("run_uuid") or ""
        run = self._runs.get(wanted)
        if run is None:
            raise missing(f"Run '{wanted}' not found.")
        return run

    def _described(self, run: Run) -> dict[str, Any]:
        experiment = self._runs.experiment_id(run.experiment)
        host = self._workspace.url.removeprefix("https://")
        base = f"azureml://{host}/mlflow/v2.0{self._workspace.id}/experiments/{experiment}/runs/{run.name}/artifacts"
        attributes = _attributes(run)
        info = {
            "run_id": run.name,
            "run_uuid": run.name,
            "run_name": run.display_name,
            "experiment_id": experiment,
            "user_id": "Loopback User",
            "status": attributes["status"],
            "start_time": attributes["start_time"],
            "end_time": attributes["end_time"],
            "artifact_uri": base,
            "lifecycle_stage": "deleted" if run.hidden else "active",
        }
        with self._runs.lock:
            metrics = [_latest(points) for points in run.metrics.values()]
        data = {"metrics": metrics, "params": _pairs(run.params), "tags": _pairs(self._all_tags(run))}
        return {"info": {key: value for key, value in info.items() if value is not None}, "data": data}

    def _all_tags(self, run: Run) -> dict[str, str]:
        own = {"mlflow.rootRunId": run.root, "mlflow.runName": run.display_name, "mlflow.user": "Loopback User"}
        return {**own, **({"mlflow.parentRunId": run.parent} if run.parent else {}), **run.tags}


def _attributes(run: Run) -> dict[str, Any]:
    status = STATUS.get(run.status) or _OTHERWISE.get(run.status) or "RUNNING"
    return {
        "run_id": run.name,
        "run_name": run.display_name,
        "status": status,
        "start_time": int((run.started or run.created) * 1000),
        "end_time": int(run.ended * 1000) if run.ended else None,
        "created": run.created,
    }


def _latest(points: list[dict[str, Any]]) -> dict[str, Any]:
    return max(points, key=lambda point: (point["step"], point["timestamp"]))


def _last(run: Run) -> dict[str, float]:
    return {key: _latest(points)["value"] for key, points in run.metrics.items()}


def _waits(run: Run) -> bool:
    return run.status == "NotStarted"


def _pairs(mapping: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": str(value)} for key, value in mapping.items()]


def _key(sent: dict[str, Any]) -> str:
    key = str(sent.get("key") or "")
    if not key or len(key) > _KEYS:
        raise bad(f"A key needs 1 to {_KEYS} characters, not {len(key)}.")
    return key
