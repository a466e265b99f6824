"""What references of a job stand for in the workspace: stored resources, and folders of the blob store."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from .runs import Runs
from .translate import Refused

if TYPE_CHECKING:
    from ..workspace import Workspace

_VERSION = re.compile(r"/(\w+)/([^/]+)/versions/([^/]+)/?$")
_LABEL = re.compile(r"/(\w+)/([^/]+)/labels/latest/?$")
_REGISTRY = re.compile(r"(?:^azureml://|/)registries/([^/]+)/")
_DATASTORE = re.compile(r"azureml://(?:.*?/)?datastores/([^/]+)/(?:paths/)?(.*)")
_JOB_OUTPUT = re.compile(r"azureml://(?:.*?/)?jobs/([^/]+)/outputs/([^/]+)(?:/paths/(.*))?")
_NAMED = re.compile(r"(?:azureml:)?([\w.-]+)(?::([\w.-]+)|@latest)")
ARTIFACTS = "workspaceartifactstore"
DEFAULT = "workspaceblobstore"


class Places:
    """The workspace as a job sees it. See :class:`translate.Resources`."""

    def __init__(self, workspace: Workspace, runs: Runs) -> None:
        self._workspace, self._runs = workspace, runs
        #: Local path -> the URI that a job gave for it.
        self.names: dict[str, str] = {}

    def component(self, reference: str) -> Mapping[str, Any]:
        return self._version("components", reference)

    def environment(self, reference: str) -> Mapping[str, Any]:
        return self._version("environments", reference)

    def code(self, reference: str) -> Path:
        return self._existing(self.path(self._version("codes", reference)["codeUri"]), reference)

    def data(self, uri: str) -> Path:
        found = self._existing(self.path(uri), uri)
        self.names[str(found)] = self._canonical(uri)
        return found

    def path(self, uri: str) -> Path:
        """Where a URI, or an id of a data asset or model, leads in the blob store; what is there need not exist."""
        if found := _JOB_OUTPUT.match(uri):
            return self._job_output(*found.groups())
        if found := _DATASTORE.match(uri):
            return _below(self.datastore(found[1]), found[2])
        if uri.startswith("https://"):
            return self.blob(uri)
        return self.path(self._asset(uri))

    def datastore(self, name: str) -> Path:
        """The folder of a datastore's container."""
        stored = self._workspace.store["datastores"].get(name)
        if stored is None:
            raise Refused(f"there is no datastore '{name}'")
        return self._workspace.blobs.path(stored["properties"]["containerName"])

    def blob(self, url: str) -> Path:
        """The file or folder of a blob's address, with or without a signature."""
        path = unquote(urlsplit(url).path)
        container, _, name = path.partition(".blob.core.windows.net/")[2].partition("/")
        if not container or not url.startswith(self._workspace.url):
            raise Refused(f"{url.partition('?')[0]} is no blob of this workspace's account")
        return _below(self._workspace.blobs.path(container), name)

    def artifacts(self, run: str) -> Path:
        """The folder of a run's own files (``outputs/``, ``logs/``, ``user_logs/``)."""
        return self.datastore(ARTIFACTS) / "ExperimentRun" / f"dcid.{run}"

    def _job_output(self, job: str, output: str, inner: str | None) -> Path:
        run = self._runs.get(job)
        if run is None:
            raise Refused(f"there is no job '{job}'")
        if output == "artifacts":
            return _below(self.artifacts(job), inner or "")
        if output not in run.outputs:
            raise Refused(f"job '{job}' has no output '{output}'")
        return _below(self.path(run.outputs[output].uri), inner or "")

    def _asset(self, reference: str) -> str:
        """The URI behind a data asset or a model."""
        kinds = [_VERSION.search(reference), _LABEL.search(reference)]
        kind = next((found[1] for found in kinds if found), None)
        for each in (kind,) if kind else ("data", "models"):
            try:
                properties = self._version(each, reference)
            except Refused:
                continue
            return str(properties.get("dataUri") or properties.get("modelUri"))
        raise Refused(f"there is no data asset or model '{reference}'")

    def _canonical(self, uri: str) -> str:
        """``uri`` with what may differ between two spellings of the same left out."""
        if found := _DATASTORE.match(uri):
            return f"{found[1]}/{found[2].strip('/')}"
        return uri.partition("?")[0].rstrip("/").removeprefix("azureml:")

    def _version(self, kind: str, reference: str) -> Mapping[str, Any]:
        """The properties of a version, by its id, its registry id, ``name:version`` or ``name@latest``."""
        reference = reference.removeprefix("azureml:") if reference.startswith("azureml:/sub") else reference
        registry = _REGISTRY.search(reference)
        store = self._workspace.scope(registry[1], registry=True) if registry else self._workspace.store
        named = _VERSION.search(reference) or _LABEL.search(reference)
        name, version = (named[2], named[3] if named.re is _VERSION else None) if named else _split(reference)
        versions = store.versions(kind, name)
        found = versions.get(version) if version else next(reversed(versions.values()), None)
        if found is None:
            raise Refused(f"{reference} could not be found in {kind}")
        properties: Mapping[str, Any] = found["properties"]
        return properties

    def _existing(self, path: Path, what: str) -> Path:
        if not path.exists():
            raise Refused(f"{what} leads to nothing: no blob has this name")
        return path


def _split(reference: str) -> tuple[str, str | None]:
    named = _NAMED.fullmatch(reference)
    if named is None:
        raise Refused(f"'{reference}' is no reference")
    return named[1], named[2]


def _below(folder: Path, inner: str) -> Path:
    path = (folder / inner.strip("/")).absolute()
    if ".." in path.parts:
        raise Refused(f"{inner} leaves its container")
    return path


def standing_folder(places: Places, home: Path, uri: str) -> None:
    """Let the local runner's folder for ``uri``, which outlives a run, be the container's own."""
    found = _DATASTORE.match(uri)
    if found is None or "${{" in uri:
        return
    container = places.datastore(found[1])
    inner = places.path(uri).relative_to(container)
    link, target = home / "datastores" / found[1], container
    if inner.parts[:1] == ("azdistill",) and len(inner.parts) > 1:
        link, target = home / inner.parts[1], container / "azdistill" / inner.parts[1]
    target.mkdir(parents=True, exist_ok=True)
    link.parent.mkdir(parents=True, exist_ok=True)
    # Two jobs that begin together make the same link.
    with contextlib.suppress(FileExistsError):
        link.symlink_to(target)
