"""Where each setting of a recipe was written: in the file, or on the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from azdistill.aml.source import Place, Source, Steps, Where
from azdistill.errors import Problem

#: What stands for a file in problems of settings that were given on the command line.
COMMAND_LINE = "--set"


@dataclass(frozen=True)
class Origin:
    """``source`` as it was read, and the settings of it that are ``overridden`` on the command line."""

    source: Source
    overridden: frozenset[Steps] = frozenset()

    def problem(self, code: str, message: str, steps: Steps = (), *, key: bool = False, **details: Any) -> Problem:
        """A problem at the setting ``steps``, or at the nearest thing around it that has a place."""
        if any(steps[: len(path)] == path for path in self.overridden):
            return Problem(code, message, COMMAND_LINE, **details)
        if steps and isinstance(Where(self.source, steps[:-1]).value, str):
            # A section given as plain text: what is wrong with its model is wrong with the text.
            steps = steps[:-1]
        place = self.source.place(steps, key=key)
        line, column = (place.line, place.column) if place else (0, 0)
        return Problem(code, message, self.source.file, line, column, **details)

    def moved(self, moves: Mapping[Steps, Steps]) -> Origin:
        """For a tree whose settings come from elsewhere in the file: new path -> the path it was written at."""
        values: dict[Steps, Place] = {(): Place(1, 1)}
        keys: dict[Steps, Place] = {}
        for new, old in moves.items():
            if (value := self.source.place(old)) and (name := self.source.place(old, key=True)):
                values[new], keys[new] = value, name
        return replace(self, source=replace(self.source, values=values, keys=keys))
