"""``azdistill ui`` tells an address only where its own server answers, and leaves none behind."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from azdistill.errors import MachineError
from azdistill.local.tracking import ui

PROC = pytest.mark.skipif(not os.path.isdir("/proc/net"), reason="who listens is known on Linux only")


class Foreign(BaseHTTPRequestHandler):
    """Says to everything that it is well, as a server that the user knows nothing of might."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"OK")

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def foreign() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Foreign) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    sqlite3.connect(tmp_path / "mlflow.db").close()
    return tmp_path / "mlflow.db"


@contextlib.contextmanager
def azdistill_ui(port: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "azdistill", "ui", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
    except OSError:
        return False
    return True


def test_a_port_that_another_server_has_is_named_and_its_address_is_not_told(store: Path, foreign: int) -> None:
    with azdistill_ui(foreign) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (3, "")
    assert f"error[AZD380]: port {foreign} is in use" in err
    assert "--port" in err


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")])
def test_one_who_listens_everywhere_has_the_port_too(family: int, address: str) -> None:
    with socket.socket(family) as other:
        try:
            other.bind((address, 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
        other.listen(1)
        with pytest.raises(MachineError, match=r"port \d+ is in use") as caught:
            ui.serve_ui("sqlite:///none", other.getsockname()[1], lambda port: None)
    assert (caught.value.code, caught.value.hint) == ("AZD380", "name another with --port")


def test_a_port_whose_last_connections_have_just_ended_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            served, _ = server.accept()
            served.close()
            client.recv(1)
    assert ui._free(port) == port


@PROC
def test_a_server_that_takes_the_port_meanwhile_is_not_taken_for_ours(
    foreign: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As one that started between the look at the port and the child's own.
    real, looked = ui._free, []

    def free_at_first(port: int) -> int:
        looked.append(port)
        return port if len(looked) == 1 else real(port)

    script = tmp_path / "late.py"
    script.write_text("import time; time.sleep(1); raise SystemExit(1)")
    monkeypatch.setattr(ui, "_PROCESS", script)
    monkeypatch.setattr(ui, "_free", free_at_first)
    told: list[int] = []
    with pytest.raises(MachineError, match=f"port {foreign} is in use"):
        ui.serve_ui("sqlite:///none", foreign, told.append)
    assert told == []


def test_one_that_does_not_come_up_is_an_error_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "broken.py"
    script.write_text("raise SystemExit(7)")
    monkeypatch.setattr(ui, "_PROCESS", script)
    with pytest.raises(MachineError, match=r"did not start \(exit code 7\)") as caught:
        ui.serve_ui("sqlite:///none", None, lambda port: None)
    assert (caught.value.code, caught.value.exit_code) == ("AZD388", 3)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_address_is_told_once_it_answers_and_the_server_ends_with_the_command(
    number: signal.Signals, store: Path
) -> None:
    port = free_port()
    with azdistill_ui(port) as process:
        assert process.stdout
        assert process.stdout.readline() == f"http://127.0.0.1:{port}\n"
        assert answers(port)
        process.send_signal(number)
        process.wait(30)
        until = time.monotonic() + 30
        while answers(port) and time.monotonic() < until:
            time.sleep(0.1)
        assert not answers(port)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
