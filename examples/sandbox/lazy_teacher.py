"""A teacher behind an address that costs nothing until somebody asks.

`LazyTeacher` listens on a loopback port. The first connection starts `transformers serve`, an OpenAI-compatible server
that takes some ten seconds to come up; every connection is then forwarded to it byte by byte. A demo whose answers
are all journaled never connects, and never waits.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

START_SECONDS = 120.0
BLOCK = 1 << 16
HERE = Path(__file__).parent


class ServerFailed(RuntimeError):
    """The server did not come up; the message ends with the last lines of its log."""


class Server:
    """One `transformers serve` process that answers as model `name` with the weights of `folder`."""

    def __init__(self, folder: Path, name: str, log: Path) -> None:
        self.port = free_port()
        self._log = log
        # The server takes the name of the folder it serves for the name of the model: a link gives it the right one.
        self._place = tempfile.TemporaryDirectory(prefix="azdistill-teacher-")
        Path(self._place.name, name).symlink_to(folder.resolve(), target_is_directory=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / "serve_teacher.py"), name, str(self.port)],
                cwd=self._place.name,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "HF_HUB_OFFLINE": "1"},
                start_new_session=True,
            )

    async def ready(self) -> None:
        """Wait until it answers. ServerFailed where it ends before that, or takes too long."""
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while not await asyncio.to_thread(self._healthy):
            if self._process.poll() is not None or asyncio.get_running_loop().time() > deadline:
                tail = self._log.read_text(errors="replace").splitlines()[-15:]
                raise ServerFailed("\n".join(["the teacher's server did not start:", *tail]))
            await asyncio.sleep(0.2)

    def _healthy(self) -> bool:
        with suppress(OSError, urllib.error.URLError):
            # Straight to this machine, whatever proxy the environment names.
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://127.0.0.1:{self.port}/health", timeout=2) as answer:
                return bool(answer.status == 200)
        return False

    def stop(self) -> None:
        """End the process; it is given a moment to do so itself."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._place.cleanup()


class LazyTeacher:
    """The address, as a context manager: `with LazyTeacher(start) as teacher: ... teacher.endpoint`.

    `start` makes the server; it is called upon the first connection, once.
    """

    def __init__(self, start: Callable[[], Server]) -> None:
        self._start = start
        self._server: Server | None = None
        self._coming: asyncio.Task[Server] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.port = 0

    @property
    def endpoint(self) -> str:
        """The base address of the OpenAI-compatible API."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def started(self) -> bool:
        """Whether anybody has asked yet."""
        return self._coming is not None

    def __enter__(self) -> LazyTeacher:
        self._thread.start()
        listener = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._connection, "127.0.0.1", 0), self._loop
        ).result()
        self.port = listener.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if self._server is not None:
            self._server.stop()

    async def _close(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server = await asyncio.shield(self._running())
            onward = await asyncio.open_connection("127.0.0.1", server.port)
        except (ServerFailed, OSError) as error:
            await _refuse(reader, writer, str(error))
            return
        # A task that ends as cancelled is logged by asyncio's streams as an error: at the end this is none.
        with suppress(asyncio.CancelledError):
            await asyncio.gather(_pipe(reader, onward[1]), _pipe(onward[0], writer))

    def _running(self) -> asyncio.Task[Server]:
        if self._coming is None:
            self._coming = asyncio.ensure_future(self._bring_up())
        return self._coming

    async def _bring_up(self) -> Server:
        # Kept at once, so that a server that is still coming up is stopped as well.
        self._server = await asyncio.to_thread(self._start)
        await self._server.ready()
        return self._server


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reason: str) -> None:
    body = reason.encode()
    head = (
        f"HTTP/1.1 501 Not Implemented\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\nConnection: close"
    )
    with suppress(OSError, TimeoutError):
        writer.write(head.encode() + b"\r\n\r\n" + body)
        await writer.drain()
        writer.write_eof()
        # A connection that is closed with a request unread is reset, and the answer is lost with it.
        async with asyncio.timeout(5):
            while await reader.read(BLOCK):
                pass
    writer.close()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while block := await reader.read(BLOCK):
            writer.write(block)
            await writer.drain()
    except OSError:
        pass
    finally:
        # The other direction may still be under way only while both ends are up: HTTP needs no half-open connections.
        writer.close()
