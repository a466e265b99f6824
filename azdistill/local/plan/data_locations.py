"""Where data of a pipeline lies on this machine: local paths, and folders that stand in for datastores."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from azdistill.aml.datastore_paths import datastore_path, short_form
from azdistill.aml.expressions import NAME, references_in
from azdistill.aml.fields import is_remote
from azdistill.aml.source import Report, Where
from azdistill.errors import did_you_mean_path
from azdistill.local.outputs.manifest import is_file
from azdistill.local.plan.not_honoured import Note
from azdistill.local.plan.steps import Local
from azdistill.local.store.home import Home

#: Types that are a folder always. A model of another type may be one file, and an mltable its MLTable file.
_FOLDERS = ("uri_folder", "mlflow_model")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):(?=/|[^\\])", re.IGNORECASE)


class DataLocations:
    """The places of this machine for the data of one pipeline. What is wrong with one is a problem in ``report``.

    ``data`` says what stands here for assets, datastore paths and addresses (``local.data`` of azdistill.yml);
    ``tell`` is told what the user should know of what was found.
    """

    def __init__(self, home: Home, report: Report, data: Mapping[str, Path], tell: Callable[[Note], object]) -> None:
        self._home, self._report, self._data, self._tell = home, report, data, tell
        #: The places that outputs are written to, and their types.
        self._kinds: dict[Path, str] = {}

    def standing(self, uri: str, where: Where) -> Path | None:
        """The folder of an output written to ``uri`` on a datastore (docs/contributing/local-runner.md)."""
        if "${{" in uri:
            # ${{default_datastore}}, ${{name}}: a fresh place for each run, which is what every output has here.
            return None
        place = datastore_path(uri)
        if not place:
            hint = "give a datastore path, or none"
            self._report.error("AZD343", f"outputs cannot be written to {uri} locally", where, hint=hint)
            return None
        if place.fault:
            self._report.error("AZD344", place.fault, where, hint=place.hint)
            return None
        return self._home.standing(str(place.path), place.datastore)

    def claim(self, path: Path, kind: str, where: Where) -> None:
        """Note that an output of this kind is written to ``path``: no two outputs may need different things there.

        A problem where that is, or lies below, a file for one and a folder for another.
        """
        shape = "file" if is_file(kind) else "folder"
        claimed = "file" if is_file(self._kinds.setdefault(path, kind)) else "folder"
        file_above = next(
            (parent for parent in path.parents if is_file(self._kinds.get(parent, "")) or parent.is_file()), None
        )
        below = next((place for place in self._kinds if path in place.parents), None) if is_file(kind) else None
        message = ""
        if claimed != shape:
            message = f"{path} is written as a {claimed} by another output, and as a {shape} here"
        elif file_above:
            message = f"{path} cannot be written: {file_above} is a file"
        elif below:
            message = f"{path} cannot be a file: another output is written to {below}"
        elif path.is_dir() if shape == "file" else path.is_file():
            message = f"{path} is a {'folder' if shape == 'file' else 'file'} where a {kind} is to be written"
        if message:
            self._report.error("AZD346", message, where)

    def find(self, what: str, path: str, kind: str, where: Where) -> Local | None:
        """The file or folder that a data input names; None (and a problem) where there is none of its kind."""
        local = mapped(path, self._data) or self._resolve(what, path, kind, where)
        if local is None:
            return None
        root = self._home.root
        hint = ""
        if self._home.awaits(local):
            return Local(local, kind)
        if not local.exists():
            code, message, hint = "AZD345", f"{local} does not exist", did_you_mean_path(local)
        elif not (local.is_file() or local.is_dir()):
            code, message = "AZD346", f"{local} is no file but a pipe, a socket or a device"
        elif root.resolve().is_relative_to(local.resolve()):
            holds = f"{local} holds azdistill's own state folder, {root}"
            code, message = "AZD344", f"{holds}, which changes while a step runs"
            variables = "AZDISTILL_HOME and MLFLOW_TRACKING_URI"
            hint = f"give a folder of the data alone, or move what is azdistill's with {variables}"
        elif kind in _FOLDERS and not local.is_dir():
            code, message = "AZD346", f"{local} is a file where a {kind} is expected"
        elif kind == "uri_file" and local.is_dir():
            code, message = "AZD346", f"{local} is a folder where a uri_file is expected"
        else:
            return Local(local, kind)
        self._report.error(code, f"{what}: {message}", where, hint=hint)
        return None

    def _resolve(self, what: str, path: str, kind: str, where: Where) -> Path | None:
        # The run's own name is filled in when there is a run.
        if unknown := [reference for reference in references_in(path) if reference.path != (NAME.path,)]:
            message = f"{what}: {path} holds {unknown[0]}, which nothing replaces here"
            self._report.error("AZD345", message, where)
            return None
        if path.startswith("file://"):
            return Path(path.removeprefix("file://"))
        if datastore_path(path):
            folder = self.standing(path, where)
            if folder and not folder.exists():
                message = f"{what}: {path} is {folder} locally, which does not exist"
                self._report.error("AZD345", message, where)
                return None
            return folder
        if match := _SCHEME.match(path):
            scheme = match[1].lower()
            if scheme in ("http", "https") and kind == "uri_file":
                # Few pipelines read from a server; importing a client for http takes as long as all of this.
                from azdistill.local.plan.downloads import fetch

                return fetch(self._home, path, lambda text: self._tell(Note(f"{what}: {text}", where)))
            kinds = {"azureml": "a registered asset", "http": "a folder on a server", "https": "a folder on a server"}
            message = f"{what}: {path} is {kinds.get(scheme, 'remote data')}, which a local run does not fetch"
            hint = "name a local copy under local.data in azdistill.yml, or give one with --set"
            self._report.error("AZD347", message, where, hint=hint)
            return None
        return Path(path)


def mapped(path: str, data: Mapping[str, Path]) -> Path | None:
    """What stands for an asset (its own line, or that of its name without a version), or for a path on a datastore or
    another address (the longest line that it begins with). A datastore path is looked up by its short form as well.
    """
    if not is_remote(path):
        return None
    short = short_form(path)
    return _mapped(path, data) or (_mapped(short, data) if short != path else None)


def _mapped(path: str, data: Mapping[str, Path]) -> Path | None:
    version = r"(?<=[^/:])(@[^/@:]+|:[^/:@]+|/versions/[^/]+|/labels/[^/]+)$"
    bare = re.sub(version, "", path) if path.startswith("azureml:") else path
    if place := data.get(path) or data.get(bare):
        return place
    prefixes = [name for name in data if "://" in name and path.startswith(name.rstrip("/") + "/")]
    name = max(prefixes, key=len, default=None)
    if name is None:
        return None
    remainder = PurePosixPath(path[len(name.rstrip("/")) + 1 :])
    return None if ".." in remainder.parts else data[name] / remainder
