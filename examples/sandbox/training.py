"""How the sandbox's models learn: what they read, in which batches, for how many steps."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

IGNORED = -100
POOL = 8
"""Batches drawn together and sorted by length, so that little of a batch is padding."""


class Shape(NamedTuple):
    """The size of a Llama."""

    width: int
    layers: int
    heads: int
    feed_forward: int


class Lesson(NamedTuple):
    """One sequence of tokens and what is learnt of it: `labels` are IGNORED where nothing is."""

    tokens: list[int]
    labels: list[int]


def new_model(shape: Shape, tokenizer: PreTrainedTokenizerFast, seed: int) -> LlamaForCausalLM:
    """A Llama with random weights from `seed`, its configuration fitted to the tokenizer."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.width,
        intermediate_size=shape.feed_forward,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        initializer_range=0.04,
    )
    # Sequences are short here: the plain form of attention trains faster on a CPU than the fused one.
    return LlamaForCausalLM._from_config(config, attn_implementation="eager")


def load(folder: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """A model folder's model, in float32, and tokenizer."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(folder)


def chat_lessons(tokenizer: PreTrainedTokenizerFast, rows: list[dict]) -> list[Lesson]:
    """Rows of a task: only the assistant's last turn is learnt."""
    whole = [tokenizer.apply_chat_template(row["messages"], tokenize=False) for row in rows]
    asked = [
        tokenizer.apply_chat_template(row["messages"][:-1], tokenize=False, add_generation_prompt=True) for row in rows
    ]
    lessons = []
    for tokens, prompt in zip(tokenizer(whole)["input_ids"], tokenizer(asked)["input_ids"], strict=True):
        assert tokens[: len(prompt)] == prompt
        lessons.append(Lesson(tokens, [IGNORED] * len(prompt) + tokens[len(prompt) :]))
    return lessons


def prose_lessons(tokenizer: PreTrainedTokenizerFast, passages: list[str]) -> list[Lesson]:
    """Plain text: every token is learnt."""
    return [Lesson(tokens, list(tokens)) for tokens in tokenizer(passages)["input_ids"]]


def batches(sources: list[tuple[list[Lesson], float]], size: int, seed: int) -> Iterator[tuple[torch.Tensor, ...]]:
    """Endless batches of token ids and labels, the lessons of each source as frequent as its weight says."""
    random = Random(seed)
    lessons, weights = zip(*sources, strict=True)
    while True:
        drawn = [random.choice(source) for source in random.choices(lessons, weights, k=size * POOL)]
        drawn.sort(key=lambda lesson: len(lesson.tokens))
        groups = [drawn[start : start + size] for start in range(0, len(drawn), size)]
        random.shuffle(groups)
        yield from map(_collate, groups)


def _collate(group: list[Lesson]) -> tuple[torch.Tensor, ...]:
    # Padding stands on the right, where a causal model cannot see it from any real token: no mask is needed.
    length = max(len(lesson.tokens) for lesson in group)
    tokens = torch.zeros(len(group), length, dtype=torch.long)
    labels = torch.full((len(group), length), IGNORED)
    for index, lesson in enumerate(group):
        tokens[index, : len(lesson.tokens)] = torch.tensor(lesson.tokens)
        labels[index, : len(lesson.labels)] = torch.tensor(lesson.labels)
    return tokens, labels


def train(
    model: LlamaForCausalLM,
    source: Iterator[tuple[torch.Tensor, ...]],
    steps: int,
    learning_rate: float,
    warmup: int = 50,
    weight_decay: float = 0.05,
    report_every: int = 100,
) -> None:
    """AdamW with a linear warm-up and a cosine down to a twentieth; arithmetic in bfloat16, weights in float32."""
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=learning_rate, betas=(0.9, 0.98), weight_decay=weight_decay, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, 0.05 + 0.475 * (1 + math.cos(math.pi * step / steps)))
    )
    model.train()
    started, total = time.monotonic(), 0.0
    for step in range(1, steps + 1):
        tokens, labels = next(source)
        with torch.autocast("cpu", torch.bfloat16):
            hidden = model.model(input_ids=tokens).last_hidden_state[:, :-1]
            learnt = labels[:, 1:] != IGNORED
            # Only learnt positions go through the output layer: most of a chat row is its question.
            logits = model.lm_head(hidden[learnt])
        loss = torch.nn.functional.cross_entropy(logits.float(), labels[:, 1:][learnt])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()
        total += loss.item()
        if step % report_every == 0:
            print(
                f"  step {step}/{steps} loss {total / report_every:.4f} {time.monotonic() - started:.0f} s", flush=True
            )
            total = 0.0
    model.eval()


@torch.inference_mode()
def answers(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: list[dict], batch_size: int = 256
) -> list[str]:
    """What the model answers to each row's conversation, greedily."""
    tokenizer.padding_side = "left"
    found = []
    for start in range(0, len(rows), batch_size):
        asked = [
            tokenizer.apply_chat_template(row["messages"][:-1], tokenize=False, add_generation_prompt=True)
            for row in rows[start : start + batch_size]
        ]
        batch = tokenizer(asked, return_tensors="pt", padding=True)
        batch.pop("token_type_ids", None)
        made = model.generate(**batch, do_sample=False, max_new_tokens=48)
        found += tokenizer.batch_decode(made[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return found


def accuracy(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, rows: list[dict]) -> float:
    """The fraction of rows whose final answer (what follows `####`, else the whole text) is the gold one."""
    made = answers(model, tokenizer, rows)
    golds = [row["messages"][-1]["content"] for row in rows]
    return sum(_final(one) == _final(gold) for one, gold in zip(made, golds, strict=True)) / len(rows)


def _final(text: str) -> str:
    return text.rpartition("####")[2].strip()
