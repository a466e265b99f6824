"""Jobs: stored as sent, with the status and services that the service adds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..messages import ArmError, Request, Response, invalid, not_found
from ..strict import problems_of_job
from .common import listing, visible

if TYPE_CHECKING:
    from ..workspace import Workspace

FIXED = ("jobType", "jobs", "inputs", "command", "codeId", "componentId", "environmentId")
"""What of a job cannot be changed once it was submitted."""
ENDED = ("Completed", "Failed", "Canceled", "NotResponding")


def install(ws: Workspace) -> None:
    """Add the routes."""
    jobs = Jobs(ws)
    ws.routes.add("GET", "{ws}/jobs", jobs.list)
    ws.routes.add("PUT", "{ws}/jobs/{name}", jobs.put)
    ws.routes.add("GET", "{ws}/jobs/{name}", jobs.get)
    ws.routes.add("PATCH", "{ws}/jobs/{name}", jobs.patch)
    ws.routes.add("DELETE", "{ws}/jobs/{name}", jobs.delete)
    ws.routes.add("POST", "{ws}/jobs/{name}/cancel", jobs.cancel)


class Jobs:
    """The handlers of jobs."""

    def __init__(self, ws: Workspace) -> None:
        self._ws = ws

    def list(self, request: Request) -> Response:
        """Newest first; ``jobType``, ``tag``, ``properties`` (``name=value``), ``scheduled``, ``scheduleId`` filter."""
        assert request.store is not None
        query = request.query
        found = visible(request, list(request.store["jobs"].values())[::-1])
        for filter_, field in (("jobType", "jobType"), ("experimentName", "experimentName")):
            if filter_ in query:
                found = [one for one in found if one["properties"].get(field) == query[filter_]]
        if "tag" in query:
            found = [one for one in found if _tagged(one["properties"].get("tags") or {}, query["tag"])]
        if "properties" in query:
            found = [one for one in found if _tagged(one["properties"].get("properties") or {}, query["properties"])]
        if query.get("scheduled", "").lower() == "true":
            found = [one for one in found if one["properties"].get("isScheduled")]
        if "scheduleId" in query:
            found = [one for one in found if query["scheduleId"] in str(one["properties"].get("scheduleId"))]
        return listing(request, found, self._ws.settings)

    def get(self, request: Request) -> Response:
        """One job."""
        return Response(self._find(request))

    def put(self, request: Request) -> Response:
        """Make a job, or change what may be changed of one that is there (tags, display name, archived)."""
        assert request.store is not None
        name, body = request.params["name"], request.json()
        if "x-azureml-token" in request.headers:
            # The user's token for the job to act with; the SDK sends it beside the one for ARM.
            self._ws.tokens.claims(request.headers["x-azureml-token"], "ml")
        with self._ws.lock:
            if name in request.store["jobs"]:
                self._same(request.store["jobs"][name], body.get("properties") or {})
                return Response(self._changed(request, body))
            problems = problems_of_job(self._ws, body.get("properties") or {})
            if problems:
                raise invalid(f"Job {name}", problems)
            properties = {**body.get("properties", {}), "status": "NotStarted"}
            properties.setdefault("displayName", name)
            properties.setdefault("experimentName", "Default")
            properties["services"] = self._services(request.store.scope, name)
            job = request.store.put("jobs", name, {**body, "properties": properties})
        self._ws.emit("job_put", name, job)
        return Response(job, 201)

    def patch(self, request: Request) -> Response:
        """Change what may be changed of a job."""
        return Response(self._changed(request, request.json()))

    def cancel(self, request: Request) -> Response:
        """Cancel a job; one that has ended is left as it is and refused."""
        job = self._find(request)
        with self._ws.lock:
            if job["properties"]["status"] in ENDED:
                state = job["properties"]["status"]
                message = f"Cannot cancel job {request.params['name']}, it is in terminal state {state}."
                raise ArmError(400, "UserError", message)
            job["properties"]["status"] = "CancelRequested" if self._ws.execute else "Canceled"
        self._ws.emit("job_cancel", request.params["name"])
        return Response(status=200)

    def delete(self, request: Request) -> Response:
        """Delete a job."""
        assert request.store is not None
        self._find(request)
        del request.store["jobs"][request.params["name"]]
        return Response(status=200)

    def _find(self, request: Request) -> dict[str, Any]:
        assert request.store is not None
        job = request.store["jobs"].get(request.params["name"])
        if job is None:
            raise not_found("Job", request.params["name"])
        return job

    def _changed(self, request: Request, body: dict[str, Any]) -> dict[str, Any]:
        job, sent = self._find(request), body.get("properties", {})
        for field in ("tags", "displayName", "description", "isArchived", "experimentName"):
            if sent.get(field) is not None:
                job["properties"][field] = sent[field]
        self._ws.emit("job_changed", request.params["name"], job)
        return job

    def _same(self, job: dict[str, Any], sent: dict[str, Any]) -> None:
        for field in FIXED:
            if sent.get(field) is not None and sent[field] != job["properties"].get(field):
                message = "A job with this name already exists. If you are trying to create a new job, use a different"
                more = f" name. If you are trying to update an existing job, its {field} cannot be changed."
                raise ArmError(400, "UserError", message + more)

    def _services(self, scope: str, name: str) -> dict[str, Any]:
        studio = f"https://ml.azure.com/runs/{name}?wsid={scope}&tid={self._ws.tenant_id}"
        tracking = f"azureml://{self._ws.url.removeprefix('https://')}/mlflow/v1.0{scope}"
        return {
            "Tracking": {"jobServiceType": "Tracking", "endpoint": tracking, "properties": {}},
            "Studio": {"jobServiceType": "Studio", "endpoint": studio, "properties": {}},
        }


def _tagged(tags: dict[str, Any], wanted: str) -> bool:
    for one in wanted.split(","):
        name, equals, value = one.partition("=")
        if name not in tags or (equals and str(tags[name]) != value):
            return False
    return True
