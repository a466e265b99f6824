"""The guard of a run in Docker, against an engine that is busy, starts anew or cannot do what it is told."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from azdistill.local.runners.docker.guard import labelled, sweep

CONTAINER = [{"Id": "one"}]
LABEL = "azdistill.session=mine"


class Engine(socketserver.ThreadingUnixStreamServer):
    """Gives ``answers`` to what is listed, the last one again and again; an Exception is no answer at all."""

    daemon_threads = True

    def __init__(self, path: Path, answers: list[object]) -> None:
        super().__init__(str(path), _Handler)
        self.path, self.answers, self.removed = str(path), answers, list[str]()

    def answer(self) -> object:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class _Handler(BaseHTTPRequestHandler):
    server: Engine

    def address_string(self) -> str:
        return "guard"

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        answer = self.server.answer()
        if answer is ConnectionError:
            return
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.send_response(200 if isinstance(answer, list) else 500)
        # One byte too many is promised where the answer is cut short.
        self.send_header("Content-Length", str(len(body) + isinstance(answer, bytes)))
        self.end_headers()
        self.wfile.write(body)

    def do_DELETE(self) -> None:
        self.server.removed.append(self.path)
        self.send_response(204)
        self.end_headers()


@pytest.fixture
def answers() -> list[object]:
    return []


@pytest.fixture
def engine(tmp_path: Path, answers: list[object]) -> Iterator[Engine]:
    with Engine(tmp_path / "socket", answers) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


FAILURES: list[object] = [ConnectionError, {"message": "busy"}, b"[", b"", None]


@pytest.mark.parametrize("failure", FAILURES)
def test_an_engine_that_does_not_answer_is_asked_again(engine: Engine, answers: list[object], failure: object) -> None:
    answers += [failure, failure, failure, CONTAINER, []]
    assert sweep(engine.path, LABEL, quiet=0.07) == 1
    assert engine.removed == ["/containers/one?force=1&v=1"]


@pytest.mark.parametrize("answer", [*FAILURES, CONTAINER])
def test_the_guard_gives_up_on_an_engine_that_never_does_its_part(
    engine: Engine, answers: list[object], answer: object
) -> None:
    answers.append(answer)
    sweep(engine.path, LABEL, quiet=0.01, patience=0.1)
    assert len(engine.removed) < 10


def test_an_engine_that_is_gone_says_nothing(tmp_path: Path) -> None:
    assert labelled(str(tmp_path / "none"), LABEL) is None
    assert sweep(str(tmp_path / "none"), LABEL, quiet=0.01, patience=0.05) == 0


def test_nothing_left_is_told_from_no_answer(engine: Engine, answers: list[object]) -> None:
    answers += [[], [], []]
    assert labelled(engine.path, LABEL) == []
    assert sweep(engine.path, LABEL, quiet=0.01) == 0
