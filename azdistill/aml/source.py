"""A YAML file as read: its data, and the line and column of every key and value in it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partialmethod
from pathlib import Path
from typing import Any

from azdistill.errors import Problem, Severity
from azdistill.terminal import harmless

Key = str | int
Steps = tuple[Key, ...]
#: Characters of a message; a list of what is known is among the longest.
_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key or value stands: line and column from 1; ``start`` and ``end`` are offsets in the file's text."""

    line: int
    column: int
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """One YAML document. ``file`` is what messages show; ``base`` is the folder that relative paths start from."""

    file: str
    base: Path
    data: Any
    text: str = ""
    values: Mapping[Steps, Place] = field(default_factory=dict)
    keys: Mapping[Steps, Place] = field(default_factory=dict)
    aliases: Mapping[Steps, Steps] = field(default_factory=dict)

    @property
    def path(self) -> Path | None:
        """The file's absolute path; None for data made in memory."""
        return self.base / Path(self.file).name if self.text else None

    def place(self, steps: Steps, *, key: bool = False) -> Place | None:
        """The place of the value (or key) at ``steps``, else of the nearest thing around it; None without text."""
        table = self.keys if key else self.values
        for length in range(len(steps), -1, -1):
            prefix = steps[:length]
            if prefix in self.aliases and length < len(steps):
                return self.place(self.aliases[prefix] + steps[length:], key=key)
            if position := table.get(prefix) or self.values.get(prefix):
                return position
            if prefix in self.aliases:
                return self.place(self.aliases[prefix], key=key)
            table = self.keys
        return None

    def within(self, steps: Steps, needle: str, occurrence: int = 0) -> Place | None:
        """The place of ``needle``'s given occurrence inside the value at ``steps`` as it is written in the file."""
        place = self.place(steps)
        if place is None or not needle:
            return place
        at = place.start - 1
        for _ in range(occurrence + 1):
            at = self.text.find(needle, at + 1, place.end)
            if at < 0:
                return place
        line = self.text.count("\n", 0, at) + 1
        return Place(line, at - self.text.rfind("\n", 0, at), at, at + len(needle))


@dataclass(frozen=True, slots=True)
class Where:
    """A value in a source: what models carry so that a problem can name its place."""

    source: Source
    steps: Steps = ()

    def __truediv__(self, key: Key) -> Where:
        return Where(self.source, (*self.steps, key))

    @property
    def value(self) -> Any:
        """The data at this place; None where there is none."""
        data = self.source.data
        for step in self.steps:
            try:
                data = data[step]
            except (KeyError, IndexError, TypeError):
                return None
        return data

    @property
    def mapping(self) -> Mapping[str, Any]:
        """The mapping at this place; an empty one where there is none."""
        return self.value if isinstance(self.value, dict) else {}

    def texts(self) -> Iterator[tuple[str, Where]]:
        """Every text at this place and below it, in mappings and lists, each with its own place."""
        value = self.value
        if isinstance(value, str):
            yield value, self
        elif isinstance(value, dict):
            for key in value:
                yield from (self / key).texts()
        elif isinstance(value, list):
            for number in range(len(value)):
                yield from (self / number).texts()

    def resolve(self, path: str) -> Path:
        """``path``, relative to the file's folder unless it is absolute."""
        # Unlike Path.resolve, realpath bears links that lead in a ring.
        return Path(os.path.realpath(self.source.base / path))


def _shown(text: str) -> str:
    """``text`` without what would disturb a terminal, and no longer than somebody reads."""
    text = harmless(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 100]} ... {text[-95:]}"


@dataclass(slots=True)
class Report:
    """Collects problems, so that all of them are found at once."""

    problems: list[Problem] = field(default_factory=list)

    def extend(self, problems: Iterable[Problem]) -> None:
        """Note problems that were found elsewhere."""
        self.problems.extend(problems)

    def note(
        self,
        code: str,
        message: str,
        where: Where,
        *,
        severity: Severity,
        hint: str = "",
        key: bool = False,
        needle: str = "",
        occurrence: int = 0,
    ) -> None:
        """Note a problem at a value, at its ``key``, or at a ``needle`` inside the value's text."""
        source, steps = where.source, where.steps
        place = source.within(steps, needle, occurrence) if needle else source.place(steps, key=key)
        line, column = (place.line, place.column) if place else (0, 0)
        problem = Problem(code, _shown(message), source.file, line, column, severity, _shown(hint))
        if problem not in self.problems:
            self.problems.append(problem)

    error = partialmethod(note, severity="error")
    warning = partialmethod(note, severity="warning")
