"""Which failures are worth another attempt, and how long to wait before it."""

from __future__ import annotations

import os
from typing import Any

from azdistill.errors import MachineError

#: Seconds before the first retry and before any later one.
_FIRST, _LONGEST = 1.0, 60.0
#: HTTP statuses: too many requests, a bad gateway, unavailable, a gateway that waited too long.
_OVERLOADED = (429, 502, 503, 504)


def worth(exit_code: int | None) -> bool:
    """Whether a step says of itself that it may succeed next time (sysexits: EX_TEMPFAIL)."""
    return exit_code == os.EX_TEMPFAIL


def passing(error: MachineError) -> bool:
    """Whether an error of the machine is of the moment: the Docker engine did not answer, or lost the output."""
    if error.code == "AZD395":
        return True
    # The engine's own refusals are final, but for those in which it says that it failed itself.
    cause: Any = error.__cause__
    if error.code != "AZD393" or cause is None:
        return False
    status = getattr(getattr(cause, "response", None), "status_code", None)
    return status in _OVERLOADED or (status is None and isinstance(cause, OSError))


def pause(retried: int) -> float:
    """Seconds to wait before a step is tried again that was so ``retried`` times already."""
    return min(_FIRST * float(2**retried), _LONGEST)
