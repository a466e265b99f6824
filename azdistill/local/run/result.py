"""What a step of a run came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: Why a step was skipped: its branch was not taken (or that of a step that it needs), or another step failed.
BRANCH, FAILURE = "branch", "failure"


@dataclass(frozen=True, slots=True)
class Result:
    """What a step came to. ``outputs`` are the committed ones, ``contents`` the hashes of those that nobody changes any
    more; ``metrics`` is its metrics file.

    ``reason`` says why it was skipped, in a word (see :mod:`azdistill.local.run.skipping`); ``detail`` for people.
    """

    status: str
    seconds: float = 0.0
    exit_code: int | None = None
    error: str = ""
    outputs: Mapping[str, Path] = field(default_factory=dict)
    contents: Mapping[str, str] = field(default_factory=dict)
    metrics: Path | None = None
    key: str | None = None
    failure: BaseException | None = None
    #: Whether another attempt may end otherwise.
    again: bool = False
    reason: str = ""
    detail: str = ""

    @property
    def well(self) -> bool:
        """Whether nothing keeps what comes after it from running, if only on what it needs itself."""
        return self.status in ("completed", "cached") or self.reason == BRANCH
