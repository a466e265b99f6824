"""The jobs of a workspace that really run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .job import Job
from .places import Places
from .runs import Run, Runs

if TYPE_CHECKING:
    from ..workspace import Workspace


class Jobs:
    """Runs every job that is put. ``runs`` tells what became of them and of their steps."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace, self.runs = workspace, Runs()
        self.places = Places(workspace, self.runs)
        #: The state folder of the local runner: shared, so that what one job made is reused by the next.
        self.home = workspace.folder / "compute"
        #: Cache key of a step -> the run that made its result.
        self.made_by: dict[str, str] = {}
        self._jobs: dict[str, Job] = {}

    @property
    def tracking_uri(self) -> str:
        """The workspace's MLflow address for the plugin of Azure ML."""
        return f"azureml://{self.workspace.url.removeprefix('https://')}/mlflow/v1.0{self.workspace.id}"

    def submit(self, name: str, resource: dict[str, Any]) -> None:
        """Run a job that was just stored; what is wrong with it is told in its run, as the service does."""
        self._jobs[name] = Job(self, resource)
        self._jobs[name].thread.start()

    def put(self, name: str, properties: dict[str, Any]) -> None:
        """Make a job that nobody sent: a schedule's."""
        studio = f"https://ml.azure.com/runs/{name}?wsid={self.workspace.id}&tid={self.workspace.tenant_id}"
        services = {
            "Studio": {"jobServiceType": "Studio", "endpoint": studio, "properties": None},
            "Tracking": {"jobServiceType": "Tracking", "endpoint": self.tracking_uri, "properties": None},
        }
        known = {"experimentName": "Default", **properties, "status": "NotStarted", "services": services}
        self.workspace.emit("job_put", name, self.workspace.store.put("jobs", name, {"properties": known}))

    def changed(self, name: str, resource: dict[str, Any]) -> None:
        """Tags or names of a job were changed in ARM: its run says the same."""
        if run := self.runs.get(name):
            properties = resource["properties"]
            run.tags = properties["tags"] = properties.get("tags") or {}
            run.display_name, run.description = properties["displayName"], properties.get("description")
            run.hidden = bool(properties.get("isArchived"))

    def cancel(self, name: str) -> None:
        """Ask a job to end."""
        if job := self._jobs.get(name):
            job.cancel()

    def wait(self, name: str, timeout: float = 60) -> Run:
        """The run of a job that has ended; TimeoutError where it has not within ``timeout`` seconds."""
        self._jobs[name].thread.join(timeout)
        if self._jobs[name].thread.is_alive():
            raise TimeoutError(f"job {name} still runs after {timeout} s")
        run = self.runs.get(name)
        assert run
        return run

    def told(self, name: str) -> str:
        """Everything a job and its steps have to say: statuses, errors, logs. For messages of tests that fail."""
        parts = []
        for run in (run for run in self.runs.all() if run.root == name):
            message = run.error["error"]["message"] if run.error else ""
            parts.append(f"== {run.step or name}: {run.status} {message}")
            parts += [path.read_text(errors="replace") for path in run.logs.values() if path.exists()]
        return "\n".join(parts)

    def close(self) -> None:
        """End everything that still runs."""
        for job in self._jobs.values():
            job.cancel()
        for job in self._jobs.values():
            job.thread.join(20)
