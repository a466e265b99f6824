"""Where the outputs of a run lie, and what they should hold."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from azdistill.cloud.jobs.job import Job, JobStep, producer
from azdistill.cloud.jobs.run_history import History
from azdistill.cloud.jobs.storage import Container, Place
from azdistill.cloud.workspace.connect import Connection
from azdistill.cloud.workspace.errors import explain
from azdistill.errors import ServiceError, UserError, did_you_mean

#: The datastore, and the folder in it, where Azure ML keeps what belongs to a run itself.
_ARTIFACTS, _RUN_FOLDER = "workspaceartifactstore", "ExperimentRun/dcid.{run}"
_MANIFEST = "outputs/azdistill/manifest.json"
_DEFAULT_DATASTORE = "workspaceblobstore"
#: The path that Azure ML gives an output unless the pipeline asks for another.
_DEFAULT_PATH = re.compile(r"azureml/([^/]+)/([^/]+)")


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a run. ``expected`` is what its step says it wrote: relative path -> size and sha256; None where
    the step left no manifest. A single file has the empty path.
    """

    name: str
    place: Place
    step: str = ""
    expected: Mapping[str, Mapping[str, Any]] | None = None


class Outputs:
    """Finds the outputs of one run."""

    def __init__(self, connection: Connection, job: Job) -> None:
        self._connection, self._job = connection, job
        self._history = History(connection)
        self._uris: dict[str, dict[str, str]] = {}
        self._manifests: dict[str, Mapping[str, Any] | None] = {}
        self._artifacts = Container(connection, _ARTIFACTS)

    def of_pipeline(self, name: str | None = None) -> list[Output]:
        """The pipeline's outputs, or the one called ``name``.

        UserError AZD438 where there is none of that name, AZD435 where it is not made yet.
        """
        names = list(self._job.outputs)
        if name is not None and name not in names:
            hint = did_you_mean(name, names) or "it has no outputs; name a step's with --step and --output"
            raise UserError(f"the run {self._job.name} has no output '{name}'", code="AZD438", hint=hint)
        if not names:
            hint = "name a step's with --step and --output"
            raise UserError(f"the run {self._job.name} has no outputs of its own", code="AZD438", hint=hint)
        return [self._of_pipeline(each) for each in ([name] if name else names)]

    def of_step(self, name: str, output: str) -> Output:
        """The output of a step. UserError AZD437, AZD438 or AZD435."""
        step = self._job.steps.get(name)
        if step is None:
            hint = did_you_mean(name, list(self._job.steps))
            raise UserError(f"the run {self._job.name} has no step '{name}'", code="AZD437", hint=hint)
        self._refuse_unmade(step)
        uris = self._uris_of(step.run_with_results)
        place = Place.from_uri(uris.get(output, "")) or self._usual_place(step, output, list(uris))
        return Output(output, place, name, self._expected(step.run_with_results, output))

    def _of_pipeline(self, name: str) -> Output:
        node, node_output = producer(self._job.body, name) or ("", "")
        step = self._job.steps.get(node)
        if step is not None:
            self._refuse_unmade(step)
        elif not self._job.has_ended:
            raise self._unmade(f"output '{name}'")
        place = Place.from_uri(self._uris_of(self._job.name).get(name) or self._job.outputs.get(name) or "")
        if step is not None and not step.group:
            place = place or self.of_step(node, node_output).place
            return Output(name, place, node, self._expected(step.run_with_results, node_output))
        if place is None:
            raise ServiceError(f"Azure does not say where output '{name}' lies", code="AZD438", hint="name the step's")
        # The path that Azure ML gives names the run that wrote it, and the output's name there.
        usual = _DEFAULT_PATH.fullmatch(place.path)
        return Output(name, place, node, self._expected(usual[1], usual[2]) if usual else None)

    def _usual_place(self, step: JobStep, output: str, names: list[str]) -> Place:
        """Where Azure ML writes an output that it does not tell of, if something is there."""
        settings = (self._job.body.get("properties") or {}).get("settings") or {}
        store = str(settings.get("default_datastore") or settings.get("defaultDatastore") or _DEFAULT_DATASTORE)
        store = store.rstrip("/").rsplit("/", 1)[-1].removeprefix("azureml:")
        place = Place(store, f"azureml/{step.run_with_results}/{output}")
        with explain(f"looking for output '{output}' of step '{step.name}'"):
            if Container(self._connection, place.datastore).blobs(place.path):
                return place
        hint = did_you_mean(output, names)
        raise UserError(f"step '{step.name}' of {self._job.name} has no output '{output}'", code="AZD438", hint=hint)

    def _uris_of(self, run: str) -> dict[str, str]:
        if run not in self._uris:
            with explain(f"looking up the outputs of {run}"):
                self._uris[run] = self._history.output_uris(run)
        return self._uris[run]

    def _expected(self, run: str, output: str) -> Mapping[str, Mapping[str, Any]] | None:
        if run not in self._manifests:
            with explain(f"reading the manifest of {run}"):
                content = self._artifacts.content(f"{_RUN_FOLDER.format(run=run)}/{_MANIFEST}")
            self._manifests[run] = _parsed(content)
        files = (self._manifests[run] or {}).get(output)
        return files if isinstance(files, Mapping) else None

    def _refuse_unmade(self, step: JobStep) -> None:
        if step.status in ("Completed", "Failed", "Canceled"):
            return
        if self._job.has_ended:
            hint = f"azdistill logs --run {self._job.name} says why; azdistill resume {self._job.name} goes on"
            message = f"step '{step.name}' of the run {self._job.name} never ran: it made nothing"
            raise UserError(message, code="AZD435", hint=hint)
        raise self._unmade(f"step '{step.name}' ({step.status})")

    def _unmade(self, what: str) -> UserError:
        hint = f"azdistill status {self._job.name} --wait"
        return UserError(f"{what} of the run {self._job.name} has not ended yet", code="AZD435", hint=hint)


def _parsed(content: bytes | None) -> Mapping[str, Any] | None:
    try:
        manifest = json.loads(content or b"null")
    except ValueError:
        return None
    outputs = manifest.get("outputs") if isinstance(manifest, dict) else None
    return outputs if isinstance(outputs, dict) else None
