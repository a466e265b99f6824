"""One model that answers rows: greedily, in batches padded on the left, through its own chat template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import torch
from answers import Answer
from common.rows import BadRow, Row
from common.step import NotFinite
from modelling.chat import Chat
from modelling.models import eos_ids, load_model, load_tokenizer, weight_of
from transformers import GenerationConfig

#: Elements of a tensor that are hashed at a time.
_BLOCK = 1 << 24


@dataclass(frozen=True, slots=True)
class Prompt:
    """The text a model sees for a row; ``problem`` where its template refuses the row."""

    text: str
    problem: str = ""


class Generator:
    """A model, its tokenizer and chat template."""

    def __init__(
        self,
        source: str,
        device: str,
        dtype: Any,
        max_new_tokens: int,
        revision: str | None = None,
        what: str = "model",
    ) -> None:
        self.source, self.device, self.max_new_tokens = source, device, max_new_tokens
        self.tokenizer = load_tokenizer(source, revision, what)
        self.model = load_model(source, dtype, device, revision=revision, what=what)
        self.chat = Chat(self.tokenizer, eos_ids(self.model))
        self.positions = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        # What the model's own file asks for (sampling, penalties) does not count: all columns answer alike.
        self.model.generation_config = GenerationConfig()

    def prompt(self, row: Row) -> Prompt:
        """The prompt of a row."""
        try:
            return Prompt(self.chat.prompt(row["messages"]))
        except BadRow as bad:
            return Prompt("", bad.reason)

    def facts(self) -> dict[str, Any]:
        """Name, size, and the hash by which a comparison knows the same model again."""
        size, count = weight_of(self.model)
        digest = weights_digest(self.model)
        return {"model": self.source, "weights_bytes": size, "parameters": count, "weights_sha256": digest}

    def check_logits(self, prompts: Sequence[Prompt]) -> None:
        """Run the first prompt that fits. Raises NotFinite where a logit is NaN: the text would mean nothing."""
        for prompt in prompts:
            ids = self.tokenizer(prompt.text, add_special_tokens=False)["input_ids"]
            if prompt.problem or not ids or (self.positions and len(ids) > self.positions):
                continue
            with torch.inference_mode():
                logits = self.model(input_ids=torch.tensor([ids], device=self.device), use_cache=False).logits
            if logits.isnan().any():
                raise NotFinite(
                    f"'{self.source}' computes logits that are not numbers (NaN) in {str(logits.dtype)[6:]}: "
                    "its answers would mean nothing; try another dtype"
                )
            return

    def answer(self, prompts: Sequence[Prompt], at_most: int | None = None) -> list[Answer]:
        """The answers to a batch of prompts, at most ``max_new_tokens`` (or ``at_most``) tokens each."""
        answers = [Answer("", prompt.problem, 0) for prompt in prompts]
        ids = [self.tokenizer(prompt.text, add_special_tokens=False)["input_ids"] for prompt in prompts]
        for place, (prompt, tokens) in enumerate(zip(prompts, ids, strict=True)):
            if not prompt.problem and self.positions and len(tokens) >= self.positions:
                answers[place] = Answer("", "prompt_too_long", 0)
        # By room: a long prompt must not shorten the answers to the others in its batch.
        by_limit: dict[int, list[int]] = {}
        for place, answer in enumerate(answers):
            if not answer.finish_reason:
                by_limit.setdefault(self._room(len(ids[place]), at_most), []).append(place)
        for limit, places in by_limit.items():
            texts = self._generate([ids[place] for place in places], limit)
            for place, tokens in zip(places, texts, strict=True):
                answers[place] = self._read(tokens)
        return answers

    def _room(self, length: int, at_most: int | None) -> int:
        limit = at_most or self.max_new_tokens
        return min(limit, self.positions - length) if self.positions else limit

    def _generate(self, batch: Sequence[list[int]], limit: int) -> list[list[int]]:
        width, pad = max(map(len, batch)), self.chat.pad_id
        ids = torch.tensor([[pad] * (width - len(tokens)) + tokens for tokens in batch], device=self.device)
        mask = torch.tensor([[0] * (width - len(tokens)) + [1] * len(tokens) for tokens in batch], device=self.device)
        config = GenerationConfig(
            do_sample=False, max_new_tokens=limit, eos_token_id=sorted(self.chat.stop_ids), pad_token_id=pad
        )
        with torch.inference_mode():
            out = self.model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
        new: list[list[int]] = out[:, width:].tolist()
        return new

    def _read(self, tokens: list[int]) -> Answer:
        end = next((place for place, token in enumerate(tokens) if token in self.chat.stop_ids), None)
        text = self.tokenizer.decode(tokens if end is None else tokens[:end], skip_special_tokens=True)
        return Answer(text.strip(), "length" if end is None else "stop", len(tokens) if end is None else end + 1)


def weights_digest(model: Any) -> str:
    """sha256 over names, shapes and values of a model's tensors, as it answered with them.

    Taken of the loaded model, where all columns have one precision: in how many files the weights lie, where, and in
    which precision, makes no difference.
    """
    total = sha256()
    for name, tensor in sorted(model.state_dict().items()):
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        for block in tensor.detach().reshape(-1).split(_BLOCK):
            total.update(block.contiguous().view(torch.uint8).cpu().numpy())
    return total.hexdigest()
