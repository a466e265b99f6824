"""What happens in a run: one kind of event, from the step to the store, the terminal and MLflow."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a run, to a ``step`` of it, or to a ``trial`` (its number) of a sweep step."""

    kind: str
    step: str = ""
    trial: int | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    time: float = field(default_factory=time.time)


#: Takes events, from several threads.
Hear = Callable[[Event], None]
