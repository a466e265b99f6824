"""A teacher on loopback that speaks chat completions (and messages), and fails as often as it is told to."""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Messages = list[dict[str, str]]
#: What a teacher answers: a text, or a whole message.
Answers = Callable[[Messages], str | dict[str, Any]]
FAULTS = ("429", "503", "cut", "malformed")


class LoopbackTeacher:
    """``with LoopbackTeacher(answers) as teacher: teacher.url``. ``faults`` is the share of requests that fail.

    ``asked`` counts requests by the text of the last user turn, ``answered`` those whose whole body was sent.
    ``requests`` keeps path, headers (lower case) and body of each.
    """

    def __init__(
        self,
        answers: Answers,
        *,
        faults: float = 0.0,
        kinds: Iterable[str] = FAULTS,
        seed: int = 0,
        delay: float = 0.0,
        retry_after: str = "0.05",
        reply: Callable[[dict[str, Any], int], tuple[int, dict[str, str], Any] | None] | None = None,
    ) -> None:
        self.answers = answers
        self.faults = faults
        self.kinds = tuple(kinds)
        self.delay = delay
        self.retry_after = retry_after
        self.reply = reply
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.requests: list[dict[str, Any]] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.lock = threading.Lock()
        self._random = random.Random(seed)
        teacher = self

        class Handler(_Handler):
            loopback = teacher

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> LoopbackTeacher:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def next_fault(self) -> str | None:
        """Which fault the next request meets, drawn from the seed."""
        if not self.kinds or self._random.random() >= self.faults:
            return None
        return self._random.choice(self.kinds)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away (one that is killed, for example) is no fault of the server."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    loopback: LoopbackTeacher
    # Small answers go out at once (no Nagle), as with a real server.
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        teacher = self.loopback
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = next(turn["content"] for turn in reversed(body["messages"]) if turn["role"] == "user")
        headers = {name.lower(): value for name, value in self.headers.items()}
        with teacher.lock:
            teacher.requests.append({"path": self.path, "headers": headers, "body": body})
            teacher.asked[asked] += 1
            number = teacher.asked[asked]
            teacher.in_flight += 1
            teacher.most_in_flight = max(teacher.most_in_flight, teacher.in_flight)
            fault = teacher.next_fault()
            teacher.failed[fault or "none"] += 1
        try:
            time.sleep(teacher.delay)
            self._respond(body, asked, number, fault)
        finally:
            with teacher.lock:
                teacher.in_flight -= 1

    def _respond(self, body: dict[str, Any], asked: str, number: int, fault: str | None) -> None:
        teacher = self.loopback
        if teacher.reply and (given := teacher.reply(body, number)):
            self._send(*given)
            return
        if fault == "429":
            self._send(429, {"Retry-After": teacher.retry_after}, {"error": {"message": "slow down"}})
        elif fault == "503":
            self._send(503, {}, {"error": {"message": "overloaded"}})
        elif fault == "malformed":
            self._send(200, {}, b'{"choices": [{"message": {"content": "18')
        elif fault == "cut":
            self._cut(body)
        else:
            self._send(200, {}, self._answer(body))
            with teacher.lock:
                teacher.answered[asked] += 1

    def _answer(self, body: dict[str, Any]) -> dict[str, Any]:
        said = self.loopback.answers(body["messages"])
        message = {"content": said} if isinstance(said, str) else dict(said)
        finish = message.pop("finish_reason", None)
        usage = {"prompt_tokens": 10, "completion_tokens": 5}
        if self.path.endswith("/messages"):
            content = [{"type": "text", "text": message["content"]}]
            usage = {"input_tokens": 10, "output_tokens": 5}
            return {"type": "message", "content": content, "stop_reason": finish or "end_turn", "usage": usage}
        choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish or "stop"}
        return {
            "id": "loopback",
            "object": "chat.completion",
            "model": body["model"],
            "choices": [choice],
            "usage": usage,
        }

    def _send(self, status: int, headers: dict[str, str], body: Any) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(raw)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(raw)
        self.wfile.flush()

    def _cut(self, body: dict[str, Any]) -> None:
        raw = json.dumps(self._answer(body)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw[: len(raw) // 2])
        self.wfile.flush()
        # A reset, not an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
