"""Artifacts of runs: the API by which the MLflow plugin lists, uploads and downloads them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..messages import Request, Response, ServiceError
from ..routes import GROUP, ML
from .history import blob_url
from .places import DEFAULT

if TYPE_CHECKING:
    from ..workspace import Workspace
    from .jobs import Jobs

_SCOPE = f"{GROUP}{ML}/workspaces/{{workspace}}"


def install(workspace: Workspace, jobs: Jobs) -> None:
    """Add the routes, for runs and for files that belong to no run (an upload of a model)."""
    api, add = Artifacts(workspace, jobs), workspace.routes.add
    for root in ("", "/api"):
        for by in ("experiments", "experimentids"):
            run = f"{root}/history/v1.0{_SCOPE}/{by}/{{experiment}}/runs/{{run}}/artifacts"
            add("GET", run, api.list, guard="ml")
            add("GET", f"{run}/path", api.list, guard="ml")
            add("GET", f"{run}/contentinfo", api.content, guard="ml")
            add("POST", f"{run}/batch/metadata", api.create, guard="ml")
        loose = f"{root}/artifact/v2.0{_SCOPE}/artifacts/{{origin}}/{{container}}"
        add("GET", loose, api.list, guard="ml")
        add("GET", f"{loose}/contentinfo", api.content, guard="ml")
        add("POST", f"{loose}/batch/metadata", api.create, guard="ml")


class Artifacts:
    """The handlers."""

    def __init__(self, workspace: Workspace, jobs: Jobs) -> None:
        self._workspace, self._jobs = workspace, jobs

    def list(self, request: Request) -> Response:
        """Every file, or those below ``path``."""
        folder, prefix = self._folder(request), request.query.get("path") or ""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        names = [path.relative_to(folder).as_posix() for path in files]
        return Response({"value": [self._described(request, name) for name in names if name.startswith(prefix)]})

    def content(self, request: Request) -> Response:
        """Where one file can be read."""
        path = self._folder(request) / (request.query.get("path") or "")
        if not path.is_file():
            raise ServiceError(404, "UserError", f"Artifact {request.query.get('path')} was not found.")
        return Response(self._described(request, request.query["path"], path))

    def create(self, request: Request) -> Response:
        """Places for files that will be uploaded."""
        folder, names = self._folder(request), [one["path"] for one in request.json().get("paths") or []]
        answer: dict[str, Any] = {
            "artifacts": {name: self._described(request, name) for name in names},
            "artifactContentInformation": {name: self._described(request, name, folder / name) for name in names},
            "errors": {},
        }
        return Response(answer)

    def _folder(self, request: Request) -> Path:
        if "run" not in request.params:
            origin, container = request.params["origin"], request.params["container"]
            return self._jobs.places.datastore(DEFAULT) / origin / container
        run = self._jobs.runs.get(request.params["run"])
        if run is None:
            raise ServiceError(404, "UserError", f"Run {request.params['run']} was not found.")
        return self._jobs.places.artifacts(run.name)

    def _described(self, request: Request, name: str, path: Path | None = None) -> dict[str, Any]:
        run = request.params.get("run")
        origin, container = (
            ("ExperimentRun", f"dcid.{run}") if run else (request.params["origin"], request.params["container"])
        )
        about = {"origin": origin, "container": container, "path": name, "artifactId": f"{origin}/{container}/{name}"}
        return about | ({"contentUri": blob_url(self._workspace, path)} if path else {})
