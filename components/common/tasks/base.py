"""What a task is: how an answer is found in a response, which responses are valid, what counts as correct."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from common.tasks.text import only_thought, pieces, visible

Row = Mapping[str, Any]


class Task:
    """The common part of all tasks. A task overrides what differs."""

    #: The name used in YAML, and other names for it (lower case).
    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    #: The metrics an evaluation reports, and the one that retention is computed on.
    metrics: ClassVar[tuple[str, ...]]
    headline: ClassVar[str]

    def parse(self, text: str, row: Row | None = None) -> str | None:
        """The answer in a response, normalised; None where there is none. ``row`` says what was asked."""
        return visible(text) or None

    def closed(self, row: Row) -> bool:
        """Whether answers to ``row`` have one normal form (a label, a number, a letter) that a student should give."""
        return True

    def check(self, row: Row, response: str, max_words: int | None = None) -> str | None:
        """Why this response to ``row`` must not be learnt (a fixed word), or None when it may.

        ``response`` is a teacher row's: its thoughts were taken off when it was answered.
        """
        text = response.strip()
        if not text or only_thought(text):
            return "empty"
        if max_words is not None and len(pieces(text)) > max_words:
            return "too_long"
        return self._rule(row, text)

    def correct(self, answer: str | None, reference: str) -> bool | None:
        """Whether a parsed answer agrees with the gold one. None: this task defines no accuracy."""
        return None

    def contradicts(self, answer: str | None, reference: str, row: Row | None = None) -> bool:
        """Whether an answer cannot be right, given the gold one. A text that only differs from it may be."""
        return self.correct(answer, reference) is False

    def reference(self, text: str, row: Row | None = None) -> str | None:
        """The gold answer in the form that a student should give; None when ``text`` holds none."""
        return text.strip() or None

    def _rule(self, row: Row, text: str) -> str | None:
        return None
