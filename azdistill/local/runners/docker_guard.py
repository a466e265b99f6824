"""The guard of a run in Docker: a small process that removes the containers when the runner dies, however it dies.

Started before any container as ``python -I -S docker_guard.py SOCKET LABEL``, in a session of its own. Its stdin is a
pipe that only the runner holds; its end, without a word before it, means that the runner is gone. Imports nothing of
azdistill or of the docker package: it must start fast and outlive everything.
"""

import http.client
import json
import signal
import socket
import sys
import time
import urllib.parse

#: Seconds for which no container may turn up before the guard goes: one may still have been on its way.
QUIET = 1.0
_TIMEOUT = 10.0
#: What a runner says that has removed its containers itself.
DONE = "done\n"


class UnixConnection(http.client.HTTPConnection):
    """HTTP to the Docker engine's socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT)
        self.sock.connect(self._path)


def main() -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    path, label = sys.argv[1:3]
    if sys.stdin.readline() != DONE:
        sweep(path, label)


def sweep(path: str, label: str, quiet: float = QUIET) -> int:
    """Remove every container that bears ``label`` (NAME=value), until none has turned up for ``quiet`` seconds."""
    removed, until = 0, time.monotonic() + quiet
    while True:
        found = labelled(path, label)
        for identity in found:
            _ask(path, "DELETE", f"/containers/{identity}?force=1&v=1")
            removed += 1
        if found:
            until = time.monotonic() + quiet
        elif time.monotonic() >= until:
            return removed
        time.sleep(0.05)


def labelled(path: str, label: str) -> list[str]:
    """Ids of the containers, running or not, that bear ``label``."""
    filters = urllib.parse.quote(json.dumps({"label": [label]}))
    listed = _ask(path, "GET", f"/containers/json?all=1&filters={filters}")
    return [entry["Id"] for entry in json.loads(listed or b"[]")]


def _ask(path: str, method: str, url: str) -> bytes:
    connection = UnixConnection(path)
    try:
        connection.request(method, url)
        return connection.getresponse().read()
    except OSError:
        # The engine is gone, and its containers with it, or it is busy: the loop asks again.
        return b""
    finally:
        connection.close()


if __name__ == "__main__":
    main()
