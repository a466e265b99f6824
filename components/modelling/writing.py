"""Writing weights, states and distributions: a full disk is one line, and no traceback of a library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from common.step import StepError

#: How torch's own writer of files names itself; it tells nothing of the system's error.
_TORCH = ("inline_container", "PytorchStreamWriter")


@contextmanager
def writing(what: str, else_said: str = "") -> Iterator[None]:
    """Raises StepError where a file cannot be written. ``else_said`` ends the line."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        raise StepError(f"{what} cannot be written: {str(error) or type(error).__name__}{else_said}") from None
    except RuntimeError as error:
        if not any(word in str(error) for word in _TORCH):
            raise
        raise StepError(f"{what} cannot be written, as on a disk that is full{else_said}") from None
