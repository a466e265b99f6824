"""Values of inputs: what text the command line receives, and what type a text stands for.

Azure ML sends a literal as ``str(value)`` (azure-ai-ml 1.35, ``to_rest_dataset_literal_inputs``) and a component's
default as ``str`` of the value parsed by the input's type (``Input._parse``): booleans are ``True``, ``False``;
``10.0`` for an integer's default as ``10``, ``1e-5`` for a number's as ``1e-05``.
"""

from __future__ import annotations

import math
from typing import Any


def parse(kind: str, value: Any) -> Any:
    """``value`` as an input of type ``kind`` holds it. Raises ValueError where it cannot."""
    if kind == "boolean":
        word = str(value).lower()
        if word not in ("true", "false"):
            raise ValueError("not true or false")
        return word == "true"
    if kind in ("integer", "number"):
        return _number(kind, value)
    if isinstance(value, list | dict):
        raise ValueError("not a single value")
    return str(value) if kind == "string" else value


def _number(kind: str, value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("not a number")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ValueError("not a number") from None
    if kind == "number":
        return number
    if not math.isfinite(number) or number != int(number):
        raise ValueError("not a whole number")
    return int(value) if isinstance(value, int) else int(number)


def text(value: Any) -> str:
    """What a literal becomes on the command line."""
    return str(value)


def default_text(kind: str, default: Any) -> str | None:
    """What a default becomes on the command line; None where there is none (nan and infinity count as none)."""
    if default is None or (isinstance(default, float) and not math.isfinite(default)):
        return None
    try:
        return str(parse(kind, default))
    except ValueError:
        return str(default)


def type_of_literal(value: Any) -> str:
    """The type of an input whose value is written without one."""
    names = {bool: "boolean", int: "integer", float: "number"}
    return names.get(type(value), "string")
