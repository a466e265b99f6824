"""Evaluation: answers, metrics, times; columns measured alike and rows conserved."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from answers import Answer, latency_facts
from common.tasks import get_task
from lazily import Lazily
from scoring import Scorer, bootstrap, wilson
from text_metrics import corpus_bleu, density, macro_f1, token_f1
from tiny_models import BARE, save_tiny, sums, write_jsonl

torch = Lazily("torch")

# -- metrics against values made by hand -------------------------------------------------------------------------------


def test_token_f1_counts_shared_words_as_squad_does() -> None:
    assert token_f1("The Danube river", "danube") == pytest.approx(2 / 3)
    assert token_f1("blue", "red") == 0
    assert token_f1("", "") == 1


def test_macro_f1_weighs_labels_alike() -> None:
    pairs = np.asarray([["a", "a"], ["a", "a"], ["a", "b"], ["b", "b"]])
    assert macro_f1(pairs) == pytest.approx((2 * 2 / (3 + 2) + 2 * 1 / (1 + 2)) / 2)
    assert macro_f1(np.asarray([["a", "None"], ["b", "b"]])) == pytest.approx(0.5)


def test_density_is_the_sum_of_squared_copies_over_the_words() -> None:
    assert density("the cat sat on the mat", "the cat sat") == pytest.approx(9 / 3)
    assert density("the cat sat on the mat", "mat dogs cat") == pytest.approx(2 / 3)
    assert density("some text", "") == 0


def test_bleu_is_a_fraction_with_an_interval_around_it() -> None:
    texts = [f"the cat number {n} sat on the mat" for n in range(20)]
    wrong = [text if n % 2 else "nothing of the sort at all" for n, text in enumerate(texts)]
    assert corpus_bleu(texts, texts, 100)[0] == pytest.approx(1)
    value, (low, high) = corpus_bleu(wrong, texts, 100)
    assert 0 < low < value < high < 1


@pytest.mark.parametrize(
    ("right", "rows", "low", "high"),
    [(10, 10, 0.7225, 1.0), (0, 10, 0.0, 0.2775), (15, 20, 0.5313, 0.8881), (395, 400, 0.9711, 0.9946)],
)
def test_the_interval_of_a_share_is_wilsons_also_where_all_rows_are_alike(
    right: int, rows: int, low: float, high: float
) -> None:
    assert wilson(right, rows) == pytest.approx([low, high], abs=2e-4)


def test_intervals_are_those_of_resampled_rows() -> None:
    right = np.asarray([1.0] * 80 + [0.0] * 20)
    value, (low, high) = bootstrap(lambda draw: float(right[draw].mean()), 100, 1)
    assert value == 0.8
    # Normal approximation: 0.8 +- 1.96 * sqrt(0.8 * 0.2 / 100) = 0.722 to 0.878.
    assert low == pytest.approx(0.722, abs=0.02)
    assert high == pytest.approx(0.878, abs=0.02)


def test_latency_is_a_median_and_a_percentile() -> None:
    facts = latency_facts([10.0, 20.0, 30.0, 40.0, 1000.0])
    assert facts["latency_ms_p50"] == 30
    assert facts["latency_ms_p95"] == pytest.approx(808)
    assert latency_facts([])["latency_ms_p50"] is None


def row(number: int, prompt: str, reference: str | None = None) -> dict[str, Any]:
    made: dict[str, Any] = {"id": f"{number:016x}", "messages": [{"role": "user", "content": prompt}]}
    return made | ({"reference": reference} if reference is not None else {})


def answers(*texts: str) -> list[Answer]:
    return [Answer(text, "stop", len(text.split())) for text in texts]


def test_accuracy_and_agreement_are_counted_on_their_own_rows() -> None:
    rows = [row(1, "2+2?", "4"), row(2, "3+3?", "6"), row(3, "1+1?", "2")]
    teacher = [*answers("The answer is 4", "The answer is 7"), Answer("", "missing", 0)]
    scorer = Scorer(get_task("math"), rows, teacher, 0)
    predictions, scores = scorer.score(answers("4", "7", "2"))
    assert [line["correct"] for line in predictions] == [True, False, True]
    assert scores["accuracy"] == pytest.approx(2 / 3)
    assert scores["agreement_with_teacher"] == 1
    lines, teacher_scores = scorer.score(teacher)
    assert (len(lines), teacher_scores["rows"], teacher_scores["missing"]) == (3, 2, 1)
    assert teacher_scores["accuracy"] == pytest.approx(1 / 2)
    assert lines[2]["correct"] is None
    assert "agreement_with_teacher" not in teacher_scores


def test_without_references_quality_is_null_and_agreement_is_not() -> None:
    rows = [row(1, "2+2?"), row(2, "3+3?")]
    _, scores = Scorer(get_task("math"), rows, answers("4", "6"), 0).score(answers("4", "5"))
    assert scores["accuracy"] is None
    assert scores["agreement_with_teacher"] == 0.5


def test_a_task_of_texts_has_bleu_and_rouge_and_no_accuracy() -> None:
    gold = "the mayor opened the new bridge on monday"
    rows = [row(1, "Summarise: " + "the mayor opened the new bridge on monday after years of work " * 3, gold)] * 2
    predictions, scores = Scorer(get_task("summarization"), rows, None, 0).score(answers(gold, "nothing to say here"))
    assert scores["accuracy"] is None
    assert scores["rougeL"] == pytest.approx(0.5, abs=0.05)
    assert predictions[0]["rougeL"] == 1
    assert {"bleu", "rouge1", "rouge2", "compression_ratio", "density"} <= set(scores)
    assert 0 <= scores["ci"]["rougeL"][0] <= scores["rougeL"] <= scores["ci"]["rougeL"][1] <= 1


def test_labels_have_a_macro_f1() -> None:
    rows = [row(n, "p", label) for n, label in enumerate(["entailment", "neutral", "contradiction", "neutral"])]
    _, scores = Scorer(get_task("nli"), rows, None, 0).score(answers("entailment", "neutral", "neutral", "neutral"))
    assert scores["accuracy"] == 0.75
    assert scores["macro_f1"] == pytest.approx((1 + 2 * 2 / 5 + 0) / 3)


# -- generation --------------------------------------------------------------------------------------------------------


def test_answers_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    from generating import Generator

    model = Generator(str(save_tiny(tmp_path / "model", seed=4)), "cpu", torch.float32, 12)
    prompts = [model.prompt(made) for made in sums(9)]
    assert len({len(prompt.text) for prompt in prompts}) > 2
    assert model.answer(prompts) == [model.answer([prompt])[0] for prompt in prompts]


def test_a_prompt_longer_than_the_model_reads_is_an_answer_that_failed(tmp_path: Path) -> None:
    from generating import Generator

    model = Generator(str(save_tiny(tmp_path / "model")), "cpu", torch.float32, 12)
    long, short = (model.prompt(row(1, text)) for text in ("x" * 600, "x"))
    found = model.answer([long, short])
    assert found[0] == Answer("", "prompt_too_long", 0)
    assert found[1].tokens > 0


def test_a_long_prompt_does_not_shorten_the_answers_of_its_batch(tmp_path: Path) -> None:
    from generating import Generator

    model = Generator(str(save_tiny(tmp_path / "model", seed=4)), "cpu", torch.float32, 12)
    model.chat.stop_ids = frozenset({267})
    room = 3
    empty = len(model.tokenizer(model.prompt(row(1, "")).text, add_special_tokens=False)["input_ids"])
    prompts = [model.prompt(row(1, text)) for text in ("x" * (model.positions - room - empty), "y", "z" * 40)]
    found = model.answer(prompts)
    assert [answer.tokens for answer in found] == [room, 12, 12]
    assert found == [model.answer([prompt])[0] for prompt in prompts]


def test_models_take_turns_in_an_order_that_rotates_after_a_warm_up() -> None:
    from types import SimpleNamespace

    from measuring import WARM_UP, _batched, _latencies

    asked: list[tuple[str, int]] = []

    def model(name: str) -> Any:
        def answer(prompts: Sequence[Any], at_most: int | None = None) -> list[Answer]:
            asked.append((name, len(prompts)))
            return [Answer("", "stop", 1)] * len(prompts)

        return SimpleNamespace(answer=answer)

    models = {name: model(name) for name in "abc"}
    prompts = dict.fromkeys(models, [SimpleNamespace(text="x")] * 4)
    times = _latencies(models, prompts, [0, 1, 2, 3])
    assert "".join(name for name, _ in asked) == "abc" * WARM_UP + "abc" + "bca" + "cab" + "abc"
    assert {len(found) for found in times.values()} == {4}, "the warm-up is not timed"
    asked.clear()
    _batched(models, prompts, 2)
    assert asked == [(name, 2) for name in "abc" + "abc" + "bca"]


def test_rows_that_a_model_cannot_read_count_for_no_ones_times() -> None:
    from argparse import Namespace
    from types import SimpleNamespace

    from measuring import _latencies, _rates

    def model(*reasons: str) -> Any:
        return SimpleNamespace(answer=lambda prompts: [Answer("", reasons[prompt], 1) for prompt in prompts])

    models = {"one": model("stop", "length", "stop"), "two": model("stop", "prompt_too_long", "chat_template")}
    times = _latencies(models, dict.fromkeys(models, range(3)), [0, 1, 2])
    assert {name: len(found) for name, found in times.items()} == {"one": 1, "two": 1}
    answers = [Answer("a", "stop", 2), Answer("b", "length", 4), Answer("", "prompt_too_long", 0)]
    rates = _rates(answers, 2.0, [5.0], Namespace(seed=0))
    assert (rates["throughput"], rates["tokens_per_second"]) == (1.0, 3.0)


def test_the_hash_of_weights_is_of_what_they_hold_and_not_of_their_files(tmp_path: Path) -> None:
    from generating import Generator
    from transformers import AutoModelForCausalLM

    one = save_tiny(tmp_path / "one", seed=4)
    model = AutoModelForCausalLM.from_pretrained(one)

    def digest(folder: Path) -> str:
        found: str = Generator(str(folder), "cpu", torch.float32, 4).facts()["weights_sha256"]
        return found

    copies = {"moved": {}, "shards": {"max_shard_size": "20KB"}}
    for name, how in copies.items():
        shutil.copytree(one, tmp_path / name, ignore=shutil.ignore_patterns("*.safetensors*"))
        model.save_pretrained(tmp_path / name, **how)
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 1
    assert digest(one) == digest(tmp_path / "moved") == digest(tmp_path / "shards")
    assert digest(one) != digest(save_tiny(tmp_path / "two", seed=5))


def test_weights_in_another_precision_of_the_same_values_have_the_same_hash(tmp_path: Path) -> None:
    from generating import Generator
    from transformers import AutoModelForCausalLM

    half = save_tiny(tmp_path / "half", seed=4)
    AutoModelForCausalLM.from_pretrained(half, dtype=torch.bfloat16).save_pretrained(half)
    whole = Path(shutil.copytree(half, tmp_path / "whole"))
    AutoModelForCausalLM.from_pretrained(half, dtype=torch.float32).save_pretrained(whole)
    assert (half / "model.safetensors").stat().st_size < (whole / "model.safetensors").stat().st_size
    found = {Generator(str(folder), "cpu", torch.float32, 4).facts()["weights_sha256"] for folder in (half, whole)}
    assert len(found) == 1


# -- the step ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "teacher_weights": save_tiny(folder / "teacher", seed=1, hidden=64),
        "baseline_weights": save_tiny(folder / "baseline", template=BARE),
        "distilled": save_tiny(folder / "distilled", seed=3),
    }


def results(made: Any, column: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    folder = made.outputs["results"] / column
    lines = (folder / "predictions.jsonl").read_text().splitlines()
    return json.loads((folder / "metrics.json").read_text()), [json.loads(line) for line in lines]


SETTINGS = {"task_type": "math", "max_new_tokens": 6, "batch_size": 4, "latency_rows": 3}


@pytest.mark.slow
def test_columns_are_measured_alike_and_keep_every_row(
    component: Callable[..., Any], models: dict[str, Path], tmp_path: Path
) -> None:
    rows = sums(10)
    made = component("evaluate").run(SETTINGS | models | {"test_rows": write_jsonl(tmp_path / "test.jsonl", rows)})
    assert made.returncode == 0, made.stderr
    found = {name: results(made, name) for name in ("teacher", "baseline", "distilled")}
    for name, (metrics, predictions) in found.items():
        assert [line["id"] for line in predictions] == [line["id"] for line in rows]
        assert metrics["column"] == name
        assert metrics["rows"] == 10
        assert metrics["source"] == "weights"
        assert metrics["accuracy"] == pytest.approx(sum(line["correct"] for line in predictions) / 10)
        assert 0 < metrics["latency_ms_p50"] <= metrics["latency_ms_p95"]
        assert metrics["throughput"] > 0
        assert metrics["latency_rows"] == 3
    assert len({metrics["timing_group"] for metrics, _ in found.values()}) == 1
    teacher, baseline = found["teacher"][0], found["baseline"][0]
    assert teacher["parameters"] > baseline["parameters"]
    assert len({metrics["weights_sha256"] for metrics, _ in found.values()}) == 3
    assert teacher["weights_bytes"] == 4 * teacher["parameters"]
    assert "agreement_with_teacher" in baseline or all(not line["answer"] for line in found["teacher"][1])
    assert made.metric("teacher.parameters") == teacher["parameters"]


@pytest.mark.slow
def test_a_teacher_behind_an_endpoint_is_scored_from_its_rows(
    component: Callable[..., Any], models: dict[str, Path], tmp_path: Path
) -> None:
    rows = sums(6)
    extra = {"teacher": "big-model", "finish_reason": "stop", "usage": {"completion_tokens": 4}, "status": "ok"}
    answered = [made | extra | {"latency": 0.1 * (n + 1)} for n, made in enumerate(rows[:5])]
    made = component("evaluate").run(
        SETTINGS | {
            "test_rows": write_jsonl(tmp_path / "test.jsonl", rows),
            "teacher_rows": write_jsonl(tmp_path / "answered.jsonl", answered),
            "distilled": models["distilled"],
        }
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    metrics, predictions = results(made, "teacher")
    assert (metrics["source"], metrics["model"], metrics["weights_bytes"]) == ("endpoint", "big-model", None)
    assert (metrics["rows"], metrics["missing"], len(predictions)) == (5, 1, 6)
    assert metrics["accuracy"] == 1
    assert metrics["latency_ms_p50"] == pytest.approx(300)
    assert predictions[5]["finish_reason"] == "missing"


BAD = [
    pytest.param({}, 78, "nothing to evaluate", id="no-column"),
    pytest.param({"distilled": "nowhere"}, 66, "no such folder", id="not-a-model"),
    pytest.param({"distilled": "MODEL", "max_new_tokens": 0}, 78, "max_new_tokens", id="no-tokens"),
    pytest.param({"distilled": "MODEL", "test_rows": "EMPTY"}, 65, "holds no rows", id="empty"),
    pytest.param({"distilled": "MODEL", "task_type": "poetry"}, 78, "poetry", id="unknown-task"),
]


@pytest.mark.parametrize(("change", "code", "text"), BAD)
def test_bad_input_ends_with_a_clear_error(
    component: Callable[..., Any],
    models: dict[str, Path],
    tmp_path: Path,
    change: dict[str, Any],
    code: int,
    text: str,
) -> None:
    places = {"MODEL": models["distilled"], "EMPTY": write_jsonl(tmp_path / "empty.jsonl", [])}
    given = SETTINGS | {"test_rows": write_jsonl(tmp_path / "test.jsonl", sums(2))}
    ended = component("evaluate").run(given | {key: places.get(str(value), value) for key, value in change.items()})
    assert ended.returncode == code, ended.stderr
    assert text in ended.stderr
    assert "Traceback" not in ended.stderr
