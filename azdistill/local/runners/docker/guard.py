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
#: Seconds for which the engine may fail to answer, or to remove what it was told to, before the guard gives up.
PATIENCE = 120.0
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


def sweep(path: str, label: str, quiet: float = QUIET, patience: float = PATIENCE) -> int:
    """Remove every container that bears ``label`` (NAME=value), until none has turned up for ``quiet`` seconds.

    An engine that is busy or starts anew says nothing of containers, and is asked again for ``patience`` seconds.
    """
    removed, last, now = 0, None, time.monotonic()
    until, giving_up = now + quiet, now + patience
    while now < min(until, giving_up):
        containers = labelled(path, label)
        for identity in containers or ():
            _ask(path, "DELETE", f"/containers/{identity}?force=1&v=1")
            removed += 1
        now = time.monotonic()
        if containers is None or containers:
            until = now + quiet
        if containers is not None and containers != last:
            last, giving_up = containers, now + patience
        time.sleep(0.05)
    return removed


def labelled(path: str, label: str) -> list[str] | None:
    """Ids of the containers, running or not, that bear ``label``; None where the engine does not say."""
    filters = urllib.parse.quote(json.dumps({"label": [label]}, allow_nan=False))
    try:
        listed = json.loads(_ask(path, "GET", f"/containers/json?all=1&filters={filters}"))
    except ValueError:
        return None
    return [entry["Id"] for entry in listed] if isinstance(listed, list) else None


def _ask(path: str, method: str, url: str) -> bytes:
    connection = UnixConnection(path)
    try:
        connection.request(method, url)
        return connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        # The engine is gone, or it is busy: the loop asks again.
        return b""
    finally:
        connection.close()


if __name__ == "__main__":
    main()
