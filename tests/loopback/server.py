"""A threaded HTTPS server on 127.0.0.1 that keeps connections alive and gives each request to one function."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from .messages import Request, Response


class Server:
    """Serves ``answer`` until closed. ``port`` 0 takes a free one."""

    def __init__(self, answer: Callable[[Request], Response], context: ssl.SSLContext, port: int = 0) -> None:
        self._http = _Http(("127.0.0.1", port), _Handler)
        self._http.answer, self._http.context = answer, context
        self.url = f"https://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True, name="loopback")
        self._thread.start()

    def close(self) -> None:
        """Stop listening and cut what is open."""
        self._http.shutdown()
        self._http.server_close()
        self._http.cut()
        self._thread.join()


class Cut(Exception):
    """Send this answer's head and half of its body, then cut the connection (``whole``: send nothing at all)."""

    def __init__(self, response: Response | None = None) -> None:
        super().__init__("cut")
        self.response = response


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    answer: Callable[[Request], Response]
    context: ssl.SSLContext

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[socket.socket] = set()

    def finish_request(self, request: Any, client_address: Any) -> None:
        """The handshake, in the connection's own thread: a silent client holds nobody up."""
        request.settimeout(60)
        with contextlib.suppress(OSError):
            secured = self.context.wrap_socket(request, server_side=True)
            self._open.add(secured)
            try:
                super().finish_request(secured, client_address)
            finally:
                self._open.discard(secured)
                with contextlib.suppress(OSError):
                    secured.shutdown(socket.SHUT_RDWR)
                secured.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; what a handler raises is answered, see Workspace."""

    def cut(self) -> None:
        """Cut the connections that are kept alive."""
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Http
    disable_nagle_algorithm = True

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        try:
            self._send(self.server.answer(self._request()))
        except Cut as cut:
            self._send_half(cut.response)
        self.wfile.flush()

    def _request(self) -> Request:
        parts = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        host = f"https://{headers.get('host', '127.0.0.1')}"
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        body = self._body(headers)
        return Request(self.command, parts.path, query, headers, body, base=host, url=host + self.path)

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return b"".join(iter(self._chunk, b""))
        return self.rfile.read(int(headers.get("content-length") or 0))

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline().split(b";")[0], 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    def _send(self, response: Response) -> None:
        content = response.content()
        self._head(response, len(content))
        if response.stream is not None:
            self._chunks(response)
        elif self.command != "HEAD":
            self.wfile.write(content)

    def _head(self, response: Response, length: int) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if response.stream is not None:
            self.send_header("Transfer-Encoding", "chunked")
        elif "Content-Length" not in response.headers and response.status not in (204, 304):
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _chunks(self, response: Response) -> None:
        for piece in response.stream or ():
            if piece:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def _send_half(self, response: Response | None) -> None:
        if response is not None:
            content = response.content()
            self._head(response, len(content) or 2)
            self.wfile.write(content[: len(content) // 2])
        self.close_connection = True

    def log_message(self, *args: Any) -> None:
        """Nothing: what was received is in the workspace's record."""
