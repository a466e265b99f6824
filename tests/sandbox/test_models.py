"""The sandbox's models: real folders that load offline, small enough to ship."""

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lazily import Lazily
from world import TASKS, task_rows

CHAT = [
    {"role": "system", "content": "You are kind."},
    {"role": "user", "content": "How many apples?"},
    {"role": "assistant", "content": "2 apples."},
]
LARGEST = 6_000_000
SANDBOX = Path(__file__).parents[2] / "examples" / "sandbox"
SHIPPED = ("teacher", "student", "student_bytes")

transformers = Lazily("transformers")
tokenizers = Lazily("tokenizer")


@functools.cache
def byte_tokenizer() -> Any:
    return tokenizers.byte_tokenizer()


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_folder_loads_and_its_tokens_are_set(name):
    model = transformers.AutoModelForCausalLM.from_pretrained(SANDBOX / name)
    tokenizer = transformers.AutoTokenizer.from_pretrained(SANDBOX / name)
    assert type(model).__name__ == "LlamaForCausalLM"
    assert model.config.vocab_size == len(tokenizer)
    assert tokenizer.eos_token == "<|end|>"
    assert tokenizer.pad_token != tokenizer.eos_token
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id
    rendered = tokenizer.apply_chat_template(CHAT, tokenize=False)
    assert rendered == ("<|system|>You are kind.<|end|><|user|>How many apples?<|end|><|assistant|>2 apples.<|end|>")
    prompt = tokenizer.apply_chat_template(CHAT[:2], tokenize=False, add_generation_prompt=True)
    assert rendered.startswith(prompt)
    assert prompt.endswith("<|assistant|>")


def test_every_folder_that_is_shipped_is_tried():
    assert Lazily("make_models").SHIPPED == SHIPPED


def test_the_weights_that_are_shipped_are_a_few_megabytes():
    sizes = [path.stat().st_size for name in SHIPPED for path in (SANDBOX / name).rglob("*") if path.is_file()]
    assert len(sizes) >= 4 * len(SHIPPED)
    assert sum(sizes) < LARGEST


def test_the_student_is_a_small_part_of_the_teacher():
    sizes = {name: (SANDBOX / name / "model.safetensors").stat().st_size for name in ("teacher", "student")}
    assert sizes["student"] < sizes["teacher"] / 10


def test_teacher_and_student_read_the_same_tokens():
    vocabularies = [json.loads((SANDBOX / name / "tokenizer.json").read_text()) for name in ("teacher", "student")]
    assert vocabularies[0]["model"] == vocabularies[1]["model"]
    assert vocabularies[0]["model"] == json.loads(tokenizers.word_tokenizer().backend_tokenizer.to_str())["model"]


@pytest.mark.parametrize("task", TASKS)
def test_the_words_of_the_world_are_one_token_each_and_come_back(task):
    tokenizer = transformers.AutoTokenizer.from_pretrained(SANDBOX / "student")
    for row in task_rows(task, "test", 100, 1):
        for message in row["messages"]:
            tokens = tokenizer(message["content"])["input_ids"]
            assert tokenizer.decode(tokens) == message["content"]
            assert len(tokens) <= len(message["content"].split()) + sum(not c.isalnum() for c in message["content"])


def test_a_word_that_is_not_of_the_world_is_spelt():
    tokenizer = tokenizers.word_tokenizer()
    assert tokenizer.decode(tokenizer("A xylophone costs 345.")["input_ids"]) == "A xylophone costs 345."


@settings(max_examples=300)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_the_byte_tokenizer_gives_any_text_back(text):
    assert byte_tokenizer().decode(byte_tokenizer()(text, split_special_tokens=True)["input_ids"]) == text


def test_an_unknown_role_is_refused():
    with pytest.raises(Exception, match="unknown role: tool"):
        byte_tokenizer().apply_chat_template([{"role": "tool", "content": "x"}], tokenize=False)


def test_the_teacher_answers_word_problems_and_the_student_does_not():
    from training import accuracy

    rows = task_rows("math", "validation", 60, 11)
    right = {}
    for name in ("teacher", "student"):
        model = transformers.AutoModelForCausalLM.from_pretrained(SANDBOX / name, dtype="float32")
        right[name] = accuracy(model, transformers.AutoTokenizer.from_pretrained(SANDBOX / name), rows)
    assert right["teacher"] >= 0.85
    assert right["student"] <= 0.1
