"""Chat templates: rows as the tokens that a model sees, and which of those it has to learn.

Text comes from the tokenizer's own template. A model is trained on exactly what it sees when it generates: the prompt
as it is rendered for generation, then the response, then the token that ends a turn, once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from common.rows import BadRow, Message
from common.step import BadConfig
from jinja2.exceptions import TemplateError

_CANARY = "Qzx7"


@dataclass(frozen=True, slots=True)
class Encoded:
    """The tokens of a row. ``learn[i]`` says whether token ``i`` is to be learnt (never true for the first one)."""

    ids: Sequence[int]
    learn: Sequence[bool]

    @property
    def targets(self) -> int:
        """How many tokens are to be learnt."""
        return sum(self.learn)


@dataclass(frozen=True, slots=True)
class _Turn:
    """Where an assistant turn lies in the rendered text (characters): its beginning, and the end of its content."""

    start: int
    content: int
    end: int


class Chat:
    """The chat template of a tokenizer. ``stop_ids`` are the tokens that end a turn of the assistant."""

    def __init__(self, tokenizer: Any, eos_ids: Iterable[int] = ()) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise BadConfig(
                "the tokenizer has no chat template: use the model's instruct variant, or add a chat_template.jinja"
            )
        self.tokenizer = tokenizer
        self._fast = bool(getattr(tokenizer, "is_fast", False))
        self._special = _special_ids(tokenizer)
        self._control = _control_text(tokenizer)
        self._has_system = self._keeps_system()
        self.stop_ids = self._find_stops(eos_ids)

    @property
    def pad_id(self) -> int:
        """The token that fills up batches; the attention mask hides it."""
        pad = self.tokenizer.pad_token_id
        return int(pad if pad is not None else min(self.stop_ids))

    def prompt(self, messages: Sequence[Message]) -> str:
        """The text after which the model answers. Raises BadRow where the template refuses the messages."""
        return self._render(self._fold(messages), prompt=True)

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """The tokens after which the model answers."""
        return self._tokens(self.prompt(messages))

    def encode(self, messages: Sequence[Message], response: str, *, every_turn: bool = False) -> Encoded:
        """A row and its response as tokens. ``every_turn``: earlier turns of the assistant are learnt too.

        Raises BadRow: ``chat_template`` where the template refuses the row or rewrites the response, ``special_token``
        where what is to be learnt holds the text of a control token.
        """
        if every_turn and any(turn["role"] == "assistant" and self._forged(turn["content"]) for turn in messages):
            raise BadRow("special_token", "an earlier turn of the assistant holds the text of a control token")
        turns = [*self._fold(messages), {"role": "assistant", "content": response}]
        text, last = self._last_turn(turns, response)
        spans = [*(self._earlier_turns(turns, text) if every_turn else ()), last]
        return self._learnt(text, spans)

    # -- rendering ----------------------------------------------------------------------------------------------------

    def _render(self, messages: Sequence[Message], *, prompt: bool) -> str:
        try:
            text: str = self.tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=prompt)
        except (TemplateError, ValueError, TypeError) as error:
            raise BadRow("chat_template", f"the chat template refuses the messages: {error}") from None
        return text

    def _keeps_system(self) -> bool:
        probe = [{"role": "system", "content": _CANARY}, {"role": "user", "content": "a"}]
        try:
            return _CANARY in self._render(probe, prompt=True)
        except BadRow:
            return False

    def _fold(self, messages: Sequence[Message]) -> list[Message]:
        """``messages`` as text only, the system's moved into the first turn where the template knows no system role.

        The text of a control token (``<|end|>`` in a user's turn) would become that token, and end the turn: a space is
        put into it, in training and in evaluation alike.
        """
        turns = [{"role": turn["role"], "content": self._neutral(turn["content"])} for turn in messages]
        if self._has_system or turns[0]["role"] != "system":
            return turns
        system, first, *later = turns
        text = f"{system['content']}\n\n{first['content']}" if system["content"].strip() else first["content"]
        return [{"role": first["role"], "content": text}, *later]

    def _forged(self, text: str) -> bool:
        return bool(self._control and self._control.search(text))

    def _neutral(self, text: str) -> str:
        return self._control.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text) if self._control else text

    def _last_turn(self, turns: list[Message], response: str) -> tuple[str, _Turn]:
        """The text to train on, and where the last turn of the assistant lies in it."""
        prompt, full = self._render(turns[:-1], prompt=True), self._render(turns, prompt=False)
        if full.startswith(prompt):
            for spelling in (response, response.strip()):
                if full.startswith(spelling, len(prompt)):
                    return full, _Turn(len(prompt), len(prompt), len(prompt) + len(spelling))
        begin, end = self._place(turns, full, response)
        if full.startswith(prompt):
            return full, _Turn(len(prompt), begin, end)
        # The template opens a turn for generation otherwise than it records one (an empty block of thoughts, say):
        # what follows the generation prompt is the response itself.
        return prompt + full[begin:], _Turn(len(prompt), len(prompt), len(prompt) + end - begin)

    def _place(self, turns: list[Message], full: str, response: str) -> tuple[int, int]:
        """Where the response stands in ``full``: between what surrounds any other response in its place."""
        probe = self._render([*turns[:-1], {"role": "assistant", "content": _CANARY}], prompt=False)
        before, _, after = probe.rpartition(_CANARY)
        begin, end = len(before), len(full) - len(after)
        fits = full.startswith(before) and full.endswith(after) and begin <= end
        if not fits or full[begin:end].strip() != response.strip():
            raise BadRow("chat_template", "the chat template does not repeat the response as it is")
        return begin, end

    def _earlier_turns(self, turns: list[Message], text: str) -> Iterable[_Turn]:
        cursor = 0
        for number, turn in enumerate(turns[:-1]):
            if turn["role"] != "assistant":
                continue
            before = self._render(turns[:number], prompt=True)
            start = len(before) if text.startswith(before) else None
            place = _find(text, turn["content"], cursor if start is None else start)
            if not place:
                raise BadRow("chat_template", f"the chat template does not repeat message {number + 1} as it is")
            yield _Turn(place[0] if start is None else start, *place)
            cursor = place[1]

    # -- tokens -------------------------------------------------------------------------------------------------------

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _offsets(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        if not self._fast:
            raise BadConfig("the tokenizer gives no character offsets (a fast tokenizer, tokenizer.json, is needed)")
        encoding = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return list(encoding["input_ids"]), list(encoding["offset_mapping"])

    def _learnt(self, text: str, turns: Sequence[_Turn]) -> Encoded:
        ids, offsets = self._offsets(text)
        learn = [False] * len(ids)
        limits = [turn.start for turn in turns[1:]] + [len(text) + 1]
        stop = None
        for number, (turn, limit) in enumerate(zip(turns, limits, strict=True), 1):
            places = [p for p, (begin, end) in enumerate(offsets) if p and end > turn.start and begin < limit]
            content = [p for p in places if offsets[p][0] < turn.end and offsets[p][1] > turn.content]
            self._check_content(ids, content)
            stop = next((p for p in places if offsets[p][0] >= turn.end and ids[p] in self.stop_ids), None)
            # An earlier turn without an end of its own: what stands between it and the next one is not the model's.
            ends = content if number < len(turns) else places
            last = stop if stop is not None else max(ends, default=-1)
            for place in places:
                learn[place] = place <= last
        if stop is None:
            return Encoded([*ids, min(self.stop_ids)], [*learn, True])
        return Encoded(ids[: stop + 1], learn[: stop + 1])

    def _check_content(self, ids: list[int], places: list[int]) -> None:
        for place in places:
            if ids[place] in self._special:
                raise BadRow("special_token", f"the response holds {self.tokenizer.decode([ids[place]])!r}")

    def _find_stops(self, eos_ids: Iterable[int]) -> frozenset[int]:
        """The ends of turns: the eos tokens, and the control token that the template writes after a response."""
        stops = {int(token) for token in eos_ids}
        if self.tokenizer.eos_token_id is not None:
            stops.add(int(self.tokenizer.eos_token_id))
        text = self._render([{"role": "user", "content": "a"}, {"role": "assistant", "content": _CANARY}], prompt=False)
        end = text.rfind(_CANARY) + len(_CANARY)
        after = self._tokens(text[end:].lstrip())[:1] if end >= len(_CANARY) else []
        stops |= set(after) & self._special
        if not stops:
            raise BadConfig("the tokenizer has no end-of-sequence token, and its chat template writes none")
        return frozenset(stops)


def _special_ids(tokenizer: Any) -> frozenset[int]:
    added = {int(token) for token, what in tokenizer.added_tokens_decoder.items() if what.special}
    unknown = {tokenizer.unk_token_id}
    return frozenset((added | set(tokenizer.all_special_ids)) - unknown)


def _control_text(tokenizer: Any) -> re.Pattern[str] | None:
    """The texts that the tokenizer reads as control tokens."""
    texts = {what.content for what in tokenizer.added_tokens_decoder.values() if what.special}
    texts = {text for text in texts | set(tokenizer.all_special_tokens) if len(text) > 1} - {tokenizer.unk_token}
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True)))) if texts else None


def _find(text: str, content: str, start: int) -> tuple[int, int] | None:
    """Where ``content`` stands in ``text`` from ``start`` on; without its outer spaces where the template cut those."""
    for spelling in (content, content.strip()):
        place = text.find(spelling, start)
        if place >= 0:
            return place, place + len(spelling)
    return None
