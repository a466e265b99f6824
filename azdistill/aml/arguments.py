"""``program_arguments`` of a parallel task: words for its script, where a command is a text for a shell.

Azure ML's driver hands them to the script; here bash takes them apart, as it does a command. What has another meaning
between words than between commands is seen to here: line breaks are blanks, and what would end the words, or run
something of its own, is found for the checks.
"""

from __future__ import annotations

import re

from azdistill.aml.expressions import parse, references

#: What expands, or runs something, outside single quotes; ``${NAME}`` alone does no harm.
_EXPANDS = r"`|\$(?!\{\w+\})[({\[]"
#: What stands between quotes (those of ``$'`` may be escaped in it), an escaped character, a variable, any other.
_TOKEN = re.compile(
    rf"""
      (?P<open> (?:\$'(?:\\.|[^'\\])* | '[^']* | "(?:\\.|[^"\\])*)\Z )
    | \$'(?:\\.|[^'\\])*' | '[^']*' | (?P<double> "(?:\\.|[^"\\])*" )
    | \\. | \$(?:[$#]|\{{\w+\}}) | (?P<expands> {_EXPANDS} ) | (?P<operator> [;&|<>()] ) | (?P<hash> \# ) | .
    """,
    re.VERBOSE | re.DOTALL,
)
_EXPANDS_IN_QUOTES = re.compile(rf"(?:\\.|[^\\])*?(?P<expands>{_EXPANDS})", re.DOTALL)


def on_one_line(text: str) -> str:
    """``text`` with blanks for the line breaks between its words; those in quotes are part of an argument."""
    return "".join(" " if token[0] == "\n" else token[0] for token in _TOKEN.finditer(text))


def no_argument(text: str) -> tuple[int, str] | None:
    """Where ``text`` (on one line) has what is no part of a word, and what that is; None where all of it is words."""
    words, before = _words(text), " "
    for token in _TOKEN.finditer(words):
        kind, at = token.lastgroup, token.start()
        inner = _EXPANDS_IN_QUOTES.match(token[0]) if kind == "double" else None
        if kind == "open":
            return len(text), "a quote that is not closed"
        if kind == "operator":
            return at, f"'{token[0]}'"
        if kind == "hash" and before in " \t":
            return at, "'#', which starts a comment"
        if kind == "expands" or inner:
            return _expansion(words, at + (inner.start("expands") if inner else 0))
        before = token[0]
    return None


def _words(text: str) -> str:
    """``text`` with letters for references, and blanks for what opens and closes optional blocks."""
    for reference, _ in references(parse(text)):
        end = reference.position + len(reference.raw)
        text = f"{text[: reference.position]}{'x' * len(reference.raw)}{text[end:]}"
    return re.sub(r"\$\[\[(.*?)\]\]", r"   \1  ", text, flags=re.DOTALL)


def _expansion(text: str, at: int) -> tuple[int, str]:
    return (at, "a backtick") if text[at] == "`" else (at + 1, f"'{text[at + 1]}' after a '$'")
