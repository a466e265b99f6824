"""What happens to the steps of a job, carried into runs of their own."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import delivery, logs
from .runs import ENDED, Run
from .translate import output_settings
from .worker import name_of

if TYPE_CHECKING:
    from .jobs import Jobs

_STATUS = {"completed": "Completed", "cached": "Completed", "failed": "Failed", "canceled": "Canceled"}


class Steps:
    """The steps of one job. ``run`` is the job's own run, which a job of one command is its only step's, too."""

    def __init__(self, jobs: Jobs, run: Run, body: dict[str, Any], folder: Path) -> None:
        self._jobs, self._run, self._body, self._folder = jobs, run, body, folder
        self._runs, self._places = jobs.runs, jobs.places
        self.settings = output_settings(body, jobs.places)
        self._plan: dict[str, Any] | None = None

    def take(self, event: dict[str, Any]) -> None:
        """Carry one event of the run's log."""
        match event["event"]:
            case "run_started":
                for name in event["steps"]:
                    self._add(name)
            case "step_started":
                self._started(event["step"], Path(event["log"]))
            case "step_ended":
                self._ended(event["step"], event)

    def outputs(self) -> None:
        """The job has succeeded: its own outputs are those of its steps."""
        for output, (step, inner) in self._planned()["outputs"].items():
            made, kind = self._step(step).outputs[inner], self._planned()["steps"][step][inner]["kind"]
            if self._run.kind == "pipeline":
                delivery.register(self._jobs.workspace, self._run, output, made.uri, kind, {})
            told = self._body.setdefault("outputs", {})
            told[output] = {**(told.get(output) or {"jobOutputType": kind}), "uri": made.uri}

    def close(self) -> None:
        """Nothing of the job lives any more: what has not ended was canceled with it."""
        for run in self._runs.all():
            if run.root == self._run.name and run is not self._run and run.started and run.status not in ENDED:
                logs.keep(run)
                run.end("Canceled")

    def failed(self) -> list[str]:
        """The names of the steps that failed."""
        return [
            run.step for run in self._runs.all() if run.root == self._run.name and run.status == "Failed" and run.step
        ]

    def _add(self, name: str) -> Run | None:
        if self._run.kind != "pipeline":
            return None
        node, step = self._node(name), name.rpartition(".")[2]
        properties = {
            "azureml.runsource": "azureml.StepRun",
            "azureml.moduleName": node.get("display_name") or step,
            "azureml.nodeid": uuid.uuid5(uuid.NAMESPACE_URL, f"node/{self._run.name}/{name}").hex[:8],
            "azureml.pipelinerunid": self._run.name,
            "azureml.pipeline": self._run.name,
            "azureml.isreused": "false",
            "stepname": step,
        }
        compute = node.get("computeId") or (self._body.get("settings") or {}).get("default_compute") or ""
        run = Run(
            name=name_of(self._run.name, name),
            experiment=self._run.experiment,
            kind="command",
            display_name=properties["azureml.moduleName"],
            parent=self._parent(name),
            root=self._run.name,
            step=name,
            properties=properties,
            compute=compute.rpartition("/")[2] or None,
            tags=dict(node.get("tags") or {}),
        )
        return self._runs.add(run)

    def _parent(self, name: str) -> str:
        """The run that a step belongs to: the job's, or that of the nested pipeline around the step."""
        outer = name.rpartition(".")[0]
        if not outer:
            return self._run.name
        around = self._runs.get(name_of(self._run.name, outer)) or self._add(outer)
        assert around
        around.kind = "pipeline"
        return around.name

    def _node(self, name: str) -> dict[str, Any]:
        nodes, node = self._body.get("jobs") or {}, {}
        for part in name.split("."):
            node = nodes.get(part) or {}
            spec = self._places.component(node["componentId"])["componentSpec"] if node.get("componentId") else {}
            nodes = spec.get("jobs") or {}
        return dict(node)

    def _started(self, name: str, log: Path) -> None:
        run = self._step(name)
        run.start()
        self._note(f"Submitting 1 runs, first five are: {run.properties.get('azureml.nodeid', '')}:{run.name}")
        logs.show(self._places, run, log)
        self._tell_around(name)

    def _ended(self, name: str, event: dict[str, Any]) -> None:
        run, status = self._step(name), event["status"]
        if status not in _STATUS or (status == "canceled" and run.started is None):
            return
        original = self._runs.get(self._jobs.made_by.get(event.get("key") or "", ""))
        if status == "cached" and original:
            self._reuse(run, original)
        elif status in ("completed", "cached"):
            self._keep(name, run, event)
        self._collect(name, run)
        logs.keep(run)
        if run is not self._run:
            run.end(_STATUS[status], step_error(event) if status == "failed" else None)
        elif status == "failed":
            run.error = step_error(event)
        self._note(f"Completing processing run id {run.name}.")
        self._tell_around(name)

    def _reuse(self, run: Run, original: Run) -> None:
        """Nothing ran: everything is the earlier run's."""
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
            asked = self.settings.get((name, output), {})
            uri = delivery.uri_of(asked, run, output, about["kind"])
            delivery.keep_output(self._places, uri, Path(event["outputs"][output]))
            delivery.register(self._jobs.workspace, run, output, uri, about["kind"], asked)
        if event.get("key"):
            self._jobs.made_by[event["key"]] = run.name

    def _collect(self, name: str, run: Run) -> None:
        """What the step left in its working directory is kept, however it ended."""
        attempts = self._jobs.home / "runs" / self._run.name / "steps" / name / "attempts"
        for attempt in sorted(attempts.iterdir()) if attempts.is_dir() else ():
            delivery.keep_artifacts(self._places, run, attempt / "snapshot")

    def _tell_around(self, name: str) -> None:
        """A nested pipeline runs as long as one of its steps does."""
        while name := name.rpartition(".")[0]:
            run = self._step(name)
            if run.started is None:
                run.start()
            statuses = {other.status for other in self._runs.all() if other.parent == run.name}
            bad = next((status for status in ("Failed", "Canceled") if status in statuses), None)
            if statuses <= set(ENDED) or (bad and statuses <= {*ENDED, "NotStarted"}):
                run.end(bad or "Completed")

    def _step(self, name: str) -> Run:
        run = self._runs.get(name_of(self._run.name, name)) if self._run.kind == "pipeline" else self._run
        assert run, name
        return run

    def _planned(self) -> dict[str, Any]:
        if self._plan is None:
            self._plan = json.loads((self._folder / "plan.json").read_text(encoding="utf-8"))
        assert self._plan is not None
        return self._plan

    def _note(self, text: str) -> None:
        if self._run.kind == "pipeline":
            logs.note(self._places, self._run, text)


def step_error(event: dict[str, Any]) -> dict[str, Any]:
    """Why a step failed, in the service's words."""
    if event.get("exit_code") and "exit code" in event["error"]:
        what = f"Execution failed. User process 'bash' exited with status code {event['exit_code']}."
        return error_of("UserError", f"{what} Please check log file '{logs.STEP}' for error details.")
    return error_of("UserError", f"Execution failed. {event['error']}")


def error_of(code: str, message: str, inner: str | None = None) -> dict[str, Any]:
    """An error as run history tells it."""
    error: dict[str, Any] = {"code": code, "message": message, "messageParameters": {}, "details": []}
    if inner:
        error["innerError"] = {"code": inner, "innerError": None}
    return {"error": error, "correlation": {}, "environment": "westeurope", "location": "westeurope"}
