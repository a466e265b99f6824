"""Data that a pipeline names by http(s): fetched once, and asked about again at each run.

A file is kept as ``<state>/downloads/<sha256 of the address>/<sha256 of its content>/<its name>``, and beside these
folders which of them it is now, with what the server called its version (ETag, or the time it was changed). The next
run asks whether that still holds; where the server cannot be reached, what is here is used, and that is told. A dry run
asks as well, and fetches nothing.

An unchanged download leaves the file alone; a newer version is stored separately, as another run may be reading
it. An older content goes, when a newer one comes, once it was replaced an hour before any run that is going on started.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from azdistill import strict_json
from azdistill.errors import ServiceError
from azdistill.local.store.durable_files import disk_errors, hash_file, remove_tree, sync, write_whole
from azdistill.local.store.home import AWAITED, Home
from azdistill.local.store.runs import list_runs
from azdistill.permissions import make_private
from azdistill.redact import register

_ABOUT = "about.json"
#: Where what says no content of its own lies: it was fetched when there was one of each address.
_DATA = "data"
#: Seconds that a run may take from its first question to its start.
_FRESH = 3600.0
_TIMEOUT = 60.0
_CHUNK = 1 << 20
#: What stands in addresses as it is, also what is encoded already.
_SAFE = "%!#$&'()*+,/:;=?@[]~"
_VERSIONS = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}


def fetch(home: Home, url: str, tell: Callable[[str], object]) -> Path:
    """The file at ``url``, on this disk. ServiceError AZD389 where it cannot be had. Query strings are never shown.

    ``tell`` is told where what is here is used though nobody could be asked whether it is still the same.

    Of a home that is only for ``looking`` it is a place that the home ``awaits`` if a run would fetch it.
    """
    public_url = _without_query(url)
    try:
        ascii_url = encoded(url)
    except ValueError as error:
        raise ServiceError(f"{public_url} is no address: {error}", code="AZD389") from error
    folder = home.downloads / hashlib.sha256(url.encode()).hexdigest()[:32]
    about = _known(folder)
    answer = _ask(ascii_url, public_url, about, tell)
    if answer is None:
        return _place(folder, about)
    if home.looking:
        answer.close()
        # A server that gives no versions sends it each time, and it may well be the same.
        return _place(folder, about) if about and not about["versions"] else folder / AWAITED / _name(url)
    with answer, disk_errors(f"downloading {public_url}"):
        # Data is fetched while a run is planned, before anything else of it needs the state folder.
        home.prepare([folder])
        file = _keep(folder, _name(url), answer, public_url)
        _make_current(home, folder, file, about, answer.headers)
        return file


def encoded(url: str) -> str:
    """``url`` as servers know it, in ASCII. ValueError where it is none."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not host.isascii():
        host = host.encode("idna").decode()
    ascii_parts = parts._replace(
        netloc=f"{user}{at}{host}", path=quote(parts.path, safe=_SAFE), query=quote(parts.query, _SAFE)
    )
    return ascii_parts.geturl()


def _ask(url: str, public_url: str, about: dict[str, Any], tell: Callable[[str], object]) -> Any:
    """The server's answer with the data; None where what is known of it holds, or no server says otherwise."""
    try:
        conditions = {_VERSIONS[header]: version for header, version in about.get("versions", {}).items()}
        return urllib.request.urlopen(urllib.request.Request(url, headers=conditions), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 304 and about:
            return None
        message = f"{public_url}: the server answered {error.code} {error.reason}"
        raise ServiceError(message, code="AZD389") from error
    except (urllib.error.URLError, TimeoutError, ConnectionError, HTTPException, ValueError) as error:
        # A ValueError is of an address that it leads to.
        reason = getattr(error, "reason", error)
        if about:
            tell(f"{public_url} cannot be asked for ({reason}): what was fetched from there before is used")
            return None
        raise ServiceError(f"{public_url}: {reason}", code="AZD389", hint="give a local file with --set") from error


def _keep(folder: Path, name: str, answer: Any, public_url: str) -> Path:
    for private in (folder.parent, folder):
        make_private(private)
    fresh = folder / f".{uuid.uuid4().hex[:8]}"
    try:
        with open(fresh, "wb") as file:
            file.writelines(_chunks(answer, public_url))
            file.flush()
            os.fsync(file.fileno())
        content = hash_file(fresh)
        target = folder / content[:32] / name
        target.parent.mkdir(exist_ok=True)
        try:
            os.link(fresh, target)
        except OSError:
            # What is there with this content is left as it is: a run may be reading it.
            if not (target.is_file() and hash_file(target) == content):
                fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
    sync(target.parent)
    return target


def _make_current(home: Home, folder: Path, file: Path, about: dict[str, Any], headers: Any) -> None:
    """Say that ``file`` is what the address holds now."""
    if about and (before := _place(folder, about).parent) != file.parent:
        # The time of a folder is when its content was replaced.
        os.utime(before)
    versions = {header: headers[header] for header in _VERSIONS if headers.get(header)}
    write_whole(
        folder / _ABOUT, strict_json.dumps({"name": file.name, "content": file.parent.name, "versions": versions})
    )
    older = [path for path in folder.iterdir() if path.is_dir() and path != file.parent and path.name[0] != "."]
    if older:
        _remove_old(home, older)


def _remove_old(home: Home, folders: list[Path]) -> None:
    now = time.time()
    started = (run.started for run in list_runs(home) if run.status == "running")
    until = min(started, default=now) - _FRESH
    for folder in folders:
        # Another run may be at it too.
        with contextlib.suppress(FileNotFoundError):
            if folder.stat().st_mtime < until:
                remove_tree(folder)


def _chunks(answer: Any, public_url: str) -> Iterator[bytes]:
    """What the server sends, to its end; where it breaks off, that is an error whatever is here from before."""
    try:
        while chunk := answer.read(_CHUNK):
            yield chunk
    except (OSError, HTTPException) as error:
        raise ServiceError(f"{public_url}: it broke off: {error}", code="AZD389") from error
    # http.client says so of a chunked answer only. What counts are bytes as they come: nothing here decodes them.
    if missing := getattr(answer, "length", None):
        raise ServiceError(f"{public_url}: it broke off, {missing} bytes before its end", code="AZD389")


def _name(url: str) -> str:
    """The last part of the address. It is taken apart once it is decoded: ``%2e%2e%2f`` may lead nowhere else."""
    last = unquote(urlsplit(url).path).rpartition("/")[2].replace("\0", "_")
    return "download" if last in ("", ".", "..") else last


def _known(folder: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        return about if _place(folder, about).is_file() else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _place(folder: Path, about: dict[str, Any]) -> Path:
    return folder / str(about.get("content", _DATA)) / str(about["name"])


def _without_query(url: str) -> str:
    """``url`` for messages. What follows the question mark may be a signature: it is hidden from all text."""
    bare, mark, query = url.partition("?")
    if query:
        register(query)
    return f"{bare}{mark}***" if mark else bare
