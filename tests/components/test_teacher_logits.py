"""Storing a teacher's distributions, and training on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from common.step import BadConfig
from lazily import Lazily
from modelling.chat import Chat
from modelling.logit_store import LogitStore
from tiny_models import LLAMA3, save_tiny, sums, tiny_model, tiny_tokenizer, write_jsonl

torch = Lazily("torch")
teacher_scoring = Lazily("teacher_scoring")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    # The teacher's own template differs: rows are read with the student's.
    teacher = save_tiny(folder / "teacher", seed=1, hidden=48, vocabulary=272, template=LLAMA3)
    return teacher, save_tiny(folder / "student")


@pytest.mark.slow
def test_stored_distributions_are_the_teachers_and_train_a_student(
    component: Callable[..., Any], models: tuple[Path, Path], tmp_path: Path
) -> None:
    teacher, student = models
    rows, validation = sums(30), sums(6, seed=5)
    files = {"rows": write_jsonl(tmp_path / "rows.jsonl", rows)}
    files["validation_rows"] = write_jsonl(tmp_path / "validation.jsonl", validation)
    both = {"student_weights": student, "distillation_temperature": 1.5}
    made = component("teacher_logits").run(files | both | {"teacher_weights": teacher, "top_k": 9, "batch_size": 4})
    assert made.returncode == 0, made.stderr
    assert made.summary["splits"]["train"] == {"in": 30, "kept": 30, "rejected": 0, "reasons": {}}
    assert made.summary["temperatures"] == [1.0, 1.5, 2.0, 3.0, 4.0, 5.0]
    assert made.summary["vocabulary"] == 268

    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(teacher)
    store = LogitStore(made.outputs["logits"], 1.5)
    chat = Chat(tiny_tokenizer())
    for row in (rows[0], rows[17], validation[3]):
        encoded = chat.encode(row["messages"], row["response"])
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([encoded.ids])).logits[0, :, :268]
        before = [place - 1 for place, learn in enumerate(encoded.learn) if learn]
        expected = torch.log_softmax(logits[before], -1)
        found = store.get(row["id"], encoded.ids)
        assert found.ids.tolist() == expected.topk(9).indices.tolist()
        assert torch.allclose(torch.from_numpy(found.logprobs).float(), expected.topk(9).values, atol=5e-3)
        rest = expected.scatter(-1, expected.topk(9).indices, float("-inf"))
        assert torch.allclose(torch.from_numpy(found.tails.copy()), torch.logsumexp(rest / 1.5, -1), atol=1e-4)

    trained = component("finetune_student").run(
        files | both | {"method": "logits", "logits": made.outputs["logits"], "learning_rate": 0.01, "num_epochs": 3}
    )
    assert trained.returncode == 0, trained.stderr
    losses = [line["value"] for line in trained.metrics if line.get("name") == "validation_loss"]
    assert losses[-1] < losses[0]

    changed = [{**rows[0], "response": rows[0]["response"] + "!"}, *rows[1:]]
    files["rows"] = write_jsonl(tmp_path / "changed.jsonl", changed)
    refused = component("finetune_student").run(files | both | {"method": "logits", "logits": made.outputs["logits"]})
    assert refused.returncode == 65
    assert "belong to other tokens" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_teachers_of_another_vocabulary_are_refused() -> None:
    other = tiny_tokenizer()
    other.add_tokens(["<new>"])
    with pytest.raises(BadConfig, match=r"1 tokens differ, the first is '<new>' \(268 in the teacher's, absent"):
        teacher_scoring.check_same_tokens(other, tiny_tokenizer())
    teacher_scoring.check_same_tokens(tiny_tokenizer(LLAMA3), tiny_tokenizer())


def test_a_teacher_that_cannot_predict_every_token_is_refused() -> None:
    with pytest.raises(BadConfig, match="predicts 200 tokens, the tokenizer has 268"):
        teacher_scoring.check_vocabulary(tiny_model(200), 268)
    teacher_scoring.check_vocabulary(tiny_model(272), 268)


@pytest.mark.slow
def test_a_folder_without_stored_logits_is_refused(
    component: Callable[..., Any], models: tuple[Path, Path], tmp_path: Path
) -> None:
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(4))
    (tmp_path / "logits").mkdir()
    (tmp_path / "logits" / "logits.json").write_text(json.dumps({"rows": {}}))
    ended = component("finetune_student").run(
        {"rows": rows, "student_weights": models[1], "method": "logits", "logits": tmp_path / "logits"}
    )
    assert ended.returncode == 66
    assert "no stored logits" in ended.stderr
