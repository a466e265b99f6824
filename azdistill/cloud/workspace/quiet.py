"""The SDK's noise: warnings about experimental classes, progress bars, telemetry. None of it reaches the user."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator

#: Libraries whose loggers and warnings print to the terminal unless told otherwise.
_LOUD = ("azure", "msal", "msrest", "opentelemetry", "urllib3", "marshmallow", "pydash", "applicationinsights")

_state: dict[str, bool | None] = {"show": None}


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
    for name in [known for known in logging.root.manager.loggerDict if known.startswith("azure.")]:
        logger = logging.getLogger(name)
        logger.handlers = [one for one in logger.handlers if not isinstance(one, logging.StreamHandler)]
        if not logger.propagate and not logger.handlers:
            logger.addHandler(logging.NullHandler())


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Nothing that is printed meanwhile is shown: uploads print escape sequences, progress bar or not."""
    if _state["show"]:
        yield
        return
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


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
