"""Jobs that really run: a process per job, watched by a thread that carries its events into the workspace's runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import delivery
from .places import Places
from .runs import ENDED, Run, Runs
from .translate import Refused, output_settings, pipeline_of
from .worker import child_of

if TYPE_CHECKING:
    from ..workspace import Workspace

_POLL = 0.1
_ROOT = Path(__file__).parents[3]
_TESTS = Path(__file__).parents[2]
_STATUS = {"completed": "Completed", "cached": "Completed", "failed": "Failed", "canceled": "Canceled"}


class Jobs:
    """The jobs of a workspace that were submitted since it started."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.runs = workspace, Runs()
        self.places = Places(workspace, self.runs)
        self.home = workspace.folder / "compute"
        self._running: dict[str, _Job] = {}
        #: Cache key of a step -> the run that made its result.
        self.made_by: dict[str, str] = {}

    def submit(self, resource: dict[str, Any]) -> None:
        """Run a job that was just stored; what is wrong with it is told in its run, as Azure does."""
        job = _Job(self, resource)
        self._running[resource["name"]] = job
        job.start()

    def put(self, name: str, properties: dict[str, Any]) -> None:
        """Make a job that nobody sent: a schedule's."""
        studio = f"https://ml.azure.com/runs/{name}?wsid={self.workspace.id}&tid={self.workspace.tenant_id}"
        services = {
            "Studio": {"jobServiceType": "Studio", "endpoint": studio, "properties": None},
            "Tracking": {"jobServiceType": "Tracking", "endpoint": tracking_uri(self.workspace), "properties": None},
        }
        known = {"experimentName": "Default", **properties, "status": "NotStarted", "services": services}
        self.workspace.emit("job_put", name, self.workspace.store.put("jobs", name, {"properties": known}))

    def changed(self, name: str, resource: dict[str, Any]) -> None:
        """Tags or names of a job were changed in ARM: its run says the same."""
        if run := self.runs.get(name):
            properties = resource["properties"]
            run.tags = properties.get("tags") or {}
            run.display_name, run.description = properties["displayName"], properties.get("description")
            run.hidden = bool(properties.get("isArchived"))

    def cancel(self, name: str) -> None:
        """Ask a job to end."""
        if job := self._running.get(name):
            job.cancel()

    def wait(self, name: str, timeout: float = 60) -> Run:
        """The run of a job that has ended, at the latest after ``timeout`` seconds."""
        self._running[name].thread.join(timeout)
        run = self.runs.get(name)
        assert run
        return run

    def close(self) -> None:
        """End everything that still runs."""
        for job in self._running.values():
            job.cancel()
        for job in self._running.values():
            job.thread.join(20)


def tracking_uri(workspace: Workspace) -> str:
    """The workspace's MLflow address for the plugin of Azure ML."""
    return f"azureml://{workspace.url.removeprefix('https://')}/mlflow/v1.0{workspace.id}"


class _Job:
    """One job while it runs."""

    def __init__(self, jobs: Jobs, resource: dict[str, Any]) -> None:
        self._jobs, self._resource = jobs, resource
        self._workspace, self._runs, self._places = jobs.workspace, jobs.runs, jobs.places
        self.name, self._body = resource["name"], resource["properties"]
        self._folder = jobs.workspace.folder / "jobs" / self.name
        self._run = self._runs.add(self._root_run())
        self._settings: dict[tuple[str, str], dict[str, Any]] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._canceled = threading.Event()
        self._plan: dict[str, Any] | None = None
        self.thread = threading.Thread(target=self._follow, name=f"job {self.name}", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def cancel(self) -> None:
        if self._run.status in ENDED:
            return
        self._canceled.set()
        self._status("CancelRequested")
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)

    def _root_run(self) -> Run:
        body = self._body
        kind = "pipeline" if body.get("jobType") == "Pipeline" else "command"
        kept = {"azureml.runsource" if kind == "pipeline" else "_azureml.ComputeTargetType": "azureml.PipelineRun"}
        return Run(
            name=self.name,
            experiment=body.get("experimentName") or "Default",
            kind=kind,
            display_name=body.get("displayName") or self.name,
            description=body.get("description"),
            properties={**kept, **(body.get("properties") or {})}
            if kind == "pipeline"
            else body.get("properties") or {},
            tags=body.get("tags") or {},
        )

    def _follow(self) -> None:
        try:
            self._begin()
            self._watch()
        except Refused as refused:
            self._end("Failed", _error("UserError", str(refused)))
        except Exception as error:  # noqa: BLE001 - a job never stays in a state that nothing will change any more
            self._workspace.errors.append(f"job {self.name}: {type(error).__name__}: {error}")
            self._end("Failed", _error("SystemError", f"{type(error).__name__}: {error}"))

    def _begin(self) -> None:
        self._note("The job was submitted.")
        self._folder.mkdir(parents=True)
        self._settings = output_settings(self._body, self._places)
        pipeline = pipeline_of(self._body, self._folder, self._places)
        self._link_standing()
        job = {
            "run_id": self.name,
            "experiment": self._run.experiment,
            "pipeline": {"name": self.name, **pipeline},
            "variables": self._variables(),
            "paths": self._places.names,
        }
        (self._folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        self._status("Preparing")
        if self._canceled.is_set():
            return
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("AZURE", "MLFLOW", "AZD"))
        }
        path = os.pathsep.join((str(_TESTS), str(_ROOT)))
        log = (self._folder / "worker.txt").open("wb")
        with log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "loopback.execution.worker", str(self._folder)],
                env={**inherited, "AZDISTILL_HOME": str(self._jobs.home), "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,
            )

    def _variables(self) -> dict[str, str]:
        workspace = self._workspace
        token = workspace.tokens.give("https://management.azure.com/.default", who=f"job {self.name}")
        return {
            **workspace.environment(),
            "AZUREML_ROOT_RUN_ID": self.name,
            "AZUREML_RUN_TOKEN": token,
            "AZUREML_ARM_PROJECT_NAME": self._run.experiment,
            "AZUREML_EXPERIMENT_ID": self._runs.experiment_id(self._run.experiment),
            "AZUREML_WORKSPACE_ID": workspace.guid,
            "MLFLOW_TRACKING_URI": tracking_uri(workspace),
            "MLFLOW_TRACKING_TOKEN": token,
            "MLFLOW_EXPERIMENT_NAME": self._run.experiment,
            "MLFLOW_EXPERIMENT_ID": self._runs.experiment_id(self._run.experiment),
        }

    def _link_standing(self) -> None:
        """Let the folders that outlive a run be the container's own."""
        home = self._jobs.home
        for (step, output), asked in self._settings.items():
            uri = asked.get("uri", "")
            if not uri or "${{" in uri:
                continue
            target = self._places.path(uri)
            datastore = uri.partition("datastores/")[2].partition("/")[0]
            inner = target.relative_to(self._places.datastore(datastore))
            if inner.parts[:1] == ("azdistill",):
                inner = inner.relative_to("azdistill")
                link, target = home / inner.parts[0], self._places.datastore(datastore) / "azdistill" / inner.parts[0]
            else:
                link, target = home / "datastores" / datastore, self._places.datastore(datastore)
            target.mkdir(parents=True, exist_ok=True)
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(target)

    # While it runs -----------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        log, offset = self._jobs.home / "runs" / self.name / "events.jsonl", 0
        while self._process:
            over = self._process.poll() is not None
            if log.exists():
                with log.open("rb") as file:
                    file.seek(offset)
                    data = file.read()
                whole = data[: data.rfind(b"\n") + 1]
                offset += len(whole)
                for line in whole.splitlines():
                    self._take(json.loads(line))
            if over:
                break
            if self._canceled.is_set():
                # Asked before the process could listen: asked again.
                self._canceled.clear()
                self._process.send_signal(signal.SIGINT)
            time.sleep(_POLL)
        self._finish()

    def _take(self, event: dict[str, Any]) -> None:
        handler = getattr(self, f"_on_{event['event']}", None)
        if handler:
            handler(event)

    def _on_run_started(self, event: dict[str, Any]) -> None:
        self._run.start()
        self._status("Running")
        for name in event["steps"]:
            self._add_step(name)

    def _add_step(self, name: str) -> Run:
        step = name.rpartition(".")[2]
        owner = self._parent(name)
        node = self._node(name)
        display = node.get("display_name") or step
        properties = {
            "azureml.runsource": "azureml.StepRun",
            "azureml.moduleName": display,
            "azureml.nodeid": uuid.uuid5(uuid.NAMESPACE_URL, f"node/{self.name}/{name}").hex[:8],
            "azureml.pipelinerunid": self.name,
            "azureml.pipeline": self.name,
            "azureml.isreused": "false",
            "stepname": step,
        }
        run = Run(
            name=child_of(self.name, name),
            experiment=self._run.experiment,
            kind="command",
            display_name=display,
            parent=owner,
            root=self.name,
            step=name,
            properties=properties,
            compute=(node.get("computeId") or "").rpartition("/")[2] or None,
            tags=dict(node.get("tags") or {}),
        )
        return self._runs.add(run)

    def _parent(self, name: str) -> str:
        """The run that a step belongs to: the job's, or that of the nested pipeline around the step."""
        outer = name.rpartition(".")[0]
        if not outer:
            return self.name
        child = child_of(self.name, outer)
        if self._runs.get(child) is None:
            self._add_step(outer).kind = "pipeline"
        return child

    def _node(self, name: str) -> dict[str, Any]:
        nodes, node = self._body.get("jobs") or {}, {}
        for part in name.split("."):
            node = nodes.get(part) or {}
            spec = self._places.component(node["componentId"])["componentSpec"] if node.get("componentId") else {}
            nodes = spec.get("jobs") or {}
        return dict(node)

    def _on_step_started(self, event: dict[str, Any]) -> None:
        run = self._step(event["step"])
        run.start()
        self._note(f"Step {event['step']} started ({run.name}).")
        self._link_log(run, "user_logs/std_log.txt", Path(event["log"]))
        self._tell_parents(event["step"])

    def _on_step_ended(self, event: dict[str, Any]) -> None:
        if event["status"] not in _STATUS:
            return
        name, run = event["step"], self._step(event["step"])
        if event["status"] == "canceled" and run.started is None:
            return
        original = self._runs.get(self._jobs.made_by.get(event.get("key") or "", ""))
        if event["status"] == "cached" and original:
            self._reuse(run, original)
        elif event["status"] in ("completed", "cached"):
            self._keep(name, run, event)
        self._close_log(run)
        error = _error("UserError", f"Execution failed. User process exited: {event['error']}")
        run.end(_STATUS[event["status"]], error if event["status"] == "failed" else None)
        self._note(f"Step {name} {event['status']}. {event['error']}".rstrip())
        self._tell_parents(name)

    def _reuse(self, run: Run, original: Run) -> None:
        run.start()
        run.properties |= {
            "azureml.isreused": "true",
            "azureml.reusedrunid": original.name,
            "azureml.reusednodeid": original.properties.get("azureml.nodeid", ""),
            "azureml.reusedpipelinerunid": original.root,
            "azureml.reusedpipeline": original.root,
        }
        run.outputs, run.logs = dict(original.outputs), dict(original.logs)
        run.metrics, run.params = dict(original.metrics), dict(original.params)

    def _keep(self, name: str, run: Run, event: dict[str, Any]) -> None:
        for output, about in self._planned()["steps"][name].items():
            asked = self._settings.get((name, output), {})
            uri = delivery.uri_of(asked, run, output, about["kind"])
            delivery.keep_output(self._places, uri, Path(event["outputs"][output]))
            delivery.register(self._workspace, run, output, uri, about["kind"], asked)
        attempts = self._jobs.home / "runs" / self.name / "steps" / name / "attempts"
        for attempt in sorted(attempts.iterdir()) if attempts.is_dir() else ():
            delivery.keep_artifacts(self._places, run, attempt / "snapshot")
        if event.get("key"):
            self._jobs.made_by[event["key"]] = run.name

    def _tell_parents(self, name: str) -> None:
        """A nested pipeline runs as long as one of its steps does."""
        outer = name.rpartition(".")[0]
        while outer:
            run = self._step(outer)
            inner = [other for other in self._runs.all() if other.parent == run.name]
            statuses = {other.status for other in inner}
            if run.started is None:
                run.start()
            if statuses <= {*ENDED, "NotStarted"} and (
                "NotStarted" not in statuses or statuses & {"Failed", "Canceled"}
            ):
                run.end(next((s for s in ("Failed", "Canceled") if s in statuses), "Completed"))
            outer = outer.rpartition(".")[0]

    # The end -----------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        failed = self._folder / "error.json"
        state = self._state()
        if state == "completed":
            self._pipeline_outputs()
            self._end("Completed")
        elif state == "canceled" or self._run.status == "CancelRequested":
            self._end("Canceled")
        elif failed.exists():
            told = json.loads(failed.read_text(encoding="utf-8"))
            self._end("Failed", _error("UserError", told["message"], told["code"]))
        else:
            # Nothing told what happened: the process itself broke.
            text = (self._folder / "worker.txt").read_text(errors="replace")
            self._workspace.errors.append(f"job {self.name}: {text}")
            self._end(
                "Failed", _error("SystemError", text.strip().splitlines()[-1] if text.strip() else "it was killed")
            )

    def _state(self) -> str:
        summary = self._jobs.home / "runs" / self.name / "run.json"
        return str(json.loads(summary.read_text(encoding="utf-8"))["status"]) if summary.exists() else ""

    def _pipeline_outputs(self) -> None:
        for output, (step, inner) in self._planned()["outputs"].items():
            made = self._step(step).outputs[inner]
            kind = self._planned()["steps"][step][inner]["kind"]
            delivery.register(self._workspace, self._run, output, made.uri, kind, {})
            told = self._body.setdefault("outputs", {}).setdefault(output, {"jobOutputType": kind})
            told["uri"] = made.uri

    def _planned(self) -> dict[str, Any]:
        if self._plan is None:
            self._plan = json.loads((self._folder / "plan.json").read_text(encoding="utf-8"))
        assert self._plan is not None
        return self._plan

    def _end(self, status: str, error: dict[str, Any] | None = None) -> None:
        for run in self._runs.all():
            if run.root == self.name and run is not self._run and run.started and run.status not in ENDED:
                run.end("Canceled")
        self._note(f"The job {status.lower()}.")
        self._run.end(status, error)
        self._status(status)

    def _status(self, status: str) -> None:
        self._run.status = status
        self._body["status"] = status

    def _step(self, name: str) -> Run:
        run = self._runs.get(child_of(self.name, name))
        assert run, name
        return run

    def _note(self, text: str) -> None:
        """Add a line to the pipeline's own log."""
        name = "logs/azureml/executionlogs.txt"
        path = self._places.artifacts(self.name) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(f"[{time.strftime('%Y-%m-%d %H:%M:%SZ', time.gmtime())}] {text}\n")
        self._run.logs[name] = path

    def _link_log(self, run: Run, name: str, log: Path) -> None:
        """The artifact store shows the log while it grows."""
        path = self._places.artifacts(run.name) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        log.touch()
        path.unlink(missing_ok=True)
        path.symlink_to(log)
        run.logs[name] = path
        if self._run.kind == "command":
            self._run.logs[name] = path

    def _close_log(self, run: Run) -> None:
        for path in run.logs.values():
            if path.is_symlink():
                text = path.read_bytes()
                path.unlink()
                path.write_bytes(text)


def _error(code: str, message: str, inner: str | None = None) -> dict[str, Any]:
    """An error as run history tells it."""
    error = {"code": code, "message": message, "messageParameters": {}, "details": []}
    if inner:
        error["innerError"] = {"code": inner, "innerError": None}
    return {"error": error, "correlation": {}, "environment": "westeurope", "location": "westeurope"}
