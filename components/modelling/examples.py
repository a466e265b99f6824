"""Rows as training examples: the tokens of a prompt and its response, and which of them are learnt.

A row that does not fit is rejected and counted, never cut: half an answer teaches a student to stop half-way.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass

from common.rows import BadRow, Row, Tally
from common.step import BadData

from modelling.chat import Chat, Encoded


@dataclass(frozen=True, slots=True)
class Example:
    """One row as tokens."""

    row_id: str
    encoded: Encoded

    @property
    def length(self) -> int:
        """Tokens in all."""
        return len(self.encoded.ids)


def make_examples(
    rows: Iterable[Row], chat: Chat, *, target: str, every_turn: bool, max_length: int
) -> tuple[list[Example], Tally]:
    """The rows that can be learnt, and the count of all. ``target`` is ``response`` or ``reference``.

    A gold answer is learnt as the data has it, its working included, not as the bare result that answers are compared
    by. Rejected: ``no_target`` (there is no such answer), ``too_long`` (more than ``max_length`` tokens),
    ``chat_template`` and ``special_token`` (see Chat.encode).
    """
    examples, tally = [], Tally()
    for row in rows:
        tally.read += 1
        try:
            examples.append(_example(row, chat, target, every_turn, max_length))
            tally.kept += 1
        except BadRow as bad:
            tally.reasons[bad.reason] += 1
    return examples, tally


def require(examples: list[Example], tally: Tally, path: str) -> None:
    """Raises BadData, with the reasons, where no row is left."""
    if not examples:
        reasons = (
            ", ".join(f"{reason}: {count}" for reason, count in tally.reasons.most_common()) or "the file is empty"
        )
        raise BadData(f"{path} holds no row to learn from ({reasons})")


def _example(row: Row, chat: Chat, target: str, every_turn: bool, max_length: int) -> Example:
    answer = row.get(target)
    if target == "reference":
        metadata = row.get("metadata")
        answer = metadata.get("reference_text", answer) if isinstance(metadata, dict) else answer
    if not isinstance(answer, str) or not answer.strip():
        raise BadRow("no_target", f"the row has no '{target}'")
    encoded = chat.encode(row["messages"], answer, every_turn=every_turn)
    if len(encoded.ids) > max_length:
        raise BadRow("too_long", f"{len(encoded.ids)} tokens, {max_length} are allowed")
    # Five bytes a token, where lists of Python's own numbers take forty.
    return Example(row["id"], Encoded(array("i", encoded.ids), array("b", encoded.learn)))
