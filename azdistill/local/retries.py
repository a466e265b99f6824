"""Which failures are worth another attempt, and how long to wait before it."""

from __future__ import annotations

import os

#: Seconds before the first retry and before any later one.
_FIRST, _LONGEST = 1.0, 60.0


def worth(exit_code: int | None) -> bool:
    """Whether a step says of itself that it may succeed next time (sysexits: EX_TEMPFAIL)."""
    return exit_code == os.EX_TEMPFAIL


def pause(retried: int) -> float:
    """Seconds to wait before a step is tried again that was so ``retried`` times already."""
    return min(_FIRST * float(2**retried), _LONGEST)
