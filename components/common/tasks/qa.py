"""Question answering: the letter of one of the choices offered, or a free answer where none are."""

from __future__ import annotations

import re

from common.tasks import Row, Task
from common.text import marked, one_width, plain, squash, visible, words

ALIASES = ("nlu_qa", "question_answering")
SAMPLE = {"strategy": "chain_of_thought", "max_tokens": 512, "max_new_tokens": 32}

_CHOICE = re.compile(r"^[ \t]*(?:\((?P<a>[A-Z])\)|(?P<b>[A-Z])[).:])[ \t]*(?P<text>\S.*?)[ \t\r]*$", re.M)
_HEAD = r"^\W*(?:(?:option|choice|answer)\s+)?"
#: A letter that opens an answer: "(b)", "B", "B) text", "B. text", "B because ...".
_LETTER = re.compile(
    _HEAD + r"(?:\(\s*(?P<a>[A-Z])\s*\)|(?P<b>[A-Z])(?=\s*$|\s*[.):,;\]]|\s+(?:because|since|as|is|-|\u2013)\s))", re.I
)
#: Where no choices are known, initials ("J. K. Rowling") must not pass for a choice.
_LETTER_ALONE = re.compile(_HEAD + r"(?:\(\s*(?P<a>[A-Z])\s*\)|(?P<b>[A-Z])(?=[.):\]]?\s*$|[):]\s))", re.I)


class Qa(Task):
    metrics = ("accuracy", "exact_match", "token_f1")
    headline = "accuracy"

    def parse(self, text: str, row: Row | None = None) -> str | None:
        answer = visible(text)
        if not answer:
            return None
        choices = choices_of(row)
        for candidate in (marked(answer), answer.splitlines()[0], answer.splitlines()[-1]):
            if candidate and (letter := _letter(plain(candidate), choices)):
                return letter
        if choices:
            return _only_choice(answer, choices)
        return plain(marked(answer) or answer) or None

    def closed(self, row: Row) -> bool:
        return bool(choices_of(row))

    def correct(self, answer: str | None, reference: str) -> bool | None:
        if answer is None:
            return False
        gold = _letter(plain(reference), {}) or reference
        return squash(answer) == squash(gold)

    def contradicts(self, answer: str | None, reference: str, row: Row | None = None) -> bool:
        if self.correct(answer, reference):
            return False
        if answer is None or choices_of(row) or _letter(plain(reference), {}):
            return True
        # "It is Paris, the capital" does not contradict "Paris"; "London" does.
        ours, gold = (set(words(_bare(text))) for text in (answer, reference))
        return not ours & gold

    def reference(self, text: str, row: Row | None = None) -> str | None:
        choices = choices_of(row)
        return _gold_choice(text, choices) if choices else super().reference(text, row)

    def _rule(self, row: Row, text: str) -> str | None:
        return "wrong_label" if self.closed(row) and not self.parse(text, row) else None


def choices_of(row: Row | None) -> dict[str, str]:
    """The choices that the last turn of a row offers: letter and text; empty where it offers none."""
    if not row or not row.get("messages"):
        return {}
    choices = {
        m.group("a") or m.group("b"): m.group("text")
        for m in _CHOICE.finditer(one_width(row["messages"][-1]["content"]))
    }
    in_order = [chr(ord("A") + number) for number in range(len(choices))]
    return choices if len(choices) >= 2 and list(choices) == in_order else {}


def _letter(text: str, choices: dict[str, str]) -> str | None:
    """The letter that ``text`` begins with, or whose choice it repeats; with choices, only one that is offered."""
    text = one_width(text)
    if match := (_LETTER if choices else _LETTER_ALONE).match(text):
        letter = (match.group("a") or match.group("b")).upper()
        if not choices or letter in choices:
            return letter
    letters = [
        letter for letter, choice in choices.items() if _bare(text) in (_bare(choice), squash(f"{letter} {choice}"))
    ]
    return letters[0] if len(letters) == 1 else None


#: Another letter beside the first one: "(A)", "A or B", "A, B", "A B".
_OTHER = re.compile(
    r"\(\s*(?P<a>[A-Z])\s*\)|(?:[,;/&+]|\b(?:and|or))\s*(?P<b>[A-Z])(?!\w)|(?<!\w)(?P<c>[A-Z])(?=\W*(?:$|\b(?:and|or)\b))"
)


def _gold_choice(text: str, choices: dict[str, str]) -> str | None:
    """The choice that a gold answer names: as a letter, by its text, or both; None where it names none, or several."""
    lines = text.strip().splitlines() or [""]
    stated = marked(text)
    named = [_stated_choice(plain(line), choices) for line in ([stated] if stated else [lines[0], lines[-1]])]
    letters = set().union(*named)
    return letters.pop() if len(letters) == 1 else None


def _stated_choice(text: str, choices: dict[str, str]) -> set[str]:
    """The letters of the choices that a line begins with."""
    letter = _letter(text, choices)
    if not letter:
        return set()
    if squash(choices[letter]) in squash(text):
        return {letter}
    excluded = {match.group("a") or match.group("b") or match.group("c") for match in _OTHER.finditer(text)}
    return {letter} | (excluded & set(choices))


def _bare(text: str) -> str:
    """``text`` for comparison, without its article."""
    return re.sub(r"^(?:an?|the)\s+(?=\w)", "", squash(text))


def _only_choice(text: str, choices: dict[str, str]) -> str | None:
    """The one choice that ``text`` names in brackets, or after 'option'."""
    named = re.findall(r"\(([A-Z])\)|\b(?:option|choice|answer|choose|pick|select)\s+([A-Z])\b", text)
    letters = {a or b for a, b in named} & set(choices)
    return letters.pop() if len(letters) == 1 else None


TASK = Qa()
