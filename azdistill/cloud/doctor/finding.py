"""What was looked at, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from azdistill.errors import AzdistillError
from azdistill.redact import redact

OK, WARN, FAIL, SKIP = "ok", "warn", "fail", "skip"


@dataclass(frozen=True, slots=True)
class Finding:
    """``said`` is what was found, ``todo`` what to do about it. ``exit_code`` is what a failure ends with: 2 for the
    user's file, 3 for this machine, 4 for Azure.
    """

    name: str
    level: str
    said: str
    todo: str = ""
    exit_code: int = 4

    def as_json(self) -> dict[str, Any]:
        fields = ((name, value) for name, value in asdict(self).items() if name != "exit_code")
        return {name: redact(value) if isinstance(value, str) else value for name, value in fields}


Check = Callable[[], Iterator[Finding]]


def failed(name: str, error: AzdistillError) -> Finding:
    """An error of ours as a finding."""
    return Finding(name, FAIL, f"{error.code}: {error.message}", error.hint, error.exit_code)


def guarded(name: str, check: Check) -> Iterator[Finding]:
    """What ``check`` finds; what it raises, of ours, is a failure that it found."""
    try:
        yield from check()
    except AzdistillError as error:
        yield failed(name, error)


def worst(findings: list[Finding]) -> int:
    """The exit code: 0 where nothing failed, else that of the worst failure (4 before 3 before 2)."""
    return max((finding.exit_code for finding in findings if finding.level == FAIL), default=0)
