"""One certificate authority per process, so that several workspaces in one process are trusted by one bundle."""

from __future__ import annotations

import functools
import ssl
from pathlib import Path

import trustme


@functools.cache
def _authority() -> trustme.CA:
    return trustme.CA()


def server_context() -> ssl.SSLContext:
    """What a server on 127.0.0.1 shows its clients."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _authority().issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


def write_bundle(folder: Path) -> Path:
    """Write the authority's certificate into a folder; the file is what ``REQUESTS_CA_BUNDLE`` takes."""
    path = folder / "ca.pem"
    path.write_bytes(_authority().cert_pem.bytes())
    return path
