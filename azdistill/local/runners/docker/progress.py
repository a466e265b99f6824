"""What the Docker engine answers while it builds or pulls: followed to its end, or until the run is canceled."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from azdistill.errors import Interrupted
from azdistill.local.runners.base import Cancellation
from azdistill.local.runners.docker.engine import Engine

_POLL = 0.1

Answer = Mapping[str, Any]


def answers(engine: Engine, ask: Callable[[Any], Iterable[Answer]], cancellation: Cancellation) -> Iterator[Answer]:
    """What ``ask`` gets from a connection of its own.

    Interrupted when the run is canceled: the connection is hung up, at which the engine leaves off as well.
    """
    found: queue.SimpleQueue[Answer | BaseException | None] = queue.SimpleQueue()
    begun: list[Any] = []
    connection = engine.connection(begun.append)
    # Read by another thread, because an engine may be silent for long.
    reader = threading.Thread(target=_read, args=(lambda: ask(connection), found.put), daemon=True)
    reader.start()
    try:
        while (answer := _next(found, cancellation)) is not None:
            yield answer
    finally:
        if begun and reader.is_alive():
            _hang_up(begun[-1])


def refuse_canceled(cancellation: Cancellation) -> None:
    """Raise Interrupted if the run is canceled."""
    if cancellation.asked.is_set():
        raise Interrupted("the run was interrupted", code="AZD371")


def _read(ask: Callable[[], Iterable[Answer]], put: Callable[[Answer | BaseException | None], None]) -> None:
    try:
        for answer in ask():
            put(answer)
        put(None)
    except BaseException as error:  # noqa: BLE001 - raised again in the thread that follows
        put(error)


def _next(found: queue.SimpleQueue[Answer | BaseException | None], cancellation: Cancellation) -> Answer | None:
    while True:
        refuse_canceled(cancellation)
        with contextlib.suppress(queue.Empty):
            answer = found.get(timeout=_POLL)
            if isinstance(answer, BaseException):
                raise answer
            return answer


def _hang_up(response: Any) -> None:
    from docker.types import CancellableStream

    # It may end by itself at this very moment, and has no socket then.
    with contextlib.suppress(OSError, AttributeError):
        CancellableStream(None, response).close()
