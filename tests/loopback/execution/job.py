"""One job while it runs: prepared, started, followed to its end by a thread of its own."""

from __future__ import annotations

import copy
import json
import re
import threading
import traceback
from typing import TYPE_CHECKING, Any

from . import logs
from .places import DEFAULT, standing_folder
from .process import Process
from .runs import ENDED, Run
from .steps import Steps, error_of
from .translate import Refused, pipeline_of

if TYPE_CHECKING:
    from .jobs import Jobs

_FAILED = (
    "Pipeline has failed child jobs. Failed nodes: {nodes}. For more details and logs, please go to the job detail "
    "page and check the child jobs."
)


class Job:
    """A job that was stored; its status is told in the store and in its run."""

    def __init__(self, jobs: Jobs, resource: dict[str, Any]) -> None:
        self._jobs, self._body = jobs, resource["properties"]
        self._folder = jobs.workspace.folder / "jobs" / resource["name"]
        self._process = Process(self._folder, jobs.home, resource["name"])
        self._run = jobs.runs.add(self._new_run(resource["name"]))
        self._lock = threading.Lock()
        self.thread = threading.Thread(target=self._follow, name=f"job {resource['name']}", daemon=True)

    def cancel(self) -> None:
        """Ask it to end."""
        with self._lock:
            if self._run.status not in ENDED:
                self._status("CancelRequested")
                self._process.asked.set()

    def _new_run(self, name: str) -> Run:
        body = self._body
        kind = "pipeline" if body.get("jobType") == "Pipeline" else "command"
        source = {"azureml.runsource": "azureml.PipelineRun"} if kind == "pipeline" else {}
        body["properties"], body["tags"] = {**source, **(body.get("properties") or {})}, body.get("tags") or {}
        return Run(
            name=name,
            experiment=body.get("experimentName") or "Default",
            kind=kind,
            display_name=body.get("displayName") or name,
            description=body.get("description"),
            compute=(body.get("computeId") or "").rpartition("/")[2] or None,
            # Shared: what is tagged in MLflow is tagged in ARM.
            properties=body["properties"],
            tags=body["tags"],
        )

    def _follow(self) -> None:
        try:
            steps = self._prepare()
            for event in self._process.run():
                if event["event"] == "run_started":
                    self._run.started = event["time"]
                    self._go_on("Running")
                steps.take(event)
            self._finish(steps)
        except Refused as refused:
            self._end("Failed", error_of("UserError", str(refused)))
        except Exception as error:  # noqa: BLE001 - a job never stays in a state that nothing will change any more
            self._jobs.workspace.errors.append(traceback.format_exc())
            self._end("Failed", error_of("SystemError", f"{type(error).__name__}: {error}"))

    def _filled(self) -> dict[str, Any]:
        """The job with what the service puts in place of its own expressions in inputs."""
        known = {"name": self._run.name, "default_datastore": DEFAULT}
        inputs = copy.deepcopy(self._body.get("inputs") or {})
        for given in inputs.values():
            if isinstance((given or {}).get("value"), str):
                given["value"] = re.sub(
                    r"\$\{\{\s*(\w+)\s*\}\}", lambda found: known.get(found[1], found[0]), given["value"]
                )
        return {**self._body, "inputs": inputs}

    def _prepare(self) -> Steps:
        """Everything that a process of its own needs to run the job."""
        places = self._jobs.places
        self._go_on("Preparing")
        self._folder.mkdir(parents=True)
        steps = Steps(self._jobs, self._run, self._body, self._folder)
        pipeline = pipeline_of(self._filled(), self._folder, places)
        for asked in steps.settings.values():
            standing_folder(places, self._jobs.home, asked.get("uri") or "")
        job = {
            "run_id": self._run.name,
            "command": self._run.kind != "pipeline",
            "experiment": self._run.experiment,
            "pipeline": {"name": self._run.name, **pipeline},
            "variables": self._variables(),
            "paths": places.names,
        }
        (self._folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        return steps

    def _variables(self) -> dict[str, str]:
        """What the service tells every command of the job."""
        workspace, experiment = self._jobs.workspace, self._run.experiment
        token = workspace.tokens.give("https://management.azure.com/.default", who=f"job {self._run.name}")
        return {
            **workspace.environment(),
            "AZUREML_ROOT_RUN_ID": self._run.name,
            "AZUREML_RUN_TOKEN": token,
            "AZUREML_ARM_PROJECT_NAME": experiment,
            "AZUREML_EXPERIMENT_ID": self._jobs.runs.experiment_id(experiment),
            "AZUREML_WORKSPACE_ID": workspace.guid,
            "MLFLOW_TRACKING_URI": self._jobs.tracking_uri,
            "MLFLOW_TRACKING_TOKEN": token,
            "MLFLOW_EXPERIMENT_NAME": experiment,
            "MLFLOW_EXPERIMENT_ID": self._jobs.runs.experiment_id(experiment),
        }

    def _finish(self, steps: Steps) -> None:
        result, failed = self._process.result(), steps.failed()
        steps.close()
        if result == "completed":
            steps.outputs()
            self._end("Completed")
        elif result == "canceled" or self._process.asked.is_set():
            self._end("Canceled")
        elif self._run.error:
            self._end("Failed", self._run.error)
        elif failed:
            nodes = ", ".join(f"/{name.replace('.', '/')}" for name in failed)
            self._end("Failed", error_of("UserError", _FAILED.format(nodes=nodes)))
        else:
            self._end("Failed", self._untold())

    def _untold(self) -> dict[str, Any]:
        """Why a job failed that no step of it did: it was refused as a whole, or its process broke."""
        told = self._folder / "error.json"
        if told.exists():
            error = json.loads(told.read_text(encoding="utf-8"))
            return error_of("UserError", error["message"], error["code"])
        self._jobs.workspace.errors.append(f"job {self._run.name}: {self._process.output}")
        return error_of("SystemError", (self._process.output.splitlines() or ["it was killed"])[-1])

    def _end(self, status: str, error: dict[str, Any] | None = None) -> None:
        if self._run.kind == "pipeline":
            logs.note(self._jobs.places, self._run, "Finishing experiment: no runs left and nothing to schedule.")
        with self._lock:
            self._run.end(status, error)
            self._status(status)

    def _go_on(self, status: str) -> None:
        """A status on the way, unless somebody has asked for the end meanwhile."""
        with self._lock:
            if not self._process.asked.is_set():
                self._status(status)

    def _status(self, status: str) -> None:
        self._run.status = self._body["status"] = status
