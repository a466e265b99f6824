"""The sandbox's tokenizers, with a chat template of their own.

`word_tokenizer` has one token for each word of the world, each number up to 120 and each ASCII character: compact, and
enough for the world. `byte_tokenizer` has the 256 bytes and no merges: it takes any text and gives it back unchanged.
"""

from __future__ import annotations

import string
from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast
from world import TASKS, passages, task_rows
from world.words import LARGEST_NUMBER

PAD, UNKNOWN, SYSTEM, USER, ASSISTANT, END = SPECIALS = (
    *("<|pad|>", "<|unk|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
)
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] not in ['system', 'user', 'assistant'] -%}"
    "{{ raise_exception('unknown role: ' + message['role']) }}"
    "{%- endif -%}"
    "{{- '<|' + message['role'] + '|>' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{% generation %}{{- message['content'] + '<|end|>' -}}{% endgeneration %}"
    "{%- else -%}"
    "{{- message['content'] + '<|end|>' -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
SEEN_ROWS = 1500
"""Rows of each task that are looked through for words: many times what it takes to meet each word."""


def word_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of the world's own words; what it does not know it spells in characters."""
    splitter = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="always"), pre_tokenizers.Split(Regex(r"[^\w▁]"), "isolated")]
    )
    words = {piece for text in _texts() for piece, _ in splitter.pre_tokenize_str(text)}
    words |= {f"▁{number}" for number in range(LARGEST_NUMBER + 1)}
    characters = {"▁", "\n", *string.printable[:95]} - {" "}
    # Unigram takes the cheapest way to cut a word: a word of its own costs one, each of its characters ten.
    vocabulary = [(token, 0.0) for token in SPECIALS]
    vocabulary += [(word, -1.0) for word in sorted(words - characters)]
    vocabulary += [(character, -10.0) for character in sorted(characters)]
    tokenizer = Tokenizer(models.Unigram(vocabulary, unk_id=SPECIALS.index(UNKNOWN), byte_fallback=False))
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    return _finish(tokenizer, unknown=UNKNOWN)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of bytes: lossless for every text that is valid Unicode."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate((*SPECIALS, *alphabet))}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _finish(tokenizer, unknown=None)


def _texts() -> Iterable[str]:
    for task in TASKS:
        for row in task_rows(task, "train", SEEN_ROWS):
            yield from (message["content"] for message in row["messages"])
    yield from passages(SEEN_ROWS)


def _finish(tokenizer: Tokenizer, unknown: str | None) -> PreTrainedTokenizerFast:
    finished = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        unk_token=unknown,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        clean_up_tokenization_spaces=False,
        model_max_length=4096,
    )
    finished.chat_template = CHAT_TEMPLATE
    return finished
