"""The expressions of Azure ML YAML: ``${{ path.to.value }}`` and, in commands, ``$[[ optional block ]]``.

A text is parsed once, from left to right, into parts; :func:`render` puts values in their places. What a value holds is
never parsed, so a value cannot smuggle in an expression of its own. Text that only looks like an expression (no
closing braces, more than one word inside) stays text, as on Azure; :func:`unclosed` finds it for the checks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

_REFERENCE = re.compile(r"\$\{\{\s*([^{}\s]+)\s*\}\}")
_NEARLY = re.compile(r"\$\{\{([^{}$]*)\}{0,2}")
_OPENING = re.compile(r"\$\{\{|\$\[\[")


@dataclass(frozen=True, slots=True)
class Text:
    """Characters that stay as they are. ``position`` is the offset in the whole text."""

    text: str
    position: int = 0


@dataclass(frozen=True, slots=True)
class Reference:
    """``${{a.b.c}}``: ``path`` is ``("a", "b", "c")``; ``raw`` is what was written."""

    path: tuple[str, ...]
    position: int = 0
    raw: str = ""

    @property
    def name(self) -> str:
        """What follows the first word: ``x`` of ``inputs.x``, ``group.x`` of ``inputs.group.x``."""
        return ".".join(self.path[1:])

    def __str__(self) -> str:
        return "${{" + ".".join(self.path) + "}}"


@dataclass(frozen=True, slots=True)
class Optional:
    """``$[[ ... ]]``: kept when every input that it names has a value, dropped otherwise."""

    parts: tuple[Text | Reference, ...]
    position: int = 0


@dataclass(frozen=True, slots=True)
class ServiceWord:
    """An expression that the service itself replaces, in a job's inputs or in the path of an output.

    What it comes to is a name or a moment, plain characters: it cannot break out of a command.
    """

    path: str
    stands_for: str
    in_inputs: bool = True
    in_outputs: bool = True

    def __str__(self) -> str:
        return "${{" + self.path + "}}"


NAME = ServiceWord("name", "the job's name")
TRIGGER_TIME = ServiceWord("creation_context.trigger_time", "the moment at which a schedule fires")
DEFAULT_DATASTORE = ServiceWord("default_datastore", "the default datastore's name")
OUTPUT_NAME = ServiceWord("output_name", "the output's name", in_inputs=False)
#: Every expression of the service's own, by its path.
SERVICE_WORDS = {word.path: word for word in (NAME, TRIGGER_TIME, DEFAULT_DATASTORE, OUTPUT_NAME)}

Part = Text | Reference | Optional
Lookup = Callable[[Reference], str | None]


def parse(text: str) -> tuple[Part, ...]:
    """The parts of ``text``, in order; adjacent characters form one :class:`Text`."""
    parts: list[Part] = []
    end = 0
    while (opening := text.find("$[[", end)) >= 0 and (closing := text.find("]]", opening)) >= 0:
        parts += _flat(text[end:opening], end)
        parts.append(Optional(tuple(_flat(text[opening + 3 : closing], opening + 3)), opening))
        end = closing + 2
    return (*parts, *_flat(text[end:], end))


def _flat(text: str, offset: int) -> Iterator[Text | Reference]:
    end = 0
    for match in _REFERENCE.finditer(text):
        if match.start() > end:
            yield Text(text[end : match.start()], offset + end)
        yield Reference(tuple(match[1].split(".")), offset + match.start(), match[0])
        end = match.end()
    if end < len(text):
        yield Text(text[end:], offset + end)


def references(parts: tuple[Part, ...]) -> Iterator[tuple[Reference, bool]]:
    """Each reference, and whether it stands in an optional block."""
    for part in parts:
        yield from ((piece, part is not piece) for piece in _within(part) if isinstance(piece, Reference))


def references_in(text: str) -> Iterator[Reference]:
    """Each reference of a text that has no optional blocks, such as a value or a path."""
    return (part for part in _flat(text, 0) if isinstance(part, Reference))


def spaced_or_unclosed(text: str) -> Iterator[tuple[str, Reference]]:
    """What begins as an expression and stays text, for blanks inside or braces that lack: as written, and as meant."""
    for match in _NEARLY.finditer(text):
        inside = re.sub(r"\s", "", match[1])
        if inside and not _REFERENCE.fullmatch(match[0]):
            yield match[0], Reference(tuple(inside.split(".")), match.start(), match[0])


def fill(text: str, words: Mapping[ServiceWord, str]) -> str:
    """The text with the service's ``words`` replaced by their values; everything else stays as it was written."""
    values = {word.path: value for word, value in words.items()}
    return "".join(
        part.text if isinstance(part, Text) else values.get(".".join(part.path), part.raw) for part in _flat(text, 0)
    )


def sole_reference(text: object) -> Reference | None:
    """The reference that ``text`` consists of, or None where it holds anything else."""
    parts = parse(text.strip()) if isinstance(text, str) else ()
    return parts[0] if len(parts) == 1 and isinstance(parts[0], Reference) else None


def unclosed(parts: tuple[Part, ...]) -> Iterator[int]:
    """Offsets of ``${{`` and ``$[[`` that open nothing: not closed, or not a path inside."""
    for text in [piece for part in parts for piece in _within(part)]:
        if isinstance(text, Text):
            yield from (text.position + match.start() for match in _OPENING.finditer(text.text))


def pieces(parts: tuple[Part, ...], lookup: Lookup) -> list[tuple[str, Reference | None]]:
    """The rendered text in pieces, each with the reference that it came from (None for literal text).

    ``lookup`` gives a reference's text, or None where it has no value: an optional block that holds such a reference
    is dropped, and outside a block the reference becomes nothing. ``lookup`` raises for an unknown reference.
    """
    rendered: list[tuple[str, Reference | None]] = []
    for part in parts:
        block = [(piece.text, None) if isinstance(piece, Text) else (lookup(piece), piece) for piece in _within(part)]
        if not isinstance(part, Optional) or all(text is not None for text, _ in block):
            rendered += [(text or "", origin) for text, origin in block]
    return rendered


def _within(part: Part) -> tuple[Text | Reference, ...]:
    return part.parts if isinstance(part, Optional) else (part,)


def render(parts: tuple[Part, ...], lookup: Lookup) -> str:
    """The text with every reference replaced by what ``lookup`` gives for it (see :func:`pieces`)."""
    return "".join(text for text, _ in pieces(parts, lookup))
