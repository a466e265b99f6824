"""Which values a step's command evaluates: text that bash runs, or computes, once more.

``eval "$N"`` runs what is in ``N``; so does arithmetic, ``$(( N + 1 ))``, since a subscript may hold a command:
``a[$(reboot)]``. Values that could run there are refused at a run (:mod:`azdistill.aml.quoting`); that a command is
written so is seen before there is a value.

This follows values through variables, and is no reader of bash: what it cannot tell counts as evaluated. A value comes
into a variable by an assignment, a loop, ``read`` and its like, the arguments of a function, ``set --`` and
``bash -c ... args``. It is not followed through files, nor into programs in other languages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property, lru_cache

#: Stand for values in the template, from the first on.
FIRST = 0xE000
_VALUE = "\ue000-\uf8ff"
Labels = frozenset[int]
_NONE: Labels = frozenset()
#: All positional parameters together.
_POSITIONAL = "@"

_SHELL = r"(?<![\w.-])(?:ba|da|k|z)?sh"
_WITH_C = rf"{_SHELL}[ \t]+(?:[-+]\S+[ \t]+(?:\w+[ \t]+(?=-))?)*-\w*c[ \t]+"
#: Where a command may begin, after assignments and what runs another command too; within a script that is quoted, too.
_BEGIN = (
    r"(?:\A|[\n;&|(){}`!]|\b(?:then|do|else|if|elif|while|until|time|exec|env|sudo|nohup|command|builtin|coproc)\b"
    r"|-\w*c[ \t]+['\"])[ \t]*(?:\w+=\S{0,200}[ \t]+){0,9}(?:-\w+[ \t]+){0,9}[\\'\"]?"
)
_ASSIGNMENT = re.compile(r"(?<![\w$-])([A-Za-z_]\w*)(?:\[[^\]\n]*\])?\+?=")
_LOOP = re.compile(r"\b(?:for|select)[ \t]+(\w+)(?:\s+in\b)?")
_DEFAULT = re.compile(r"\$\{(\w+):?=([^}]*)\}")
_FILLED = re.compile(
    r"\b(?:read|mapfile|readarray|getopts)\b([^\n;&|<>]*)|\bprintf[ \t]+-v[ \t]+[\"']?(\w+)"
    r"|\bwait\b[^\n;&|]*-p[ \t]+(\w+)"
)
_FUNCTION = re.compile(r"([\w-]+)[ \t]*\(\)|\bfunction[ \t]+([\w-]+)")
_SET = re.compile(rf"{_BEGIN}set[ \t](?=[^\n]*\S)")
_ARRAY = re.compile(r"-\w*A\w*[ \t]+(\w+)")

#: The pieces of a text by how bash reads them.
_PIECE = re.compile(
    rf"""
      '(?P<single>[^']*)' | "(?P<double>(?:\\.|[^"\\])*)" | \\. | \$\{{?[!\#]?(?P<variable>\w+|[@*])
    | (?P<value>[{_VALUE}]) | (?P<name>[A-Za-z_]\w*)
    """,
    re.VERBOSE | re.DOTALL,
)

#: What evaluates all of a statement behind its name: in each way that bash has.
_STATEMENTS = re.compile(rf"{_BEGIN}(?P<name>eval|trap|compgen|unset)\b")
_LET = re.compile(rf"{_BEGIN}(?P<name>let)\b")
_DECLARE = re.compile(rf"{_BEGIN}(?P<name>declare|typeset|local|readonly)\b")
_READ = re.compile(rf"{_BEGIN}(?P<name>read)\b")
_NAMED = re.compile(r"\b(?P<name>printf[ \t]+-v|(?:mapfile|readarray)\b[^\n;&|<>]*-C|wait\b[^\n;&|]*-p)[ \t]+")
_SET_OR_NOT = re.compile(r"(?:(?<!\S)(?:\[\[?|test|!|-a|-o)|&&|\|\||\()[ \t]+-[vR][ \t]+")
_ARITHMETIC = re.compile(r"\$\(\(|(?<!\()\(\(|\$\[(?!\[)")
_TEST = re.compile(r"(?<!\S)\[\[\s(?P<test>.{0,2000}?)\s\]\]", re.DOTALL)
_COMPARED = re.compile(r"\s-(?:eq|ne|lt|le|gt|ge)\s")
_SUBSCRIPT = re.compile(
    r"(?:\$\{[!#]?(?P<read>\w+)\[|(?<![\w$.-])(?P<set>[A-Za-z_]\w*)\[(?=[^\]\n]*\]\+?=)|(?<=[\s(])\[(?=[^\]\n]*\]\+?=))"
    r"(?P<index>[^\]\n]*)"
)
_INDIRECT = re.compile(rf"\$\{{!([\w{_VALUE}]+)(?![@*\w{_VALUE}]|\[[@*]\])")
_PROMPT = re.compile(r"\$\{!?(\w+|[@*])(?:\[[^\]]*\])?@P")
_SUBSTRING = re.compile(r"\$\{[^{}:\n]*:(?![-=?+])(?P<at>(?:[^{}]|\{[^{}]*\})*)\}")
_SCRIPT = re.compile(_WITH_C)
_PIPED = re.compile(
    rf"\|&?[ \t]*(?:sudo[ \t]+)?(?:[\w./]*/)?{_SHELL.replace('.-', '-')}(?=[ \t]*(?:$|[\n;&|)>'\"]|-))", re.MULTILINE
)
_FED = re.compile(rf"(?:{_SHELL}|\bsource|(?<![\w./-])\.)(?:[ \t]+[-\w/]+)*[ \t]*(?P<how><<<|<<|<[ \t]*<\(|[ \t]<\()")
_SOURCE = re.compile(rf"{_BEGIN}(?P<name>source|\.)[ \t]+")

_CONSTRUCTS = (
    *(_STATEMENTS, _LET, _DECLARE, _READ, _NAMED, _SET_OR_NOT, _ARITHMETIC, re.compile(r"(?<!\S)\[\[\s"), _SUBSCRIPT),
    *(_INDIRECT, _PROMPT, _SUBSTRING, _SCRIPT, _PIPED, _FED, _SOURCE, re.compile(r"\b(?:PS4|BASH_ENV|RANDOM|OPTIND)=")),
)
#: Values are followed through commands of so many characters; a piece of one that is longer may hold any of them.
_LONGEST, _LONGEST_PIECE = 6000, 2000
#: Linux starts no longer ones.
_LONGEST_TO_RUN = 1 << 17

#: What bash computes whatever is assigned to, and what it runs by itself.
_INTEGERS = ("RANDOM", "OPTIND", "HISTCMD")
_RUN_BY_BASH = ("PS4", "BASH_ENV")


def evaluated(template: str, variables: Mapping[str, int] | None = None) -> dict[int, str]:
    """Which values ``template`` evaluates, each with what does so.

    A value stands in the template as the character ``chr(FIRST + number)``; ``variables`` are those of the environment
    that hold one.
    """
    return _Flow(template, variables or {}).found()


class _Flow:
    """Where the values of a command get to."""

    def __init__(self, template: str, variables: Mapping[str, int]) -> None:
        self.text = template.replace("\\\n", "")
        self._start = {name: frozenset({number}) for name, number in variables.items()}
        self._all = frozenset(ord(each) - FIRST for each in re.findall(f"[{_VALUE}]", template)) | {*variables.values()}

    def found(self) -> dict[int, str]:
        """The values that are evaluated, each with the first construct that does so."""
        found: dict[int, str] = {}
        if self._all and len(self.text) > _LONGEST:
            return dict.fromkeys(sorted(self._all), self._any_construct()) if self._any_construct() else {}
        if self._all:
            for what, values in self._evaluations():
                for value in sorted(values):
                    found.setdefault(value, what)
        return found

    def _any_construct(self) -> str:
        """What evaluates anything, in a command that is too long to follow values through it."""
        matches = (construct.search(self.text[:_LONGEST_TO_RUN]) for construct in _CONSTRUCTS)
        return next((match[0].strip() for match in matches if match), "")

    # -- what variables hold

    @cached_property
    def names(self) -> Mapping[str, Labels]:
        """The variables that hold a value, with those that they may hold."""
        known: dict[str, Labels] = dict(self._start)
        while True:
            more = dict(known)
            for name, values in self._assigned(known):
                more[name] = more.get(name, _NONE) | values
            if more == known:
                return known
            known = more

    def _assigned(self, known: Mapping[str, Labels]) -> Iterator[tuple[str, Labels]]:
        text = self.text
        for match in _ASSIGNMENT.finditer(text):
            yield match[1], carried(self._word(match.end()), known)
        for match in _LOOP.finditer(text):
            yield match[1], carried(self._statement(match.end()), known) | known.get(_POSITIONAL, _NONE)
        for match in _DEFAULT.finditer(text):
            yield match[1], carried(match[2], known)
        for match in _FILLED.finditer(text):
            # What they read may come from anywhere.
            for name in [*re.findall(r"[A-Za-z_]\w*", match[1] or ""), match[2], match[3], "REPLY", "MAPFILE"]:
                yield str(name), self._all
        for match in _SET.finditer(text):
            yield _POSITIONAL, carried(self._statement(match.end()), known)
        for match in _SCRIPT.finditer(text):
            yield _POSITIONAL, carried(self._statement(match.end()), known)
        for function in {match[1] or match[2] for match in _FUNCTION.finditer(text)}:
            for match in re.finditer(rf"(?<![\w.-]){re.escape(function)}(?![\w(-])", text):
                yield _POSITIONAL, carried(self._statement(match.end()), known)

    @cached_property
    def _integers(self) -> frozenset[str]:
        """The variables whose every new value is computed, or is the name of another variable."""
        named = {*_INTEGERS}
        for match in _DECLARE.finditer(self.text):
            if _flags(rest := self._statement(match.end())) & {"i", "n"}:
                named |= {*re.findall(r"(?<![\w$=-])([A-Za-z_]\w*)(?==|\s|$)", rest)}
        return frozenset(named)

    # -- what evaluates

    def _evaluations(self) -> Iterator[tuple[str, Labels]]:
        yield from self._commands()
        yield from self._shells()
        yield from self._computed()
        yield from self._expanded()
        for name in sorted(self._integers & {*self.names}):
            yield f"the integer or reference {name}", self.names[name]
        for name in _RUN_BY_BASH:
            yield name, self.names.get(name, _NONE)

    def _commands(self) -> Iterator[tuple[str, Labels]]:
        for match in _STATEMENTS.finditer(self.text):
            yield match["name"], self._carried(self._statement(match.end()))
        for match in _LET.finditer(self.text):
            yield "let", self._carried(self._statement(match.end()), bare=True)
        for match in _DECLARE.finditer(self.text):
            rest = self._statement(match.end())
            flags = _flags(rest)
            if flags & {"i", "n"}:
                yield f"{match['name']} -{'i' if 'i' in flags else 'n'}", self._carried(rest, bare="i" in flags)
            elif match["name"] != "readonly":
                yield match["name"], self._carried(_named(rest, compound=bool(flags & {"a", "A"})))
        for match in _READ.finditer(self.text):
            yield "read", self._carried(re.split(r"[<>]", self._statement(match.end()))[0])
        for match in _NAMED.finditer(self.text):
            yield " ".join(re.findall(r"^\w+|-\w$", match["name"])), self._carried(self._word(match.end()))
        for match in _SET_OR_NOT.finditer(self.text):
            yield "-v", self._carried(self._word(match.end()))

    def _shells(self) -> Iterator[tuple[str, Labels]]:
        text = self.text
        for match in _SCRIPT.finditer(text):
            line = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
            by_xargs = self._carried(line) if re.search(r"\bxargs\b", line) else _NONE
            yield match[0].strip(), self._carried(self._word(match.end())) | by_xargs
        for match in _PIPED.finditer(text):
            line = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
            # What the line reads may stand behind it, or in the lines before.
            whole = (
                "<<" in text or line.lstrip()[:1] in ("}", ")", "") or line.strip().startswith(("done", "fi", "esac"))
            )
            yield match[0].lstrip("|& \t"), self._all if whole else self._carried(line)
        for match in _FED.finditer(text):
            rest = text[match.end() :] if match["how"] == "<<" else self._statement(match.end())
            yield match[0].strip(), self._carried(rest)
        for match in _SOURCE.finditer(text):
            yield match["name"], self._carried(self._word(match.end()))

    def _computed(self) -> Iterator[tuple[str, Labels]]:
        for match in _ARITHMETIC.finditer(self.text):
            yield match[0], self._carried(self._balanced(match.end(), match[0][-1]), bare=True)
        for match in _TEST.finditer(self.text):
            for part in re.split(r"&&|\|\|", match["test"]):
                if compared := _COMPARED.search(part):
                    yield f"[[ {compared[0].strip()} ]]", self._carried(part, bare=True)
        tables = {match[1] for match in _ARRAY.finditer(self.text)}
        for match in _SUBSCRIPT.finditer(self.text):
            opened = re.findall(r"(\w+)\+?=\(", self.text[: match.start()])[-1:]
            name = match["read"] or match["set"] or "".join(opened)
            if name not in tables:
                yield f"{name}[...]", self._carried(match["index"], bare=True)
        for match in _SUBSTRING.finditer(self.text):
            yield "${...:...}", self._carried(match["at"], bare=True)

    def _expanded(self) -> Iterator[tuple[str, Labels]]:
        for match in _INDIRECT.finditer(self.text):
            yield "${!...}", self._carried(f"${{{match[1]}}}{match[1]}")
        for match in _PROMPT.finditer(self.text):
            yield "${...@P}", self._carried(f"${match[1]}")

    # -- pieces of the text

    def _carried(self, text: str, bare: bool = False) -> Labels:
        return carried(text, self.names, bare)

    def _statement(self, start: int) -> str:
        return self._cut(start, _end(self.text, start, "\n;|&"))

    def _word(self, start: int) -> str:
        return self._cut(start, _end(self.text, start, " \t\n;|&<>"))

    def _cut(self, start: int, end: int) -> str:
        """What is too long to be read may hold any value."""
        if end - start < _LONGEST_PIECE:
            return self.text[start:end]
        return "".join(chr(FIRST + value) for value in self._all)

    def _balanced(self, start: int, opener: str) -> str:
        """What stands between brackets, up to the one that closes them."""
        depth, closer = 1, {"(": ")", "[": "]"}[opener]
        for at in range(start, min(len(self.text), start + _LONGEST_PIECE)):
            depth += (self.text[at] == opener) - (self.text[at] == closer)
            if not depth:
                return self._cut(start, at)
        return self._cut(start, min(len(self.text), start + _LONGEST_PIECE))


def carried(text: str, names: Mapping[str, Labels], bare: bool = False) -> Labels:
    """The values that ``text`` holds, or variables in it. ``bare``: a name by itself stands for its variable."""
    values = _NONE
    for piece in _PIECE.finditer(text):
        if piece["single"] is not None:
            # No variable is read there, but in arithmetic.
            values |= carried(piece["single"], names if bare else {}, bare)
        elif piece["double"] is not None:
            values |= carried(piece["double"].replace("'", " "), names, bare)
        elif piece["value"]:
            values |= {ord(piece["value"]) - FIRST}
        elif name := piece["variable"]:
            values |= names.get(_POSITIONAL if name.isdigit() or name == "*" else name, _NONE)
        elif piece["name"] and bare:
            values |= names.get(piece["name"], _NONE)
    return values


@lru_cache(maxsize=1 << 14)
def _end(text: str, start: int, stops: str) -> int:
    """Where the words from ``start`` on end: at one of ``stops``, outside quotes and brackets."""
    at, depth = start, 0
    while at < min(len(text), start + _LONGEST_PIECE):
        char = text[at]
        if char == "\\":
            at += 1
        elif char in "'\"":
            closed = re.compile(r"[^']*'" if char == "'" else r'(?:\\.|[^"\\])*"', re.DOTALL).match(text, at + 1)
            at = closed.end() - 1 if closed else start + _LONGEST_PIECE
        elif char == "`":
            # It may as well be the second of two.
            at = closing if (closing := text.find("`", at + 1)) > 0 else at
        elif char == "(" or (char == "{" and text[at - 1 : at] == "$"):
            depth += 1
        elif char in ")}" and depth:
            depth -= 1
        elif not depth and (char in stops or char == ")" or (char == "#" and text[at - 1 : at].isspace())):
            return at
        at += 1
    return min(at, len(text))


def _flags(statement: str) -> set[str]:
    """The letters of its options."""
    return {*"".join(re.findall(r"(?<!\S)-(\w+)", statement))}


def _named(statement: str, compound: bool) -> str:
    """What in the words of ``declare`` names variables, or is a list that it reads once more."""
    words = re.findall(r"(?:'[^']*'|\"(?:\\.|[^\"\\])*\"|[^\s'\"])+", statement)
    return " ".join(
        word
        if compound and re.match(r"[\"']?\w+\+?=[\"']?\(", word) and not re.match(r"\w+\+?=\(", word)
        else re.split(r"\+?=", word, maxsplit=1)[0].replace('"', "").replace("'", "")
        for word in words
    )
