"""Run history: what ``jobs.stream``, ``jobs.download``, ``jobs.get`` of a step and ``jobs.list`` of children ask."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..messages import Request, Response, ServiceError, not_found
from ..routes import GROUP, ML
from .runs import ENDED, Run, Runs

if TYPE_CHECKING:
    from ..workspace import Workspace
    from .jobs import Jobs

_SCOPE = f"{GROUP}{ML}/workspaces/{{workspace}}"


def install(workspace: Workspace, jobs: Jobs) -> None:
    """Add the routes."""
    history, add = History(workspace, jobs), workspace.routes.add
    scopes = ("{history}", "{history}/experiments/{experiment}", "{history}/experimentids/{experiment}")
    for scope in scopes:
        add("GET", f"{scope}/runs/{{run}}", history.get, guard="ml")
        add("PATCH", f"{scope}/runs/{{run}}", history.change, guard="ml")
        add("GET", f"{scope}/runs/{{run}}/details", history.details, guard="ml")
        add("GET", f"{scope}/runs/{{run}}/children", history.children, guard="ml")
        add("POST", f"{scope}/runs:query", history.query, guard="ml")
    add("GET", "{history}/runs/{run}/serviceinstances/{node}", history.services, guard="ml")
    add("POST", "{history}/rundata", history.data, guard="ml")
    add("POST", f"/api/data/v1.0{_SCOPE}/dataversion/batchGetResolvedUris", history.data_uris, guard="ml")
    add("POST", f"/api/modelregistry/v1.0{_SCOPE}/models/batchGetResolvedUris", history.model_uris, guard="ml")
    add("GET", "{ws}/jobs/{name}", history.job, first=True)


class History:
    """The handlers."""

    def __init__(self, workspace: Workspace, jobs: Jobs) -> None:
        self._workspace, self._runs = workspace, jobs.runs

    def job(self, request: Request) -> Response:
        """A job in ARM: of a step there are no properties, which sends clients to run history."""
        assert request.store is not None
        name = request.params["name"]
        run, job = self._runs.get(name), request.store["jobs"].get(name)
        if job is None and (run is None or run.parent is None):
            raise not_found("Job", name)
        return Response(job or {"id": f"{request.store.scope}/jobs/{name}", "name": name, "properties": None})

    def get(self, request: Request) -> Response:
        """One run."""
        return Response(self._described(self._find(request)))

    def change(self, request: Request) -> Response:
        """Change what may be changed of a run: tags and properties are merged."""
        run, sent = self._find(request), request.json()
        run.tags |= sent.get("tags") or {}
        run.properties |= sent.get("properties") or {}
        run.display_name = sent.get("displayName") or run.display_name
        run.description = sent.get("description") or run.description
        job = self._workspace.store["jobs"].get(run.name)
        if job:
            told = {"tags": run.tags, "displayName": run.display_name, "description": run.description}
            job["properties"].update(told)
            job["properties"]["properties"] = {**(job["properties"].get("properties") or {}), **run.properties}
            if sent.get("hidden") is not None:
                job["properties"]["isArchived"] = run.hidden = bool(sent["hidden"])
        return Response(self._described(run))

    def details(self, request: Request) -> Response:
        """A run with its logs and its error."""
        run = self._find(request)
        answer = {
            "runId": run.name,
            "target": run.compute,
            "status": run.status,
            "startTimeUtc": _time(run.started),
            "endTimeUtc": _time(run.ended),
            "error": run.error,
            "warnings": [],
            "properties": run.properties,
            "inputDatasets": [],
            "outputDatasets": [],
            "runDefinition": None,
            "logFiles": {name: self._log_url(path) for name, path in run.logs.items() if path.exists()},
            "submittedBy": "Loopback User",
        }
        return Response(answer)

    def children(self, request: Request) -> Response:
        """The runs that a run started."""
        return self._page(request, self._runs.children(self._find(request).name))

    def query(self, request: Request) -> Response:
        """The runs of an experiment, newest first."""
        wanted = request.params["experiment"]
        name = self._runs.experiments.get(wanted, wanted)
        return self._page(request, [run for run in reversed(self._runs.all()) if run.experiment == name])

    def services(self, request: Request) -> Response:
        """Services of a run's node: none."""
        self._find(request)
        return Response({"instances": {}})

    def data(self, request: Request) -> Response:
        """A run with what it was made of."""
        run = self._runs.get(request.json().get("runId", ""))
        if run is None:
            raise _missing(request.json().get("runId"))
        return Response({"runMetadata": self._described(run), "runDefinition": None, "jobSpecification": None})

    def data_uris(self, request: Request) -> Response:
        """Where the data assets of outputs are."""
        return Response({"values": {one: {"uri": uri, "type": "uri"} for one, uri in self._assets(request).items()}})

    def model_uris(self, request: Request) -> Response:
        """Where the models of outputs are."""
        return Response({"values": {one: {"path": uri, "type": "uri"} for one, uri in self._assets(request).items()}})

    def _assets(self, request: Request) -> dict[str, str]:
        known = {made.asset: made.uri for run in self._runs.all() for made in run.outputs.values()}
        # The long form, which names the workspace but no provider.
        scope = self._workspace.id.partition("/providers/")[0].replace("resourceGroups", "resourcegroups")
        long = f"azureml:/{scope}/workspaces/{self._workspace.name}/"
        full = {asset: uri.replace("azureml://", long, 1) for asset, uri in known.items()}
        return {one: full[one] for one in request.json().get("values") or [] if one in full}

    def _page(self, request: Request, runs: list[Run]) -> Response:
        start, size = int(request.query.get("$continuationToken") or 0), int(request.query.get("$top") or 100)
        answer: dict[str, Any] = {"value": [self._described(run) for run in runs[start : start + size]]}
        if start + size < len(runs):
            answer["continuationToken"] = str(start + size)
            answer["nextLink"] = f"{request.base}{request.path}?$continuationToken={start + size}&$top={size}"
        return Response(answer)

    def _find(self, request: Request) -> Run:
        run = self._runs.get(request.params["run"])
        if run is None:
            raise _missing(request.params["run"])
        return run

    def _described(self, run: Run) -> dict[str, Any]:
        return described(run, self._runs)

    def _log_url(self, path: Any) -> str:
        return blob_url(self._workspace, path)


def described(run: Run, runs: Runs) -> dict[str, Any]:
    """A run as run history gives it."""
    return {
        "runNumber": run.number,
        "rootRunId": run.root,
        "runId": run.name,
        "runUuid": run.name,
        "parentRunId": run.parent,
        "rootRunUuid": run.root,
        "experimentId": runs.experiment_id(run.experiment),
        "status": run.status,
        "createdUtc": _time(run.created),
        "startTimeUtc": _time(run.started),
        "endTimeUtc": _time(run.ended),
        "lastModifiedUtc": _time(run.ended or run.started or run.created),
        "createdBy": {"userName": "Loopback User"},
        "lastModifiedBy": {"userName": "Loopback User"},
        "displayName": run.display_name,
        "description": run.description,
        "dataContainerId": f"dcid.{run.name}",
        "hidden": run.hidden,
        "runType": "azureml.PipelineRun" if run.kind == "pipeline" else "azureml.StepRun",
        "runTypeV2": {"orchestrator": "AzureML", "traits": [], "attribution": None, "computeType": None},
        "properties": run.properties,
        "tags": run.tags,
        "error": run.error,
        "warnings": None,
        "target": run.compute,
        "compute": {"target": run.compute, "targetType": "AmlCompute"} if run.compute else None,
        "inputs": {},
        "outputs": {name: {"assetId": made.asset, "type": made.kind} for name, made in run.outputs.items()},
        "hasEnded": run.status in ENDED,
    }


def blob_url(workspace: Workspace, path: Any) -> str:
    """The signed address of a file in the blob store."""
    container, _, blob = path.relative_to(workspace.blobs.folder).as_posix().partition("/")
    return f"{workspace.blobs.container_url(container)}/{blob}?{workspace.blobs.sas()}"


def _missing(name: Any) -> ServiceError:
    return ServiceError(404, "UserError", f"Run {name} was not found.")


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0+00:00"
