"""Paths on the datastores of a workspace, and which of them an output may have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from azdistill.permissions import NAMES

_DATASTORE = re.compile(r"azureml://(?:[^?#]*/)?datastores/([^/]+)/paths/(.*)")


@dataclass(frozen=True, slots=True)
class DatastorePath:
    """A path on a datastore. ``fault`` says why nothing here may lie there; ``hint`` what to do."""

    datastore: str
    path: PurePosixPath
    fault: str = ""
    hint: str = ""


def datastore_path(uri: str) -> DatastorePath | None:
    """The path that ``uri`` names, in its short or its long form; None for what is no path on a datastore."""
    match = _DATASTORE.fullmatch(uri)
    if not match:
        return None
    datastore, path = match[1], PurePosixPath(match[2].strip("/"))
    if ".." in path.parts or datastore in (".", ".."):
        return DatastorePath(datastore, path, f"{uri} leaves its datastore")
    if path.parts[:1] == ("azdistill",) and (len(path.parts) == 1 or path.parts[1] in NAMES):
        return DatastorePath(datastore, path, f"{uri} is where azdistill keeps its own state", "name another folder")
    return DatastorePath(datastore, path)


def short_form(uri: str) -> str:
    """``uri`` without the workspace in it."""
    return _DATASTORE.sub(r"azureml://datastores/\1/paths/\2", uri)
