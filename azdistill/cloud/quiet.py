"""The SDK's noise: warnings about experimental classes, progress bars, telemetry. None of it reaches the user."""

from __future__ import annotations

import logging
import warnings

#: Libraries whose loggers print to the terminal unless told otherwise.
_LOUD = ("azure", "msal", "msrest", "opentelemetry", "urllib3", "marshmallow", "pydash", "applicationinsights")

_state: dict[str, bool | None] = {"show": None}


def quiet(show: bool | None = None) -> None:
    """Keep the loggers and warnings of the SDK from the terminal; ``show`` (``-vv``) lets them through.

    The first caller who says decides; calling it again does nothing.
    """
    if _state["show"] is not None:
        return
    _state["show"] = show
    if show:
        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
        return
    for name in _LOUD:
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING)
        # A logger with a handler of its own is not given the one of last resort, which writes to stderr.
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
        warnings.filterwarnings("ignore", module=rf"{name}(\.|$)")
