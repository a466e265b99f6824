"""Reads a command as bash does, as far as it matters for what a value in it can do (see ``shell.py``).

The rendered command is read once, left to right, with the owner of each character (the template, or one value) known.
What bash takes out and reads anew is read by a reader of its own: what stands between backticks, less a layer of
escapes, and the bodies of here-documents, less continued lines. Where it cannot be told how bash goes on (a
here-document that is open where its substitution ends), values are held to :data:`NESTED` from there on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from azdistill.aml.bash_frames import Frame
from azdistill.aml.expressions import Reference

Pieces = Sequence[tuple[str, Reference | None]]

#: Where a value can stand.
UNQUOTED, SINGLE, DOUBLE, COMMENT, HEREDOC = "unquoted", "single-quoted", "double-quoted", "comment", "here-document"
#: In ``"${...}"`` and in arithmetic, where quotes are not what they are elsewhere.
NESTED = "nested in an expansion"

_OPERATORS = frozenset(";&|<>()\n")
_BLANK = frozenset(" \t\n;&|<>()`")
_ACTIVE = frozenset("$`\"'\\;&|<>(){}[]\n")
_SPECIAL_PARAMETERS = "_@*#?-$!{(["
_ESCAPED = {DOUBLE: '$`"\\\n', HEREDOC: "$`\\\n"}
_NAMES = {"\n": "a line break", "`": "a backtick", "#": "'#', which starts a comment", "$": "'$', which expands"}
_CLOSERS = {"(": ")", "{": "}", "[": "]"}
_CASE = re.compile(r"case(?=[ \t])")
_ESAC = re.compile(r"esac(?=[\s;&|<>()]|\Z)")
#: How often what is read anew may hold what is read anew.
_DEEPEST = 40


@dataclass(frozen=True, slots=True)
class _Document:
    """A here-document whose body is still to come: how its last line reads, and how many substitutions are around."""

    delimiter: str
    quoted: bool
    tabs: bool
    depth: int


class _Findings:
    """What all readers of one command know: whose each character is, and what was found out, by number of a piece."""

    def __init__(self, parts: Pieces) -> None:
        self.owners: list[int] = []
        self.starts: list[tuple[int, int]] = []
        for number, (text, origin) in enumerate(parts):
            self.starts.append((len(self.owners), number))
            self.owners += [number if origin else -1] * len(text)
        self.starts.reverse()
        self.contexts: dict[int, str] = {}
        self.reasons: dict[int, str] = {}
        self.lost = False

    def note(self, place: int, context: str) -> None:
        """Every piece that starts up to ``place``, and was not met before, stands in ``context``."""
        while self.starts and self.starts[-1][0] <= place:
            self.contexts[self.starts.pop()[1]] = context

    def blame(self, owner: int, reason: str) -> None:
        """The value of this number breaks out."""
        if owner >= 0:
            self.reasons.setdefault(owner, reason)


def read(parts: Pieces) -> tuple[dict[int, str], dict[int, str]]:
    """By number of a piece: where each stands, and why values break out that do."""
    found = _Findings(parts)
    for number, (text, origin) in enumerate(parts):
        if origin and "\0" in text:
            found.blame(number, "a NUL character")
        elif origin and any("\ud800" <= char <= "\udfff" for char in text):
            found.blame(number, "half a character (a lone surrogate)")
    text = "".join(text for text, _ in parts)
    _Reader(found, text, range(len(text)), Frame(UNQUOTED, -1)).read(len(text))
    return found.contexts, found.reasons


class _Reader:
    """Reads ``text``, whose characters stand at ``places`` of the command, as what is in the frame ``around``."""

    def __init__(self, found: _Findings, text: str, places: Sequence[int], around: Frame, depth: int = 0) -> None:
        self.found, self.text, self.places, self.depth = found, text, places, depth
        self.frames = [around]
        self.documents: list[_Document] = []
        self.at = 0
        #: The last character that bash reads as part of a word.
        self.escaped = -1

    def read(self, end: int) -> None:
        """All of it; pieces that start up to the place ``end`` of the command are in it."""
        while self.at < len(self.text):
            self._note()
            start, frame = self.at, self.frames[-1]
            self._step(frame)
            if frame.nested or self.found.lost:
                for at in range(start, min(self.at, start + 2)):
                    self._bland(at)
        self.found.note(end, self._context())
        for frame in self.frames:
            self._blame(frame.owner, f"a quote ({frame.closer}) that it does not close")

    def _bland(self, at: int) -> None:
        owner = self._owner(at)
        if owner >= 0 and self.text[at] in _ACTIVE:
            self.found.contexts[owner] = NESTED
            self._blame(owner, _NAMES.get(self.text[at], f"'{self.text[at]}'"))

    def _note(self) -> None:
        self.found.note(self.places[self.at], self._context())

    def _context(self) -> str:
        return NESTED if self.frames[-1].nested or self.found.lost else self.frames[-1].mode

    def _blame(self, owner: int, reason: str) -> None:
        self.found.blame(owner, reason)

    def _owner(self, at: int) -> int:
        return self.found.owners[self.places[at]] if at < len(self.places) else -1

    def _next(self, ahead: int = 1) -> str:
        return self.text[self.at + ahead : self.at + ahead + 1]

    def _step(self, frame: Frame) -> None:
        mode, char = frame.mode, self.text[self.at]
        if mode == SINGLE:
            self._single(char)
        elif mode == COMMENT:
            self._comment(char)
        elif char == "\\":
            self._backslash(mode)
        elif char == "$" and self._expands(mode):
            self._dollar(frame)
        elif char == "`":
            self._backtick(frame)
        elif mode == UNQUOTED:
            self._plain(char)
        elif char == frame.closer:
            self._close()
            self.at += 1
        else:
            self.at += 1

    def _single(self, char: str) -> None:
        if self.frames[-1].closer == "$'" and char == "\\":
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
        if mode != UNQUOTED and follower and follower not in _ESCAPED[mode]:
            self.at += 1
        else:
            kept = own and follower != "\n" and (mode == UNQUOTED or self.frames[-1].owner == owner)
            if not kept:
                self._blame(owner, "'\\', which escapes what follows")
            self.at += 1
            if follower:
                self._note()
            self.escaped = self.at
            self.at += 1
            if follower == "\n" and self.frames[-1].word == self.at - 2:
                self.frames[-1].word = self.at

    def _expands(self, mode: str) -> bool:
        follower = self._next()
        quotes = "'\"" if mode == UNQUOTED else ""
        return bool(follower) and (
            (follower.isascii() and follower.isalnum()) or follower in _SPECIAL_PARAMETERS + quotes
        )

    def _dollar(self, frame: Frame) -> None:
        follower, owner, after = self._next(), self._owner(self.at), self._owner(self.at + 1)
        self._blame(owner, _NAMES["$"])
        if owner != after and not follower.isalnum():
            self._blame(after, f"'{follower}' after a '$'")
        if follower == "'":
            self._open(SINGLE, "$'", 2)
        elif follower == "(" and self._next(2) == "(":
            self._arithmetic(3)
        elif follower == "(":
            self._substitution(2)
        elif follower in _CLOSERS:
            nested = frame.nested or follower == "[" or frame.mode != UNQUOTED
            self._open(UNQUOTED, _CLOSERS[follower], 2, commands=False, nested=nested)
        else:
            self.at += 1 if follower == '"' else 2

    def _backtick(self, frame: Frame) -> None:
        self._blame(self._owner(self.at), _NAMES["`"])
        escaped = "$`\\" + ('"' if frame.mode == DOUBLE or frame.nested else "")
        inner, at = [], self.at + 1
        while at < len(self.text) and self.text[at] != "`":
            if self.text[at] == "\\":
                if self.text[at + 1 : at + 2] not in escaped:
                    inner.append(at)
                else:
                    self._blame(self._owner(at), "'\\', which escapes what follows")
                at += 1
            inner.append(at)
            at += 1
        self._blame(self._owner(at), _NAMES["`"])
        self._anew(
            [each for each in inner if each < len(self.text)], at, Frame(UNQUOTED, -1, anew=True, nested=frame.nested)
        )
        self.escaped, self.at = at, at + 1

    def _anew(self, inner: Sequence[int], end: int, around: Frame) -> None:
        if self.depth == _DEEPEST:
            self.found.lost = True
            for at in inner:
                self._bland(at)
            return
        text, places = "".join(self.text[at] for at in inner), [self.places[at] for at in inner]
        _Reader(self.found, text, places, around, self.depth + 1).read(self._place(end))

    def _place(self, at: int) -> int:
        return self.places[at] if at < len(self.places) else self.places[-1] + 1

    def _open(self, mode: str, closer: str, length: int, *, commands: bool = True, nested: bool = False) -> Frame:
        nested = nested or self.frames[-1].nested
        self.frames.append(Frame(mode, self._owner(self.at), closer, commands, nested))
        self.at += length
        self.frames[-1].word = self.at
        return self.frames[-1]

    def _substitution(self, length: int, *, nested: bool = False) -> None:
        frame = self._open(UNQUOTED, ")", length)
        frame.anew, frame.nested = True, nested

    def _arithmetic(self, length: int) -> None:
        for taken in (length - 1, 1):
            self._blame(self._owner(self.at + taken - 1), "'('")
            self._open(UNQUOTED, ")", taken, commands=False, nested=True)
        self.frames[-1].half = True

    def _close(self) -> None:
        opener, closer = self.frames.pop().owner, self._owner(self.at)
        if opener != closer:
            self._blame(closer, "a quote that closes the one around it")
            self._blame(opener, "a quote that it does not close")

    def _plain(self, char: str) -> None:
        frame, owner = self.frames[-1], self._owner(self.at)
        if char == frame.closer and not frame.cases:
            self._leave(char, owner)
        elif char in "'\"":
            self._open(SINGLE if char == "'" else DOUBLE, char, 1)
        elif char == "#" and frame.commands and self._starts_word():
            self._blame(owner, _NAMES["#"])
            self.frames.append(Frame(COMMENT, -1))
        elif char == "[" and self._is_subscript(frame):
            self._open(UNQUOTED, "]", 1, commands=False, nested=True)
        elif char == ":" and frame.is_offset(self.text, self.at):
            frame.nested = True
            self.at += 1
        elif char in _OPERATORS:
            self._operator(char, owner, frame)
        else:
            self._reserved(frame, owner)
            if char in " \t" and frame.commands and not frame.words:
                self._blank(owner, frame)
            self.at += 1

    def _blank(self, owner: int, frame: Frame) -> None:
        if self._end_word(frame) and owner >= 0 and self._parts_words():
            self._blame(owner, "a blank, after which a command begins")
        frame.word = self.at + 1

    def _end_word(self, frame: Frame) -> bool:
        own = all(self._owner(at) < 0 for at in range(frame.word, self.at))
        return frame.end_word(self.text, self.at, own=own)

    def _parts_words(self) -> bool:
        """Whether there are two words, before the blank here and after it, only because of blanks in values."""
        at, parted = self.at, False
        while (gap := self.text[at : at + 1]) and gap in " \t":
            parted, at = parted or self._owner(at) < 0, at + 1
        return not parted and at < len(self.text) and self.text[at] not in _OPERATORS

    def _leave(self, char: str, owner: int) -> None:
        self._blame(owner, f"'{char}', which closes what is around it")
        depth, frame = self._depth(), self.frames.pop()
        if (frame.half and self._next() != ")") or any(each.depth > self._depth() for each in self.documents):
            self.found.lost = True
        around = self.frames[-1]
        empty = frame.words and not self.text[frame.word : self.at].strip(" \t")
        defines = empty and around.names_function(self.text, frame.word - 1)
        if (frame.anew or not frame.commands or frame.words) and not defines:
            # The word around it goes on; after the group of a subshell, or a function's name, a command begins.
            self.escaped = self.at
        else:
            around.begin(self.at + 1)
        self.documents = [each for each in self.documents if each.depth < depth or not frame.anew]
        self.at += 1

    def _depth(self) -> int:
        return sum(frame.anew for frame in self.frames)

    def _starts_word(self) -> bool:
        return self.at == 0 or (self.text[self.at - 1] in _BLANK and self.escaped != self.at - 1)

    def _is_subscript(self, frame: Frame) -> bool:
        """Whether a '[' opens a subscript: in another, in arithmetic, of an array's element, or of a variable."""
        if frame.closer == "]":
            return True
        return self._starts_word() if frame.words else frame.is_element(self.text, self.at)

    def _reserved(self, frame: Frame, owner: int) -> None:
        """Count the ``case`` that are open: the ``)`` after a pattern closes nothing."""
        if not frame.commands or frame.words or not self._starts_word():
            return
        if _CASE.match(self.text, self.at) and frame.starts_command(self.at):
            self._blame(owner, "'case', where a command begins")
            frame.cases += 1
        elif frame.cases and _ESAC.match(self.text, self.at) and frame.starts_command(self.at):
            self._blame(owner, "'esac', where a command begins")
            frame.cases -= 1

    def _operator(self, char: str, owner: int, frame: Frame) -> None:
        self._blame(owner, _NAMES.get(char, f"'{char}'"))
        if char == "(":
            self._bracket(frame)
        elif char in "<>" and self._next() != "(":
            self._redirection(owner, frame)
        else:
            joined = self._joins_redirection(char)
            if joined:
                self._end_word(frame)
            self.at += 1
            if joined:
                frame.word = self.at
            elif char in ";&|\n)" and not frame.words:
                frame.begin(self.at)
            if frame.commands and char == "\n" and self.documents:
                self._bodies()
                frame.word = self.at

    def _joins_redirection(self, char: str) -> bool:
        """Whether a '&' or '|' parts no commands: in '>&', '<&', '>|' or '&>'."""
        before = self.text[self.at - 1 : self.at] if self.escaped != self.at - 1 else ""
        return (char in "&|" and before in ("<", ">")) or (char == "&" and self._next() == ">")

    def _redirection(self, owner: int, frame: Frame) -> None:
        frame.redirect(self.text, self.at)
        if self.text.startswith("<<<", self.at):
            self.at += 3
        elif self.text.startswith("<<", self.at) and owner < 0 and frame.commands:
            self._heredoc()
            frame.redirects = False
        else:
            self.at += 1
        frame.word = self.at

    def _bracket(self, frame: Frame) -> None:
        before = self.text[self.at - 1 : self.at] if self.escaped != self.at - 1 else ""
        if before and before in "<>":
            # In arithmetic, and in some of what '"${' can be, it is none, and quotes in it are none either.
            self._substitution(1, nested=frame.nested)
        elif self._next() == "(" and frame.starts_command(self.at):
            self._arithmetic(2)
        elif frame.closer == "}":
            self.at += 1
        else:
            subshell = frame.starts_command(self.at)
            opened = self._open(UNQUOTED, ")", 1, commands=frame.commands)
            opened.words = frame.commands and not subshell

    def _heredoc(self) -> None:
        self.at += 2
        tabs = self._next(0) == "-"
        self.at += tabs
        while self._next(0) and self._next(0) in " \t":
            self.at += 1
        start, bare = self.at, ""
        while self._next(0) and self._next(0) not in _BLANK:
            bare += self._delimiter()
        word = self.text[start : self.at]
        if "$" in word or self._next(0) in ("(", "`"):
            self.found.lost = True
        for at in range(start, self.at):
            self._bland(at)
        self.documents.append(_Document(bare, bare != word, tabs, self._depth()))

    def _delimiter(self) -> str:
        """What the next character, or what is in the next quotes, is in the word that ends a here-document."""
        self._note()
        char, start = self.text[self.at], self.at + 1
        if char == "\\":
            self.at += 2
            return self.text[start : self.at].replace("\n", "")
        if char not in "'\"":
            self.at += 1
            return char
        end = self.text.find(char, start)
        self.at = len(self.text) if end < 0 else end + 1
        return self.text[start : len(self.text) if end < 0 else end]

    def _bodies(self) -> None:
        depth = self._depth()
        if any(document.depth != depth for document in self.documents):
            self.found.lost = True
        for document in self.documents:
            self._body(document)
        self.documents.clear()

    def _body(self, document: _Document) -> None:
        inner: list[int] = []
        end = start = self.at
        while self.at < len(self.text):
            start, line = self.at, self._line(document.quoted)
            if (ended := self._ends(document, line)) is not None:
                # Also who has broken the lines around it.
                for at in (start - 1, *range(start, ended), ended):
                    self._blame(self._owner(at), "the word that ends the text around it")
                end, self.at = start, ended + (self.text[ended : ended + 1] == "\n")
                break
            inner += line
            end = self.at
        if not document.quoted:
            self._anew(inner, end, Frame(HEREDOC, -1))
        self.found.note(self._place(end), HEREDOC)

    def _line(self, quoted: bool) -> list[int]:
        """Read a line, its end included; in a text that is not quoted an escaped end is none, and falls away."""
        line: list[int] = []
        while self.at < len(self.text):
            at = self.at
            escapes = not quoted and self.text[at] == "\\" and at + 1 < len(self.text)
            self.at += 2 if escapes else 1
            if escapes and self.text[at + 1] == "\n":
                self._blame(self._owner(at), "'\\', which escapes what follows")
                continue
            line += range(at, self.at)
            if self.text[at] == "\n":
                break
        return line

    def _ends(self, document: _Document, line: list[int]) -> int | None:
        """Where a here-document ends whose last line this is; None where it is not the last."""
        text = "".join(self.text[at] for at in line)
        whole, kept = text.removesuffix("\n"), text.lstrip("\t") if document.tabs else text
        if kept.removesuffix("\n") == document.delimiter:
            return line[len(whole)] if len(text) > len(whole) else len(self.text)
        after = kept[len(document.delimiter) :]
        if document.depth and kept.startswith(document.delimiter) and ")" in after:
            # Bash lets the end of a substitution stand behind the word.
            return line[len(text) - len(after)]
        return None
