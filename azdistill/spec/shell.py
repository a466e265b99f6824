"""Where in a command a value stands for bash, and whether it would stay there.

A command is a template; values are put in as text, as Azure ML does, and ``/bin/bash -c`` reads the result. A value
*breaks out* when bash would take some of it for more than data: it closes the quotes around it, starts an expansion or
a comment, separates commands, redirects, or escapes what follows. Between quotes that is exact: a value that does not
break out arrives unchanged. Outside quotes a value may still be several words, hold pairs of quotes and escapes of its
own, and be a pattern that matches file names; none of these can run or change anything else.

The rendered command is read once, left to right, with the owner of each character (the template, or one value) known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from azdistill.errors import UserError
from azdistill.spec.expressions import Lookup, Part, Reference, parse, pieces

Pieces = Sequence[tuple[str, Reference | None]]

#: Where a value can stand.
UNQUOTED, SINGLE, DOUBLE, COMMENT, HEREDOC = "unquoted", "single-quoted", "double-quoted", "comment", "here-document"

_OPERATORS = frozenset(";&|<>()\n`")
_BLANK = frozenset(" \t\n;&|<>()`")
_SPECIAL_PARAMETERS = "_@*#?-$!{(["
_ESCAPED_IN_DOUBLE = '$`"\\\n'
_NAMES = {"\n": "a line break", "`": "a backtick", "#": "'#', which starts a comment", "$": "'$', which expands"}


@dataclass(frozen=True, slots=True)
class Breakout:
    """A value that would not stay data, and what in it is the reason."""

    reference: Reference
    context: str
    reason: str


@dataclass(slots=True)
class _Frame:
    """An open quote, substitution or group: what it is, who opened it, what closes it."""

    mode: str
    owner: int
    closer: str = ""


class _Reader:
    """Reads a rendered command. After :meth:`read`, ``contexts`` and ``reasons`` are keyed by the number of a piece."""

    def __init__(self, parts: Pieces) -> None:
        self.parts = parts
        self.text = "".join(text for text, _ in parts)
        self.owners: list[int] = []
        self.starts: dict[int, list[int]] = {}
        for number, (text, origin) in enumerate(parts):
            self.starts.setdefault(len(self.owners), []).append(number)
            self.owners += [number if origin else -1] * len(text)
        self.frames = [_Frame(UNQUOTED, -1)]
        self.heredocs: list[tuple[str, bool, bool]] = []
        self.contexts: dict[int, str] = {}
        self.reasons: dict[int, str] = {}
        self.at = 0
        self.escaped = -1

    def read(self) -> None:
        self._unpassable()
        while self.at < len(self.text):
            self._note()
            self._step()
        self._note()
        for frame in self.frames:
            self._blame(frame.owner, f"a quote ({frame.closer}) that it does not close")

    def _unpassable(self) -> None:
        for number, (text, origin) in enumerate(self.parts):
            if origin and "\0" in text:
                self._blame(number, "a NUL character")
            elif origin and any("\ud800" <= char <= "\udfff" for char in text):
                self._blame(number, "half a character (a lone surrogate)")

    def _note(self, context: str = "") -> None:
        for number in self.starts.get(self.at, ()):
            self.contexts.setdefault(number, context or self.frames[-1].mode)

    def _blame(self, owner: int, reason: str) -> None:
        if owner >= 0:
            self.reasons.setdefault(owner, reason)

    def _owner(self, at: int) -> int:
        return self.owners[at] if at < len(self.owners) else -1

    def _next(self, ahead: int = 1) -> str:
        return self.text[self.at + ahead : self.at + ahead + 1]

    def _step(self) -> None:
        mode, char = self.frames[-1].mode, self.text[self.at]
        if mode == SINGLE:
            self._single(char)
        elif mode == COMMENT:
            self._comment(char)
        elif char == "\\":
            self._backslash(mode)
        elif char == "$" and self._expands(mode):
            self._dollar(mode)
        elif char == "`":
            self._backtick()
        elif mode == DOUBLE:
            self._double(char)
        else:
            self._plain(char)

    def _single(self, char: str) -> None:
        frame = self.frames[-1]
        if frame.closer == "$'" and char == "\\":
            self._blame(self._owner(self.at), "'\\', which escapes")
            self.at += 1
        elif char == "'":
            self._close()
        self.at += 1

    def _comment(self, char: str) -> None:
        if char == "\n":
            self._blame(self._owner(self.at), _NAMES["\n"])
            self.frames.pop()
            return
        self.at += 1

    def _backslash(self, mode: str) -> None:
        follower, owner = self._next(), self._owner(self.at)
        own = bool(follower) and self._owner(self.at + 1) == owner
        if mode == DOUBLE and follower and follower not in _ESCAPED_IN_DOUBLE:
            self.at += 1
        else:
            kept = own and follower != "\n" and (mode != DOUBLE or self.frames[-1].owner == owner)
            if not kept:
                self._blame(owner, "'\\', which escapes what follows")
            self.at += 1
            self._note()
            self.escaped = self.at
            self.at += 1

    def _expands(self, mode: str) -> bool:
        follower = self._next()
        quotes = "'\"" if mode == UNQUOTED else ""
        return bool(follower) and (
            (follower.isascii() and follower.isalnum()) or follower in _SPECIAL_PARAMETERS + quotes
        )

    def _dollar(self, mode: str) -> None:
        follower, owner, after = self._next(), self._owner(self.at), self._owner(self.at + 1)
        self._blame(owner, _NAMES["$"])
        if owner != after and not follower.isalnum():
            self._blame(after, f"'{follower}' after a '$'")
        if follower == "'":
            self._open(SINGLE, "$'", 2)
        elif follower in "({[":
            self._open(UNQUOTED, {"(": ")", "{": "}", "[": "]"}[follower], 2)
        else:
            self.at += 1 if follower == '"' else 2

    def _backtick(self) -> None:
        self._blame(self._owner(self.at), _NAMES["`"])
        if any(frame.closer == "`" for frame in self.frames):
            while self.frames.pop().closer != "`":
                pass
        else:
            self.frames.append(_Frame(UNQUOTED, -1, "`"))
        self.at += 1

    def _double(self, char: str) -> None:
        if char == '"':
            self._close()
        self.at += 1

    def _open(self, mode: str, closer: str, length: int) -> None:
        self.frames.append(_Frame(mode, self._owner(self.at), closer))
        self.at += length

    def _close(self) -> None:
        opener, closer = self.frames.pop().owner, self._owner(self.at)
        if opener != closer:
            self._blame(closer, "a quote that closes the one around it")
            self._blame(opener, "a quote that it does not close")

    def _plain(self, char: str) -> None:
        frame, owner = self.frames[-1], self._owner(self.at)
        if char == frame.closer:
            self._blame(owner, f"'{char}', which closes what is around it")
            self.frames.pop()
            self.at += 1
        elif char in "'\"":
            self._open(SINGLE if char == "'" else DOUBLE, char, 1)
        elif char == "#" and self._starts_word():
            self._blame(owner, _NAMES["#"])
            self.frames.append(_Frame(COMMENT, -1))
        elif char in _OPERATORS:
            self._operator(char, owner)
        else:
            self.at += 1

    def _starts_word(self) -> bool:
        after_blank = self.at == 0 or (self.text[self.at - 1] in _BLANK and self.escaped != self.at - 1)
        return after_blank and self.frames[-1].closer not in ("}", "]")

    def _operator(self, char: str, owner: int) -> None:
        self._blame(owner, _NAMES.get(char, f"'{char}'"))
        if char == "(":
            self._open(UNQUOTED, ")", 1)
        elif self.text.startswith("<<<", self.at):
            self.at += 3
        elif self.text.startswith("<<", self.at) and owner < 0 and not self._in_arithmetic():
            self._heredoc()
        else:
            self.at += 1
            if char == "\n" and self.heredocs:
                self._bodies()

    def _in_arithmetic(self) -> bool:
        return [frame.closer for frame in self.frames[-2:]] == [")", ")"]

    def _heredoc(self) -> None:
        self.at += 2
        tabs = self._next(0) == "-"
        self.at += tabs
        while self._next(0) in (" ", "\t"):
            self.at += 1
        start = self.at
        while self._next(0) and self._next(0) not in _BLANK:
            self._note()
            self.at += 1
        word = self.text[start : self.at]
        bare = word.replace("'", "").replace('"', "").replace("\\", "")
        self.heredocs.append((bare, bare != word, tabs))

    def _bodies(self) -> None:
        for delimiter, quoted, tabs in self.heredocs:
            while self.at < len(self.text):
                end = self.text.find("\n", self.at)
                end = len(self.text) if end < 0 else end
                line = self.text[self.at : end]
                if (line.lstrip("\t") if tabs else line) == delimiter:
                    for at in range(self.at, end):
                        self._blame(self._owner(at), "the word that ends the text around it")
                    self.at = min(end + 1, len(self.text))
                    break
                self._body_line(end, quoted)
        self.heredocs.clear()

    def _body_line(self, end: int, quoted: bool) -> None:
        while self.at <= end and self.at < len(self.text):
            self._note(HEREDOC)
            char, owner = self.text[self.at], self._owner(self.at)
            if not quoted and (char == "`" or (char == "$" and self._expands(DOUBLE))):
                self._blame(owner, _NAMES[char])
            elif not quoted and char == "\\" and self._next() in ("$", "`", "\\", "\n"):
                self._blame(owner, "'\\', which escapes what follows")
                self.at += 1
            self.at += 1


def breakouts(rendered: Pieces) -> list[Breakout]:
    """The values in a rendered command (see :func:`expressions.pieces`) that would break out, in order."""
    reader = _Reader(rendered)
    reader.read()
    found = []
    for number, reason in sorted(reader.reasons.items()):
        reference = rendered[number][1]
        assert reference is not None
        found.append(Breakout(reference, reader.contexts.get(number, UNQUOTED), reason))
    return found


def contexts(parts: tuple[Part, ...]) -> list[tuple[Reference, str]]:
    """Each reference of a command with the quoting that it stands in; optional blocks count as kept."""
    rendered = pieces(parts, lambda reference: "x")
    reader = _Reader(rendered)
    reader.read()
    return [(origin, reader.contexts[number]) for number, (_, origin) in enumerate(rendered) if origin]


def would_break_out(parts: tuple[Part, ...], reference: Reference, value: str) -> Breakout | None:
    """Whether ``value`` would break out where ``reference`` stands, every other value being harmless."""
    rendered = pieces(parts, lambda other: value if other.path == reference.path else "x")
    return next((found for found in breakouts(rendered) if found.reference.path == reference.path), None)


def render_command(command: str, lookup: Lookup) -> str:
    """The text for ``/bin/bash -c``. Raises :class:`UserError` AZD156 for a value that would break out."""
    rendered = pieces(parse(command), lookup)
    for found in breakouts(rendered):
        raise UserError(
            f"the value of {found.reference} holds {found.reason}: {found.context} in the command, it would break out",
            code="AZD156",
            hint=hint(found),
        )
    return "".join(text for text, _ in rendered)


def hint(found: Breakout) -> str:
    """What to do about a value that breaks out."""
    if found.context == UNQUOTED:
        return f"write '{found.reference}' between single quotes in the command"
    return "pass free text in a file (uri_file), not on the command line"
