"""Whether a value that is put into a step's command stays data.

A command is a template; values are put in as text, as Azure ML does, and ``/bin/bash -c`` reads the result. A value
*breaks out* when bash could take some of it for more than data. This is a sieve and no reader of bash: it lets through
what is data for certain, and refuses the rest, some of which would have been harmless.

- Between single quotes a value may hold anything but ``'``, between double quotes anything but what is active there
  (``\\`` is not before most characters: patterns such as ``\\.jpg`` pass).
- Outside quotes it may hold *plain* characters, and where it is a word of its own also blanks, and quotes around plain
  characters and blanks: Azure runs such a value as several arguments, those into which ``shlex`` splits it.
- After the first thing that nests (``$(``, ``(``, a here-document, ``[[``, ``case``...) it may hold plain characters
  only, since the template is not read on. In a command that evaluates text or variables (``$((``, ``eval``,
  ``bash -c``...) that is so from the start: what it evaluates may be a variable that holds the value.

Plain characters run nothing wherever they stand; what else they may change is seen to in :func:`_misread`. Where the
template lets a value say what runs (as the name of a command, or in a program in another language), it does.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from azdistill.aml.evaluation import FIRST, evaluated
from azdistill.aml.expressions import Lookup, Part, Reference, parse, pieces
from azdistill.errors import UserError

Pieces = Sequence[tuple[str, Reference | None]]

#: Where a value can stand.
UNQUOTED, SINGLE, DOUBLE, COMMENT = "unquoted", "single-quoted", "double-quoted", "comment"
#: After what nests, or in a command that evaluates.
NESTED = "nested"

_PLAIN = r"\w@%+=:,./\-"
#: What is one word, and the same one, wherever it stands.
PLAIN = re.compile(f"[{_PLAIN}]+")
_DATA = {
    **{SINGLE: re.compile("[^']*"), DOUBLE: re.compile(r'(?:[^$`"\\]|\\[^$`"\\\n])*'), COMMENT: re.compile(r"[^\n]*")},
    **dict.fromkeys((UNQUOTED, NESTED), re.compile(f"[{_PLAIN}]*")),
}
_WORDS = re.compile(rf"(?:[{_PLAIN} \t]|'[{_PLAIN} \t]*'|\"[{_PLAIN} \t]*\")*")
_NOT_IN_WORDS = re.compile(rf"[^{_PLAIN} \t'\"]")
_NO_TEXT = re.compile(r"[\0\ud800-\udfff]")
_NAMES = {
    **{" ": "a blank", "\t": "a blank", "\n": "a line break", "`": "a backtick", "$": "'$', which expands"},
    **{"'": "a quote (')", '"': 'a quote (")', "\\": "'\\', which escapes", "#": "'#', which starts a comment"},
}

#: Stands for a value's characters while the template is read: a letter, so that it is part of a word.
_VALUE = "\u00aa"
_VARIABLE = r"\$(?:\w+|\{\w+(?:\[[@*]\])?\}|[@*#?$!-])"
#: What is read of bash. What is not among these nests: an operator or word that a continued line cuts in two, as well.
_TOKEN = re.compile(
    rf"""
      (?P<single> '[^']*'? )
    | (?P<double> "(?: {_VARIABLE} | \$(?![\\({{\[{_VALUE}]) | \\[^{_VALUE}] | [^$`"\\] )*"? )
    | (?P<comment> \#[^\n]* )
    | (?P<end> [ \t]+ | <<< | (?!<<)[\n;&|<>] )
    | (?P<continued> (?<=[ \t\n])\\\n | \\\n(?=[ \t\n]) )
    | (?P<word> (?!case\s)(?: {_VARIABLE} | \$(?![\\({{\['"{_VALUE}]) | \\[^\n{_VALUE}] | [^ \t\n;&|<>()`'"\\$\[\#]
        | \(\)(?=[ \t\n]) | (?<=[\w{_VALUE}])\[[\w,.-]*\] | (?<![\w{_VALUE}])\[(?!\[)
        | \[\[(?:[ ](?:[\w!=./-]+|\$\w+|"[\w$./-]*"))+[ ]\]\] )+ )
    | (?P<nest> case | << | \[\[ | \$?. )
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_MODES = {"single": SINGLE, "double": DOUBLE, "comment": COMMENT, "nest": NESTED}
#: What may follow a word of its own, and what stands before a redirection's target.
_ENDS = " \t\n;&|<>"
_TARGET = re.compile(r"[<>][&|]?(?:[ \t]|\\\n)*\Z")
#: Where a command may begin, after assignments as well.
_BEGIN = (
    r"(?:\A|[\n;&|(){`!]|\b(?:then|do|else|if|elif|while|until|for|time|exec|env|sudo|nohup|command|builtin)\b)"
    r"[ \t]*(?:\w+=\S*+[ \t]++)*+"
)
#: What runs, or computes, the text or the variable that it is given. Nothing is tried twice (``*+``): a long command
#: takes no longer for that.
_EVALUATES = re.compile(
    rf"""
    \$\(\( | \$\[ | \$\{{(?: ! | \#?\w+\[(?![@*\d]+\]) | [\w@*]+(?:\[[^\]]*\])?(?:@|:(?![-=?+]|\d+(?::\d+)?\}})) )
    | \[\[[^\n]*?[ ]-(?:eq|ne|lt|le|gt|ge|v|R)\b | \b(?:PS4|BASH_ENV|RANDOM|OPTIND|HISTCMD)= | =\([^)\n]*\[
    | \|&?[ \t]*(?:sudo[ \t]+)?[\w./]*(?<![\w-])(?:ba|da|k|z)?sh\b(?=[ \t]*(?:[\n;&|)]|\Z|-))
    | (?<![\w.-])(?:(?:ba|da|k|z)?sh|source|\.)(?:[ \t]+[-\w/]+)*+[ \t]*(?:<<|<?[ \t]*<\()
    | (?<![\w.-])(?:ba|da|k|z)?sh[ \t]+(?:(?!-\w*c\b)[-+]\S++[ \t]++(?:\w++[ \t]++(?=-))?+)*+-\w*c\b
    | {_BEGIN}(?P<command> (?:eval|let|trap|declare|typeset|local|mapfile|readarray|compgen)\b
        | wait\b[^\n;&|]*-p | \(\( | \w+\[[^\]\n]*\]\+?=
        | (?:(?:read|unset)(?:[ \t]+-\w+)*|(?:printf|test|\[)[ \t]+-v)[ \t]+\S*[${_VALUE}] )
    """,
    re.VERBOSE,
)
_HEREDOC = re.compile(r"(?<!<)<<-?[ \t]*((?:\\.|'[^']*'|\"[^\"]*\"|[^\s;&|<>()])+)", re.DOTALL)
#: What is no data although it is plain: the number of what is redirected, and a list or range between braces.
_NUMBER = re.compile(r"(?:\A|[\s;&|<>(`])\d+\Z", re.ASCII)
_BRACES = re.compile(r"(?<![$\\])\{(?:[^\s'\"]|'[^']*'|\"[^\"]*\")*\Z")
_LIST = re.compile(r",|\.\.")


@dataclass(frozen=True, slots=True)
class Breakout:
    """A value that would not stay data: where it stands, what in it is the reason, and what to do about it."""

    reference: Reference
    context: str
    reason: str
    hint: str

    def __str__(self) -> str:
        return f"holds {self.reason}: {self.context} in the command, it would break out"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value stands. ``alone``: as a word of its own. ``opener``: what nests before it, or evaluates."""

    mode: str
    alone: bool = False
    opener: str = ""
    evaluated: bool = False


def breakouts(rendered: Pieces) -> Iterator[Breakout]:
    """The values in a rendered command (see :func:`expressions.pieces`) that would break out, in order."""
    text, template, at = "".join(piece for piece, _ in rendered), _template(rendered), 0
    for (value, origin), place in zip(rendered, _places(rendered, template), strict=True):
        if origin and (reason := _active(value, place) or _misread(text, template, at, value, place)):
            context = f"{'beside' if place.evaluated else 'after'} '{place.opener}'" if place.opener else place.mode
            is_evaluated = evaluated("".join(_marked(piece, other, origin) for piece, other in rendered))
            yield Breakout(origin, context, reason, _hint(origin, value, place, is_evaluated.get(0)))
        at += len(value)


def contexts(parts: tuple[Part, ...]) -> list[tuple[Reference, str]]:
    """Each reference of a command with the quoting that it stands in; optional blocks count as kept."""
    rendered = pieces(parts, lambda reference: "x")
    places = _places(rendered, _template(rendered))
    return [(origin, place.mode) for (_, origin), place in zip(rendered, places, strict=True) if origin]


def would_break_out(parts: tuple[Part, ...], reference: Reference, value: str) -> Breakout | None:
    """Whether ``value`` would break out where ``reference`` stands, every other value being harmless."""
    rendered = pieces(parts, lambda candidate: value if candidate.path == reference.path else "x")
    return next((breakout for breakout in breakouts(rendered) if breakout.reference.path == reference.path), None)


def render_command(command: str, lookup: Lookup) -> str:
    """The text for ``/bin/bash -c``. Raises :class:`UserError` AZD156 for a value that would break out."""
    rendered = pieces(parse(command), lookup)
    for breakout in breakouts(rendered):
        raise UserError(f"the value of {breakout.reference} {breakout}", code="AZD156", hint=breakout.hint)
    return "".join(text for text, _ in rendered)


def _template(rendered: Pieces) -> str:
    return "".join(_VALUE * len(piece) if origin else piece for piece, origin in rendered)


class _Token(NamedTuple):
    """``begins``: a word may begin here."""

    start: int
    end: int
    kind: str
    begins: bool
    text: str = ""


def _tokens(template: str) -> Iterator[_Token]:
    """What bash makes of the template. The first token that nests holds all that follows."""
    at, begins = 0, True
    while match := _TOKEN.match(template, at):
        kind, end = match.lastgroup or "", match.end()
        if kind == "nest":
            yield _Token(at, len(template), kind, begins, match[0])
            return
        if kind == "comment" and not begins:
            kind, end = "word", at + 1
        yield _Token(at, end, kind, begins)
        at, begins = end, kind == "end" or (kind == "continued" and begins)


def _places(rendered: Pieces, template: str) -> Iterator[_Place]:
    """Where each piece stands."""
    if evaluation := _EVALUATES.search(template):
        opener = (evaluation["command"] or evaluation[0]).replace(_VALUE, "").split()[0]
        yield from [_Place(NESTED, opener=opener, evaluated=True)] * len(rendered)
        return
    tokens = [*_tokens(template), _Token(len(template), len(template), "end", True)]
    starts, at = [token.start for token in tokens], 0
    for piece, _ in rendered:
        token, start, at = tokens[bisect_right(starts, at) - 1], at, at + len(piece)
        is_word = token.begins and (token.start, token.end) == (start, at)
        alone = is_word and template[at : at + 1] in _ENDS and not _TARGET.search(template[:start])
        yield _Place(_MODES.get(token.kind, UNQUOTED), alone, token.text)


def _active(value: str, place: _Place) -> str | None:
    """What in ``value`` could be more than data where it stands."""
    if unencodable := _NO_TEXT.search(value):
        return "a NUL character" if unencodable[0] == "\0" else "half a character (a lone surrogate)"
    free = (_WORDS if place.alone else _DATA[place.mode]).match(value)
    remainder = value[free.end() if free else 0 :]
    if not remainder:
        return None
    char = next((each for each in remainder if place.alone and _NOT_IN_WORDS.match(each)), remainder[0])
    return _NAMES.get(char, f"'{char}'")


def _misread(text: str, template: str, start: int, value: str, place: _Place) -> str | None:
    """What bash would take a value for that holds plain characters, outside quotes."""
    if place.mode not in (UNQUOTED, NESTED):
        return None
    end = start + len(value)
    before, follower = text[text.rfind("\n", 0, start) + 1 : start], text[end : end + 1]
    if not value:
        return "nothing, where a redirection leads" if follower in _ENDS and _TARGET.search(before) else None
    if follower and follower in "<>" and _NUMBER.search(before + value):
        return f"a number before '{follower}', which says what is redirected"
    if _LIST.search(value) and _BRACES.search(before):
        return "a list between braces, which makes several words"
    if place.mode == NESTED and _ends(text, template, start, end):
        return "the word that ends a here-document"
    return None


def _ends(text: str, template: str, start: int, end: int) -> bool:
    """Whether the value could make a line the last of a here-document, or be in the word that says which line is."""
    line, follower = text[text.rfind("\n", 0, start) + 1 : end].lstrip("\t"), text[end : end + 1]
    for heredoc in _HEREDOC.finditer(template):
        delimiter = re.sub(r"['\"\\\n]", "", text[heredoc.start(1) : heredoc.end(1)])
        if line in delimiter and (follower in "\n)`\\" or line + follower in delimiter):
            return True
        if heredoc.start(1) <= start < heredoc.end(1) and re.search(
            rf"^\t*{re.escape(delimiter)}(?:$|[)`])", text, re.MULTILINE
        ):
            return True
    return False


def _marked(piece: str, origin: Reference | None, reference: Reference) -> str:
    if origin is None:
        return piece
    return chr(FIRST) if origin.path == reference.path else "x"


def evaluates(what: str) -> str:
    """What to do about a value that something evaluates."""
    advice = "declare the input integer or number, give it an enum, or pass free text in a file (uri_file)"
    return f"'{what}' evaluates what it is given, in variables too: {advice}"


def _hint(reference: Reference, value: str, place: _Place, evaluation: str | None) -> str:
    """What to do about a value that breaks out. Where something evaluates it, no quotes and no variable help."""
    if evaluation or place.evaluated:
        return evaluates(evaluation or place.opener)
    if _DATA[SINGLE].fullmatch(value) and not _NO_TEXT.search(value):
        if place.mode == UNQUOTED:
            return f"write '{reference}' between single quotes in the command"
        if place.opener == "<<":
            return f"write it without a here-document: printf '%s\\n' '{reference}'"
        if place.mode == NESTED:
            return (
                f"give it to a variable in a line of its own at the start of the command, NAME='{reference}', "
                'and write "$NAME" here'
            )
    return "pass free text in a file (uri_file), not on the command line"
