"""Data that a pipeline names by http(s): fetched once, and asked about again at each run.

A file is kept under ``<state>/downloads/<sha256 of the address>/`` with what the server called its version (ETag, or
the time it was changed). The next run asks whether that still holds; where the server cannot be reached, what is here
is used.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from azdistill.errors import ServiceError
from azdistill.local.files import disk_errors, write_whole
from azdistill.local.home import Home
from azdistill.redact import register

_ABOUT = "about.json"
_TIMEOUT = 60.0
_VERSIONS = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}


def fetch(home: Home, url: str) -> Path:
    """The file at ``url``, on this disk. ServiceError AZD389 where it cannot be had. Query strings are never shown."""
    shown = _without_query(url)
    folder = home.root / "downloads" / hashlib.sha256(url.encode()).hexdigest()[:32]
    known = _known(folder)
    request = urllib.request.Request(url, headers=_conditions(known))
    try:
        with disk_errors(f"downloading {shown}"), urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
            return _keep(folder, url, answer)
    except urllib.error.HTTPError as error:
        if error.code == 304:
            return folder / str(known["name"])
        said = f"the server answered {error.code} {error.reason}"
        raise ServiceError(f"{shown}: {said}", code="AZD389") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        if known:
            return folder / str(known["name"])
        reason = getattr(error, "reason", error)
        raise ServiceError(f"{shown}: {reason}", code="AZD389", hint="give a local file with --set") from error


def _keep(folder: Path, url: str, answer: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    name = unquote(urlsplit(url).path.rpartition("/")[2]) or "download"
    beside = folder / f".{uuid.uuid4().hex[:8]}"
    try:
        with open(beside, "wb") as file:
            shutil.copyfileobj(answer, file)
        beside.replace(folder / name)
    finally:
        beside.unlink(missing_ok=True)
    versions = {header: answer.headers[header] for header in _VERSIONS if answer.headers.get(header)}
    write_whole(folder / _ABOUT, json.dumps({"name": name, "versions": versions}))
    return folder / name


def _known(folder: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        return about if (folder / about["name"]).is_file() else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _conditions(known: dict[str, Any]) -> dict[str, str]:
    versions = known.get("versions", {})
    return {_VERSIONS[header]: value for header, value in versions.items()}


def _without_query(url: str) -> str:
    """``url`` for messages. What follows the question mark may be a signature: it is hidden from all text."""
    bare, mark, query = url.partition("?")
    if query:
        register(query)
    return f"{bare}{mark}***" if mark else bare
