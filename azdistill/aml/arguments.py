"""``program_arguments`` of a parallel task: words for its script, where a command is a text for a shell.

Azure ML's driver hands them to the script; here bash takes them apart, as it does a command. What has another meaning
between words than between commands is seen to here: line breaks are blanks, and what would end the words, or run
something of its own, is found for the checks.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from azdistill.aml.bash import UNQUOTED, read
from azdistill.aml.expressions import Optional, Reference, Text, parse

#: A line break, and the backslashes before it: an odd number of them escapes it.
_BREAK = re.compile(r"(\\*)\n")
_ENDING = re.compile(r"[;&|<>()#`]")
_MARKED = Reference(("arguments",))


def on_one_line(text: str) -> str:
    """``text`` with blanks for the line breaks between its words; those in quotes are part of an argument."""
    where, _ = _read(text.replace("\n", " "))

    def blank(found: re.Match[str]) -> str:
        between = len(found[1]) % 2 == 0 and where.get(found.end() - 1, UNQUOTED) == UNQUOTED
        return found[1] + " " if between else found[0]

    return _BREAK.sub(blank, text)


def no_argument(text: str) -> tuple[int, str] | None:
    """Where ``text`` (on one line) has what is no part of a word, and what that is; None where all of it is words."""
    where, reasons = _read(text, {found.start() for found in _ENDING.finditer(text)})
    if reasons:
        place = min(reasons)
        return place, reasons[place]
    return None if where[len(text)] == UNQUOTED else (len(text), "a quote that is not closed")


def _read(text: str, marked: Collection[int] = ()) -> tuple[dict[int, str], dict[int, str]]:
    """By place in ``text``: where each of its characters stands, and what bash takes ``marked`` ones for."""
    # Something stands before them: no word of theirs is the name of a command.
    pieces: list[tuple[str, Reference | None]] = [("- ", None)]
    places = [-1]
    for part in parse(text):
        for inner in part.parts if isinstance(part, Optional) else (part,):
            for place, char in enumerate(inner.text if isinstance(inner, Text) else "x", inner.position):
                pieces.append((char, _MARKED if place in marked else None))
                places.append(place)
    contexts, reasons = read([*pieces, ("x", None)])
    places.append(len(text))
    return {places[n]: mode for n, mode in contexts.items()}, {places[n]: why for n, why in reasons.items()}
