"""The errors azdistill raises, and the problems it reports.

    AzdistillError              exit code
    ├── UserError                2   what the user wrote is wrong
    │   └── SpecError            2   one or more Problems in YAML, each with its place
    ├── RunFailed                1   a step failed
    ├── MachineError             3   this machine: docker, login, disk, a missing package
    ├── ServiceError             4   a service answered, or did not
    └── Interrupted            130   Ctrl-C or SIGTERM

Every error has a ``code`` (``AZD`` and three digits), a message, and where one helps a hint. No message may hold the
value of a secret: text that comes from outside goes through :mod:`azdistill.redact` before it is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a file. ``line`` and ``column`` count from 1; 0 where no place is known."""

    code: str
    message: str
    file: str = ""
    line: int = 0
    column: int = 0
    severity: Severity = "error"
    hint: str = ""

    def as_json(self) -> dict[str, Any]:
        """The object that ``azdistill validate --json`` prints for this problem."""
        keys = ("code", "severity", "file", "line", "column", "message", "hint")
        return {key: getattr(self, key) for key in keys}

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part)
        text = f"{self.severity}[{self.code}]: {self.message}"
        text += f"\n  at {place}" if place else ""
        return text + (f"\n  hint: {self.hint}" if self.hint else "")


class AzdistillError(Exception):
    """Base of all of them. ``exit_code`` is what the command line ends with."""

    exit_code = 1

    def __init__(self, message: str, *, code: str = "AZD000", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint

    def __str__(self) -> str:
        return f"error[{self.code}]: {self.message}" + (f"\n  hint: {self.hint}" if self.hint else "")


class UserError(AzdistillError):
    """What the user wrote is wrong."""

    exit_code = 2


class SpecError(UserError):
    """Problems in YAML files, all that could be found at once. ``problems`` holds them in order."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(problems, key=lambda p: (p.file, p.line, p.column))
        first = next((p for p in self.problems if p.severity == "error"), self.problems[0])
        super().__init__(first.message, code=first.code, hint=first.hint)

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


def raise_errors(problems: Iterable[Problem]) -> None:
    """Raise SpecError of all ``problems`` where one of them is an error, not a warning."""
    problems = list(problems)
    if any(problem.severity == "error" for problem in problems):
        raise SpecError(problems)


class RunFailed(AzdistillError):
    """A step of a run failed. ``exit_code`` follows that of the step (see :func:`exit_code_of_step`)."""

    def __init__(
        self, message: str, *, code: str = "AZD000", hint: str = "", step_exit_code: int | None = None
    ) -> None:
        super().__init__(message, code=code, hint=hint)
        if step_exit_code is not None:
            self.exit_code = exit_code_of_step(step_exit_code)


class MachineError(AzdistillError):
    """This machine cannot do it: docker, login, disk, a package that is not installed."""

    exit_code = 3


class ServiceError(AzdistillError):
    """A service refused, or could not be reached."""

    exit_code = 4


class Interrupted(AzdistillError):
    """Ctrl-C or SIGTERM."""

    exit_code = 130


# sysexits(3), which a component may say that it follows, as ours do: data, input and configuration are the user's; an
# unavailable, busy or refusing service is the service's.
_STEP_EXITS = {64: 2, 65: 2, 66: 2, 78: 2, 69: 4, 75: 4, 77: 4}


def exit_code_of_step(returncode: int) -> int:
    """The exit code of ``azdistill run`` for the exit status of the step that failed."""
    return _STEP_EXITS.get(returncode, RunFailed.exit_code)


def did_you_mean(word: str, names: Sequence[str]) -> str:
    """A hint naming the closest of ``names``, or all of them where none is close; empty when there are none."""
    close = [name for name in names if name.lower() == word.lower()] or get_close_matches(word, names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known: {', '.join(names)}" if names else ""


def did_you_mean_path(path: Path) -> str:
    """A hint for a file or folder that is not there: one of a like name in its place, or that its folder is not there
    either. Empty where nothing comes near.
    """
    missing = path
    while not missing.parent.is_dir() and missing.parent != missing:
        missing = missing.parent
    try:
        names = sorted(entry.name for entry in missing.parent.iterdir() if missing == path or entry.is_dir())
    except OSError:
        return ""
    close = get_close_matches(missing.name, names, n=1, cutoff=0.6)
    # A relative path is one that somebody wrote; of the others the name is enough.
    found = missing.with_name(close[0]) if close and not path.is_absolute() else "".join(close)
    meant = f"did you mean '{found}'?" if close else ""
    return "; ".join(filter(None, (f"there is no folder {missing}" if missing != path else "", meant)))
