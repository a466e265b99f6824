"""What is open where bash reads (see ``bash.py``), and how far the command has come that is read in it."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Words after which the name of a command may still be to come; ``-p`` and ``--`` are options of ``time``.
_BEFORE_NAME = {
    *("then", "do", "else", "elif", "if", "while", "until", "for", "!", "{", "coproc", "time", "-p", "--"),
}
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*(?:\[.*\])?\+?=", re.ASCII | re.DOTALL)
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_DESCRIPTOR = re.compile(r"\d+|\{\w+\}", re.ASCII)
#: What ``${`` expands, and then a subscript of it.
_PARAMETER = re.compile(r"[!#]?(?:\w+|[-@*#?$!])", re.ASCII)
_ELEMENT = re.compile(_PARAMETER.pattern + r"\[.*\]", re.ASCII | re.DOTALL)


@dataclass(slots=True)
class Frame:
    """An open quote, substitution or group: what it is, who opened it, what closes it.

    ``commands``: commands stand in it (and comments, here-documents). ``nested``: see :data:`bash.NESTED`. ``anew``:
    what it holds is read with no regard to what is around it. ``half``: one of two brackets, the other has to follow at
    once. ``words``: brackets around words (an array's elements, alternatives of a pattern). ``cases``: its open
    ``case``. ``word``: where the word begins that is being read. ``name``: the name of its command, once that has come.
    ``redirects``: the word says where a redirection leads.
    """

    mode: str
    owner: int
    closer: str = ""
    commands: bool = True
    nested: bool = False
    anew: bool = False
    half: bool = False
    words: bool = False
    cases: int = 0
    word: int = 0
    name: str = ""
    redirects: bool = False

    def begin(self, at: int) -> None:
        """Begin a command."""
        self.word, self.name, self.redirects = at, "", False

    def starts_command(self, at: int) -> bool:
        """Whether a command's first word, or one of those that may stand before its name, starts here."""
        return self.commands and not self.words and not self.name and self.word == at

    def end_word(self, text: str, at: int, *, own: bool) -> bool:
        """Take in the word that ends here: whether it is an assignment or redirection before the command's name.

        ``own``: no value had a part in the word.
        """
        word = text[self.word : at].replace("\\\n", "")
        if not word:
            return False
        if self.redirects or (not self.name and _ASSIGNMENT.match(word)):
            self.redirects = False
            return not self.name
        if self.name and own and (word in ("{", "do") or (word, self.name) == ("in", "case")):
            # Behind the name of a function or loop, or before a pattern; what a value says is a word like others.
            self.name = ""
        elif word not in _BEFORE_NAME:
            self.name = self.name or word
        return False

    def redirect(self, text: str, at: int) -> None:
        """Take in what stands before the '<' or '>' here."""
        if not _DESCRIPTOR.fullmatch(text, self.word, at):
            self.end_word(text, at, own=False)
        self.redirects = True

    def names_function(self, text: str, at: int) -> bool:
        """Whether the brackets that open here would, with nothing in them, make a function of the word before."""
        return not _ASSIGNMENT.match(text, self.word, at)

    def is_element(self, text: str, at: int) -> bool:
        """Whether a '[' here opens a subscript: of what ``${`` expands, or of a variable that is assigned to."""
        if self.closer == "}":
            return _PARAMETER.fullmatch(text, self.word, at) is not None
        return self.commands and not self.name and _NAME.fullmatch(text, self.word, at) is not None

    def is_offset(self, text: str, at: int) -> bool:
        """Whether arithmetic follows the ':' here: in ``${``, unless it is one of ':-', ':=', ':?', ':+'."""
        before = _ELEMENT if text[at - 1] == "]" else _PARAMETER
        return (
            self.closer == "}"
            and bool(before.fullmatch(text, self.word, at))
            and text[at + 1 : at + 2] not in ("-", "=", "?", "+")
        )
