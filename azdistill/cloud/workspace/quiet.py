"""The SDK's noise: warnings about experimental classes, progress bars, telemetry. None of it reaches the user."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import Any, TextIO

#: Libraries whose loggers and warnings print to the terminal unless told otherwise.
_LOUD = ("azure", "msal", "msrest", "opentelemetry", "urllib3", "marshmallow", "pydash", "applicationinsights")

_state: dict[str, bool | None] = {"show": None}
_lock = threading.Lock()
#: One for each :func:`hushed` that is going on, in whatever thread.
_sections: list[None] = []


def quiet(show: bool | None = None) -> None:
    """Keep the loggers and warnings of the SDK from the terminal; ``show`` (``-vv``) lets them through.

    The first caller who says decides. Call it again after an import: azure-ai-ml gives its loggers handlers of their
    own, which write to stderr.
    """
    if _state["show"] is None:
        _state["show"] = bool(show)
        if show:
            logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
        else:
            for name in _LOUD:
                warnings.filterwarnings("ignore", module=rf"{name}(\.|$)")
    if not _state["show"]:
        _silence()


def _silence() -> None:
    for name in _LOUD:
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        # A logger with a handler of its own is not given the one of last resort, which writes to stderr.
        logger.handlers = [logging.NullHandler()]
        logger.propagate = False
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("azure.")]:
        logger = logging.getLogger(name)
        logger.handlers = [each for each in logger.handlers if not isinstance(each, logging.StreamHandler)]
        if not logger.propagate and not logger.handlers:
            logger.addHandler(logging.NullHandler())


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """What the SDK prints meanwhile is not shown: uploads print escape sequences, progress bar or not. Loggers of what
    is imported meanwhile are silenced at the end.

    Only what the SDK prints. The streams belong to the whole process: other threads of the user's program go on
    printing, and may be hushed themselves.
    """
    quiet()
    if _state["show"]:
        yield
        return
    with _lock:
        _sections.append(None)
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and not isinstance(stream, _WithoutSdk):
                setattr(sys, name, _WithoutSdk(stream))
    try:
        yield
    finally:
        with _lock:
            _sections.pop()
            for name in ("stdout", "stderr"):
                stream = getattr(sys, name)
                # What others have put in its place meanwhile is theirs to take away.
                if not _sections and isinstance(stream, _WithoutSdk):
                    setattr(sys, name, stream.stream)
        quiet()


class _WithoutSdk:
    """A stream that drops what the SDK writes while any thread is hushed, and is the stream below it otherwise."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        if _sections and _is_of_sdk(sys._getframe(1)):
            return len(text)
        return self.stream.write(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    # Log handlers that close their stream when they are shut (absl's) spare whatever equals sys.stderr.
    def __eq__(self, other: object) -> bool:
        return other is self or other is self.stream

    def __hash__(self) -> int:
        return hash(self.stream)


def _is_of_sdk(frame: FrameType | None) -> bool:
    """Whether a call comes from the SDK: it prints in threads of its own too, which only their calls tell from ours."""
    while frame is not None:
        module = str(frame.f_globals.get("__name__"))
        # The thread that draws tqdm's bars anew has nothing of the SDK among its calls.
        if module.partition(".")[0] in _LOUD or module == "tqdm._monitor":
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """A tqdm that is imported meanwhile draws no bars: it reads its defaults from the environment when imported."""
    if _state["show"] or "TQDM_DISABLE" in os.environ:
        yield
        return
    os.environ["TQDM_DISABLE"] = "1"
    try:
        yield
    finally:
        os.environ.pop("TQDM_DISABLE", None)
