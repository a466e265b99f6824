"""The teacher's address: nothing runs behind it until somebody asks, and nothing is left when it closes."""

import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from lazy_teacher import HERE, LazyTeacher, ServerFailed


class Echo(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class FakeServer:
    """Stands in for `transformers serve`: an echo that needs a moment to come up."""

    def __init__(self):
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
        self.port = self._http.server_port
        self.stopped = False

    async def ready(self):
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self):
        self._http.shutdown()
        self._http.server_close()
        self.stopped = True


class BrokenServer(FakeServer):
    async def ready(self):
        raise ServerFailed("no such model")

    def stop(self):
        self._http.server_close()
        self.stopped = True


def ask(teacher, body=b"{}"):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{teacher.endpoint}/chat/completions", body, timeout=20) as answer:
        return answer.read()


def starter(kind, made):
    def start():
        made.append(kind())
        return made[-1]

    return start


def test_nothing_starts_while_nobody_asks():
    made = []
    with LazyTeacher(starter(FakeServer, made)) as teacher:
        assert teacher.endpoint.startswith("http://127.0.0.1:")
        assert not teacher.started
    assert made == []


def test_many_first_requests_start_one_server_and_all_are_answered():
    made = []
    with LazyTeacher(starter(FakeServer, made)) as teacher, ThreadPoolExecutor(8) as pool:
        bodies = [bytes([65 + number]) * 100_000 for number in range(8)]
        assert list(pool.map(lambda body: ask(teacher, body), bodies)) == bodies
        assert teacher.started
    assert len(made) == 1
    assert made[0].stopped


def test_a_server_that_does_not_come_up_is_an_answer_that_says_so():
    made = []
    with LazyTeacher(starter(BrokenServer, made)) as teacher:
        with pytest.raises(urllib.error.HTTPError) as refused:
            ask(teacher)
        assert refused.value.code == 501
        assert refused.value.read() == b"no such model"
    assert made[0].stopped


def test_a_server_ends_with_whoever_started_it():
    # The port is taken as text only: the process is gone before it would listen.
    process = subprocess.Popen(
        [sys.executable, str(HERE / "serve_teacher.py"), "nothing", "0"],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    process.stdin.close()
    started = time.monotonic()
    assert process.wait(timeout=30) == 0
    assert time.monotonic() - started < 30
