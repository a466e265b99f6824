"""Where data of a pipeline lies on this machine: local paths, and folders that stand in for datastores."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from azdistill.aml.expressions import NAME, references_in
from azdistill.aml.fields import is_remote
from azdistill.aml.source import Report, Where
from azdistill.local.outputs.manifest import is_file
from azdistill.local.store.home import Home
from azdistill.state_folder import NAMES

_DATASTORE = re.compile(r"azureml://(?:[^?#]*/)?datastores/([^/]+)/paths/(.*)")
#: Types that are a folder always. A model of another type may be one file, and an mltable its MLTable file.
_FOLDERS = ("uri_folder", "mlflow_model")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):(?=/|[^\\])", re.IGNORECASE)


def standing(home: Home, uri: str, where: Where, report: Report) -> Path | None:
    """The local folder of an output written to ``uri`` on a datastore (docs/contributing/local-runner.md)."""
    if "${{" in uri:
        # ${{default_datastore}}, ${{name}}: a fresh place for each run, which is what every output has here.
        return None
    found = _DATASTORE.fullmatch(uri)
    if not found:
        report.error(
            "AZD343", f"outputs cannot be written to {uri} locally", where, hint="give a datastore path, or none"
        )
        return None
    path = PurePosixPath(found[2].strip("/"))
    if ".." in path.parts or found[1] in (".", ".."):
        report.error("AZD344", f"{uri} leaves its datastore", where)
        return None
    if path.parts[:1] == ("azdistill",) and (len(path.parts) == 1 or path.parts[1] in NAMES):
        report.error("AZD344", f"{uri} is where azdistill keeps its own state", where, hint="name another folder")
        return None
    return home.standing(str(path), found[1])


class Claims:
    """The places of this machine that outputs are written to: no two of them may need different things there."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._kinds: dict[Path, str] = {}

    def add(self, path: Path, kind: str, where: Where) -> None:
        """Note that an output of this kind is written to ``path``; a problem where that is, or lies below, a file for
        one and a folder for another.
        """
        wanted = "file" if is_file(kind) else "folder"
        other = "file" if is_file(self._kinds.setdefault(path, kind)) else "folder"
        above = next(
            (parent for parent in path.parents if is_file(self._kinds.get(parent, "")) or parent.is_file()), None
        )
        below = next((place for place in self._kinds if path in place.parents), None) if is_file(kind) else None
        if other != wanted:
            self._report.error(
                "AZD346", f"{path} is written as a {other} by another output, and as a {wanted} here", where
            )
        elif above:
            self._report.error("AZD346", f"{path} cannot be written: {above} is a file", where)
        elif below:
            self._report.error("AZD346", f"{path} cannot be a file: another output is written to {below}", where)
        elif path.is_dir() if wanted == "file" else path.is_file():
            there = "folder" if wanted == "file" else "file"
            self._report.error("AZD346", f"{path} is a {there} where a {kind} is to be written", where)


def local_input(
    home: Home,
    what: str,
    path: str,
    kind: str,
    where: Where,
    report: Report,
    data: Mapping[str, Path],
    tell: Callable[[str], object],
) -> Path | None:
    """The file or folder that a data input names; None (and a problem) where there is none of its kind.

    ``data`` says what stands here for assets, datastore paths and addresses (``local.data`` of azdistill.yml);
    ``tell`` is told what the user should know of what was found.
    """
    local = mapped(path, data) or _resolve(home, what, path, kind, where, report, tell)
    if local is None or home.awaits(local):
        return local
    if not local.exists():
        report.error("AZD345", f"{what}: {local} does not exist", where)
    elif not (local.is_file() or local.is_dir()):
        report.error("AZD346", f"{what}: {local} is no file but a pipe, a socket or a device", where)
    elif home.root.resolve().is_relative_to(local.resolve()):
        message = f"{what}: {local} holds azdistill's own state folder, {home.root}, which changes while a step runs"
        hint = (
            "give a folder of the data alone, or move what is azdistill's with AZDISTILL_HOME and MLFLOW_TRACKING_URI"
        )
        report.error("AZD344", message, where, hint=hint)
    elif kind in _FOLDERS and not local.is_dir():
        report.error("AZD346", f"{what}: {local} is a file where a {kind} is expected", where)
    elif kind == "uri_file" and local.is_dir():
        report.error("AZD346", f"{what}: {local} is a folder where a uri_file is expected", where)
    else:
        return local
    return None


def mapped(path: str, data: Mapping[str, Path]) -> Path | None:
    """What stands for an asset (its own line, or that of its name without a version), or for a path on a datastore or
    another address (the longest line that it begins with). A datastore path is looked up by its short form as well.
    """
    if not is_remote(path):
        return None
    short = _DATASTORE.sub(r"azureml://datastores/\1/paths/\2", path)
    return _mapped(path, data) or (_mapped(short, data) if short != path else None)


def _mapped(path: str, data: Mapping[str, Path]) -> Path | None:
    version = r"(?<=[^/:])(@[^/@:]+|:[^/:@]+|/versions/[^/]+|/labels/[^/]+)$"
    bare = re.sub(version, "", path) if path.startswith("azureml:") else path
    if found := data.get(path) or data.get(bare):
        return found
    above = [name for name in data if "://" in name and path.startswith(name.rstrip("/") + "/")]
    name = max(above, key=len, default=None)
    if name is None:
        return None
    rest = PurePosixPath(path[len(name.rstrip("/")) + 1 :])
    return None if ".." in rest.parts else data[name] / rest


def _resolve(
    home: Home, what: str, path: str, kind: str, where: Where, report: Report, tell: Callable[[str], object]
) -> Path | None:
    # The run's own name is filled in when there is a run.
    if unknown := [reference for reference in references_in(path) if reference.path != (NAME.path,)]:
        report.error("AZD345", f"{what}: {path} holds {unknown[0]}, which nothing replaces here", where)
        return None
    if path.startswith("file://"):
        return Path(path.removeprefix("file://"))
    if found := _DATASTORE.fullmatch(path):
        folder = standing(home, path, where, report)
        if folder and not folder.exists():
            report.error("AZD345", f"{what}: {path} is {folder} locally, which does not exist", where)
            return None
        return folder
    if found := _SCHEME.match(path):
        scheme = found[1].lower()
        if scheme in ("http", "https") and kind == "uri_file":
            # Few pipelines read from a server; a client for http takes as long to import as the rest of this folder.
            from azdistill.local.plan.downloads import fetch

            return fetch(home, path, lambda text: tell(f"{what}: {text}"))
        kinds = {"azureml": "a registered asset", "http": "a folder on a server", "https": "a folder on a server"}
        name = kinds.get(scheme, "remote data")
        hint = "name a local copy under local.data in azdistill.yml, or give one with --set"
        report.error("AZD347", f"{what}: {path} is {name}, which a local run does not fetch", where, hint=hint)
        return None
    return Path(path)
