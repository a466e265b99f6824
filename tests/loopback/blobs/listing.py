"""A page of a container's blobs, as XML."""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from .disk import Disk


def page(disk: Disk, container: str, query: dict[str, str], url: str) -> bytes:
    """The blobs that a prefix, delimiter and marker ask for, at most ``maxresults``."""
    prefix, delimiter, marker = (query.get(name, "") for name in ("prefix", "delimiter", "marker"))
    limit = int(query.get("maxresults") or 5000)
    found = [one for one in _entries(disk, container, prefix, delimiter) if one > marker]
    entries = "".join(_entry(disk, container, name, query) for name in found[:limit])
    following = escape(found[limit - 1]) if len(found) > limit else ""
    head = f'<EnumerationResults ServiceEndpoint="{escape(url.rpartition("/")[0])}/" ContainerName="{container}">'
    asked = f"<Prefix>{escape(prefix)}</Prefix><Marker>{escape(marker)}</Marker><MaxResults>{limit}</MaxResults>"
    body = f"{asked}<Blobs>{entries}</Blobs><NextMarker>{following}</NextMarker></EnumerationResults>"
    return f'<?xml version="1.0" encoding="utf-8"?>{head}{body}'.encode()


def _entries(disk: Disk, container: str, prefix: str, delimiter: str) -> Iterator[str]:
    """Names of blobs; where a delimiter follows the prefix, the part up to it, once."""
    seen = set()
    for name in disk.names(container):
        if not name.startswith(prefix):
            continue
        if delimiter and delimiter in name[len(prefix) :]:
            name = prefix + name[len(prefix) :].partition(delimiter)[0] + delimiter
        if name not in seen:
            seen.add(name)
            yield name


def _entry(disk: Disk, container: str, name: str, query: dict[str, str]) -> str:
    if query.get("delimiter") and name.endswith(query["delimiter"]):
        return f"<BlobPrefix><Name>{escape(name)}</Name></BlobPrefix>"
    blob = disk.blob(container, name)
    headers = blob.headers()
    properties = (
        f"<Last-Modified>{headers['Last-Modified']}</Last-Modified><Etag>{headers['ETag'].strip(chr(34))}</Etag>"
        f"<Content-Length>{blob.size}</Content-Length><Content-Type>application/octet-stream</Content-Type>"
        f"<BlobType>{headers['x-ms-blob-type']}</BlobType>"
    )
    meta = ""
    if "metadata" in query.get("include", ""):
        pairs = {
            key.removeprefix("x-ms-meta-"): value for key, value in headers.items() if key.startswith("x-ms-meta-")
        }
        meta = "<Metadata>" + "".join(f"<{key}>{escape(value)}</{key}>" for key, value in pairs.items()) + "</Metadata>"
    return f"<Blob><Name>{escape(name)}</Name><Properties>{properties}</Properties>{meta}</Blob>"
