"""Data that a pipeline names by http(s): fetched once, and asked about again at each run.

A file is kept as ``<state>/downloads/<sha256 of the address>/data/<its name>``, and beside ``data`` what the server
called its version (ETag, or the time it was changed). The next run asks whether that still holds; where the server
cannot be reached, what is here is used, and that is told. A dry run asks as well, and fetches nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from azdistill.errors import ServiceError
from azdistill.local.files import disk_errors, sync, write_whole
from azdistill.local.home import AWAITED, Home
from azdistill.redact import register

_ABOUT = "about.json"
_DATA = "data"
_TIMEOUT = 60.0
_CHUNK = 1 << 20
_VERSIONS = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}


def fetch(home: Home, url: str, tell: Callable[[str], object]) -> Path:
    """The file at ``url``, on this disk. ServiceError AZD389 where it cannot be had. Query strings are never shown.

    ``tell`` is told where what is here is used though nobody could be asked whether it is still the same.

    Of a home that is only for ``looking`` it is a place that the home ``awaits`` if a run would fetch it.
    """
    shown = _without_query(url)
    folder = home.downloads / hashlib.sha256(url.encode()).hexdigest()[:32]
    known = _known(folder)
    answer = _ask(url, shown, known, tell)
    if answer is None:
        return folder / _DATA / str(known["name"])
    if home.looking:
        answer.close()
        # A server that gives no versions sends it each time, and it may well be the same.
        return folder / _DATA / str(known["name"]) if known and not known["versions"] else folder / AWAITED / _name(url)
    with answer, disk_errors(f"downloading {shown}"):
        return _keep(folder, url, answer, shown)


def _ask(url: str, shown: str, known: dict[str, Any], tell: Callable[[str], object]) -> Any:
    """The server's answer with the data; None where what is known of it holds, or no server says otherwise."""
    request = urllib.request.Request(url, headers=_conditions(known))
    try:
        return urllib.request.urlopen(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 304 and known:
            return None
        said = f"the server answered {error.code} {error.reason}"
        raise ServiceError(f"{shown}: {said}", code="AZD389") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        if known:
            tell(f"{shown} cannot be asked for ({reason}): what was fetched from there before is used")
            return None
        raise ServiceError(f"{shown}: {reason}", code="AZD389", hint="give a local file with --set") from error


def _keep(folder: Path, url: str, answer: Any, shown: str) -> Path:
    (folder / _DATA).mkdir(parents=True, exist_ok=True)
    kept = folder / _DATA / _name(url)
    beside = folder / f".{uuid.uuid4().hex[:8]}"
    try:
        with open(beside, "wb") as file:
            for chunk in _chunks(answer, shown):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(kept)
        sync(kept.parent)
    finally:
        beside.unlink(missing_ok=True)
    versions = {header: answer.headers[header] for header in _VERSIONS if answer.headers.get(header)}
    write_whole(folder / _ABOUT, json.dumps({"name": kept.name, "versions": versions}))
    return kept


def _chunks(answer: Any, shown: str) -> Iterator[bytes]:
    """What the server sends, to its end; where it breaks off, that is an error whatever is here from before."""
    try:
        while chunk := answer.read(_CHUNK):
            yield chunk
    except (OSError, HTTPException) as error:
        raise ServiceError(f"{shown}: it broke off: {error}", code="AZD389") from error
    # http.client says so of a chunked answer only. What counts are bytes as they come: nothing here decodes them.
    if missing := getattr(answer, "length", None):
        raise ServiceError(f"{shown}: it broke off, {missing} bytes before its end", code="AZD389")


def _name(url: str) -> str:
    """The last part of the address. It is taken apart once it is decoded: ``%2e%2e%2f`` may lead nowhere else."""
    last = unquote(urlsplit(url).path).rpartition("/")[2].replace("\0", "_")
    return "download" if last in ("", ".", "..") else last


def _known(folder: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        return about if (folder / _DATA / about["name"]).is_file() else {}
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
