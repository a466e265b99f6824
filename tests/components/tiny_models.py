"""Tiny random models and tokenizers with the chat templates that matter, made on the fly."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{{ '<|begin|>' }}{% for m in messages %}"
    "{{ '<|head|>' + m['role'] + '<|/head|>\n\n' + m['content'] | trim + '<|eot|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|head|>assistant<|/head|>\n\n' }}{% endif %}"
)
#: No system role, spaces cut, the eos token written at the very end only (as Phi-4-mini's template does).
NO_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{{ '<|' + m['role'] + '|>' + (m['content'] | trim) + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"
)
#: The turn is opened for generation otherwise than it is recorded.
THINKING = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n<think>\n\n</think>\n\n' }}{% endif %}"
)
#: Nothing at all ends a turn.
BARE = (
    "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)

CONTROL = [
    "<pad>", "<eos>", "<|im_start|>", "<|im_end|>", "<|begin|>", "<|head|>", "<|/head|>", "<|eot|>", "<|system|>",
    "<|user|>", "<|assistant|>", "<|end|>",
]  # fmt: skip


def tiny_tokenizer(template: str | None = CHATML, eos: str = "<|im_end|>") -> Any:
    """A byte-level tokenizer (any text, exact round trips)."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*CONTROL, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token=eos, additional_special_tokens=CONTROL[2:]
    )
    fast.chat_template = template
    return fast


def tiny_model(vocabulary: int = 268, *, seed: int = 0, tied: bool = True, layers: int = 2, hidden: int = 32) -> Any:
    """A random Llama of a few thousand parameters."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=tied,
        pad_token_id=0, eos_token_id=3, bos_token_id=None, initializer_range=0.2,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def save_tiny(folder: Path, *, seed: int = 0, template: str | None = CHATML, **model: Any) -> Path:
    """A model folder: weights, configuration, tokenizer, chat template."""
    tiny_model(seed=seed, **model).save_pretrained(folder)
    tiny_tokenizer(template).save_pretrained(folder)
    return folder


def sums(count: int, *, seed: int = 0, system: bool = True) -> list[dict[str, Any]]:
    """Teacher rows: sums of one-digit numbers, in texts of different lengths."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        a, b = draw.randint(0, 9), draw.randint(0, 9)
        turns = [{"role": "user", "content": f"What is {a} and {b}{' please' * draw.randint(0, 3)}?"}]
        if system:
            turns.insert(0, {"role": "system", "content": "Add."})
        response = "Answer: " * draw.randint(1, 3) + str(a + b)
        row_id = f"{draw.getrandbits(64):016x}"
        rows.append({"id": row_id, "messages": turns, "reference": str(a + b), "response": response})
    return rows


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    """A file of rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
