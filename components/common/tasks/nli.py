"""Natural language inference: one of three labels for a premise and a hypothesis."""

from __future__ import annotations

import re

from common.tasks import Row, Task
from common.text import marked, squash, visible

ALIASES = ("natural_language_inference",)
SAMPLE = {"strategy": "chain_of_thought", "max_tokens": 512, "max_new_tokens": 32}

LABELS = ("entailment", "neutral", "contradiction")
_MENTION = re.compile(
    r"(?P<no>\b(?:not|no|non|neither|nor|cannot|\w+n['\u2019]t|rather than|instead of)[\s_-]+"
    r"(?:be\s+|an?\s+|the\s+)?['\"*`]*)?"
    r"\b(?P<label>entail(?:ment|s|ed)?|neutral(?:ity)?|contradict(?:ion|s|ed|ory)?)\b",
    re.I,
)
#: What stands between two labels that one word denies: "no entailment or contradiction".
_JOINED = re.compile(r"['\"*`\s]*(?:or|nor)\s+(?:an?\s+|the\s+)?['\"*`]*")
#: The numbers that SNLI and MultiNLI use.
_NUMBERS = {"0": "entailment", "1": "neutral", "2": "contradiction"}


class Nli(Task):
    metrics = ("accuracy", "macro_f1")
    headline = "accuracy"

    def parse(self, text: str, row: Row | None = None) -> str | None:
        answer = visible(text)
        lines = answer.splitlines() or [""]
        # A first line that is a label and nothing else, whatever explanation follows.
        alone = lines[0] if len(lines[0].split()) <= 2 else None
        for candidate in (marked(answer), alone, lines[-1], answer):
            if candidate and (label := _only_label(candidate)):
                return label
        return None

    def correct(self, answer: str | None, reference: str) -> bool | None:
        gold = self.reference(reference)
        return None if gold is None else answer == gold

    def reference(self, text: str, row: Row | None = None) -> str | None:
        lines = text.strip().splitlines() or [""]
        stated = marked(text)
        labels = {_gold_label(line) for line in ([stated] if stated else [lines[0], lines[-1]])} - {None}
        return _NUMBERS.get(squash(text)) or (labels.pop() if len(labels) == 1 else None)

    def _rule(self, row: Row, text: str) -> str | None:
        return None if self.parse(text, row) else "wrong_label"


#: A gold label, and an explanation behind it: "neutral", "Label: neutral", "Neutral. It may be so."
_GOLD = re.compile(
    r"[\W_]*(?:(?:the\s+)?(?:label|answer)\s*(?:is|:)\W*)?(?P<label>entail(?:ment|s|ed)|neutral|contradict(?:ion|s|ed|ory))"
    r"[*`'\"\u201d\u2019)\]\s]*(?:$|[.,;:(\u2013\u2014-](?=$|\s|\W))",
    re.I,
)


def _gold_label(text: str) -> str | None:
    """The label that a gold answer begins with, unless its line names another one too."""
    match = _GOLD.match(text)
    return _label(match.group("label")) if match and _only_label(text) else None


def _only_label(text: str) -> str | None:
    """The label that ``text`` names, when it names exactly one and does not deny it; neutral where it denies both."""
    named, denied, before = set(), set(), None
    for match in _MENTION.finditer(text):
        joined = before is not None and _JOINED.fullmatch(text, before, match.start())
        no = bool(match.group("no")) or bool(joined)
        (denied if no else named).add(_label(match.group("label")))
        before = match.end() if no else None
    if not named and denied == {"entailment", "contradiction"}:
        return "neutral"
    return named.pop() if len(named) == 1 else None


def _label(word: str) -> str:
    return next(label for label in LABELS if label[:6] == word.lower()[:6])


TASK = Nli()
