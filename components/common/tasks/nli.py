"""Natural language inference: one of three labels for a premise and a hypothesis."""

from __future__ import annotations

import re

from common.tasks.base import Row, Task
from common.tasks.text import marked, visible

LABELS = ("entailment", "neutral", "contradiction")
_MENTION = re.compile(
    r"(?P<no>\b(?:not|no|neither|nor|isn't|rather than|instead of)[\s_-]+(?:an?\s+|the\s+)?['\"*`]*)?"
    r"\b(?P<label>entail(?:ment|s|ed)?|neutral(?:ity)?|contradict(?:ion|s|ed|ory)?)\b",
    re.I,
)
#: The numbers that SNLI and MultiNLI use.
_NUMBERS = {"0": "entailment", "1": "neutral", "2": "contradiction"}


class Nli(Task):
    name = "nli"
    metrics = ("accuracy", "macro_f1")
    headline = "accuracy"

    def parse(self, text: str, row: Row | None = None) -> str | None:
        shown = visible(text)
        candidates = [marked(shown), shown.strip().splitlines()[-1] if shown else None, shown]
        for candidate in candidates:
            if candidate and (label := _only_label(candidate)):
                return label
        return None

    def correct(self, answer: str | None, reference: str) -> bool | None:
        gold = self.reference(reference)
        return answer is not None and answer == gold

    def reference(self, text: str, row: Row | None = None) -> str | None:
        return _NUMBERS.get(text.strip()) or self.parse(text)

    def _rule(self, row: Row, text: str) -> str | None:
        return None if self.parse(text, row) else "wrong_label"


def _only_label(text: str) -> str | None:
    """The label that ``text`` names, when it names exactly one and does not deny it."""
    named = {_label(match.group("label")) for match in _MENTION.finditer(text) if not match.group("no")}
    return named.pop() if len(named) == 1 else None


def _label(word: str) -> str:
    return next(label for label in LABELS if label[:6] == word.lower()[:6])


TASK = Nli()
