"""MLflow's UI on loopback: its address is told once it is this very server that answers there, and never another's."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from azdistill.errors import MachineError
from azdistill.local.runners import guard
from azdistill.local.runners.process_table import members, opened

_HOST = "127.0.0.1"
_PROCESS = Path(__file__).with_name("ui_process.py")
_FIRST = 5000
#: Seconds for importing MLflow, and looking at its store, on a busy machine.
_START = 180.0
_END = 8.0


def serve_ui(uri: str, port: int | None, on_answer: Callable[[int], object]) -> int:
    """Serve the runs of ``uri`` on ``port`` (None: a free one) until the process is interrupted; its exit code.

    ``on_answer`` is called with the port once the server answers. MachineError where it does not come up.
    """
    port = _free(port) if port else _any_free()
    # Arguments are read by all on a machine, and the address of a database may hold a password.
    server = subprocess.Popen(
        [sys.executable, "-P", str(_PROCESS), str(port)],
        env={**os.environ, "MLFLOW_BACKEND_STORE_URI": uri},
        stdin=subprocess.PIPE,
        # On stdout there is the address and nothing else.
        stdout=2,
        start_new_session=True,
    )
    before = signal.signal(signal.SIGTERM, _leave)
    try:
        _wait(server, port)
        on_answer(port)
        return server.wait()
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)
        _end(server)


def _leave(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    """Return when ``server`` answers on ``port``."""
    until = time.monotonic() + _START
    while not (_answers(port) and _is_listened_to_by(server.pid, port)):
        if server.poll() is not None:
            # Another program may have taken the port while this one was starting.
            _free(port)
            message = f"the MLflow UI did not start (exit code {server.returncode})"
            raise MachineError(message, code="AZD388", hint="what it printed above says why")
        if time.monotonic() > until:
            raise MachineError(f"the MLflow UI did not answer within {_START:g} s", code="AZD388")
        time.sleep(0.1)


def _end(server: subprocess.Popen[bytes]) -> None:
    assert server.stdin
    server.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(_END)
    # The group may outlive its first process.
    guard.kill_group(server.pid)
    server.wait()


def _answers(port: int) -> bool:
    # Straight to this machine, whatever proxy the environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with contextlib.suppress(OSError, urllib.error.URLError), opener.open(f"http://{_HOST}:{port}/health", timeout=5):
        return True
    return False


def _is_listened_to_by(group: int, port: int) -> bool:
    """Whether it is a process of this group that listens; where the system does not say, what answers is believed."""
    try:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    except OSError:
        return True
    sockets = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port}
    return any(sockets.intersection(opened(pid)) for pid in members(group))


def _free(port: int) -> int:
    """``port``, if nobody else listens there."""
    try:
        return _bound(port)
    except OSError as error:
        why = "is in use" if error.errno != errno.EACCES else f"cannot be used ({error.strerror})"
        raise MachineError(f"port {port} {why}", code="AZD380", hint="name another with --port") from None


def _any_free() -> int:
    for port in (_FIRST, 0):
        with contextlib.suppress(OSError):
            return _bound(port)
    raise MachineError(f"no free port on {_HOST}", code="AZD380")


def _bound(port: int) -> int:
    with socket.socket() as probe:
        # As the server does it: what closed a moment ago is free, what listens is not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((_HOST, port))
        probe.listen(1)
        return int(probe.getsockname()[1])
