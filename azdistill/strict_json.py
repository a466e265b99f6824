"""JSON that every reader takes: it has no form for numbers that are not finite, though Python's writer makes one up.

For others they become null (:func:`dumps`). Where a number must come back as it was, in the event log and in records of
metrics, it is one of three words, as in protobuf's JSON (:func:`exact`, read by :func:`number`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

WORDS = ("NaN", "Infinity", "-Infinity")


def dumps(value: Any, **layout: Any) -> str:
    """``value`` as JSON; numbers that are not finite become null. ``layout`` is what json.dumps takes."""
    try:
        return json.dumps(value, allow_nan=False, **layout)
    except ValueError:
        return json.dumps(_replaced(value, lambda _: None), allow_nan=False, **layout)


def exact(value: Any) -> Any:
    """``value`` with words for the numbers that JSON has no form for."""
    return _replaced(value, _word)


def number(value: Any) -> Any:
    """A number that :func:`exact` made a word of; anything else as it is."""
    return float(value) if isinstance(value, str) and value in WORDS else value


def _word(value: float) -> str:
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _replaced(value: Any, stand_in: Callable[[float], Any]) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else stand_in(value)
    if isinstance(value, dict):
        return {_key(key): _replaced(field, stand_in) for key, field in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(element, stand_in) for element in value]
    return value


def _key(key: Any) -> Any:
    return _word(key) if isinstance(key, float) and not math.isfinite(key) else key
