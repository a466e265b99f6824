"""JSON that every reader takes: it has no form for numbers that are not finite, though Python's writer makes one up."""

from __future__ import annotations

import json
import math
from typing import Any


def dumps(value: Any, **layout: Any) -> str:
    """``value`` as JSON; numbers that are not finite become null. ``layout`` is what json.dumps takes."""
    try:
        return json.dumps(value, allow_nan=False, **layout)
    except ValueError:
        return json.dumps(_replaced(value), allow_nan=False, **layout)


def word(value: float) -> float | str:
    """A number that must come back as it was: where it is not finite the word that protobuf's JSON has for it, which
    ``float()`` reads.
    """
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _replaced(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {word(key) if isinstance(key, float) else key: _replaced(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(part) for part in value]
    return value
