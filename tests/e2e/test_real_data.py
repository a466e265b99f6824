"""Real data goes through the whole pipeline: Microsoft's five sample sets, and GSM8K with a teacher that fails."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from program import SANDBOX, Ended, Program, read_jsonl

# Any text is a sequence of bytes to this student, so that data nobody made for the sandbox can be learnt from.
STUDENT = SANDBOX / "student_bytes"
QUICK = (
    "--set",
    f"student.model={STUDENT}",
    "--set",
    "num_epochs=1",
    "--set",
    "batch_size=16",
    "--set",
    "latency_rows=2",
)
SHORT = ("--set", "evaluation.max_new_tokens=8")
TASKS = ("conversation", "math", "nli", "nlu_qa", "summarization")


def pick(messages: list[dict[str, str]], choices: list[str]) -> str:
    """One of ``choices``, the same for the same conversation."""
    digest = hashlib.sha256(json.dumps(messages).encode()).digest()
    return choices[digest[0] % len(choices)]


def answer_sample(messages: list[dict[str, str]]) -> str:
    """What a teacher could say to a row of the samples, in the form that its system message asks for."""
    system = messages[0]["content"] if messages[0]["role"] == "system" else ""
    user = messages[-1]["content"]
    if "Premise:" in user:
        said = pick(messages, ["entailment", "contradiction", "neutral"])
    elif "Answer Choices:" in user:
        said = pick(messages, list("ABCDE"))
    elif "Question:" in user:
        said = str(len(user))
    else:
        said = "In short: " + " ".join(user.split()[5:25])
    if "Denser_Summary" in system:
        return json.dumps([{"Missing_Entities": "", "Denser_Summary": said}] * 4)
    if '"answer_choice"' in system or '"answer"' in system:
        key = "answer_choice" if '"answer_choice"' in system else "answer"
        return json.dumps({"reasoning": "Because it says so.", key: said})
    return said


def assert_rows_are_conserved(ended: Ended, *steps: str) -> None:
    """In each step that takes rows and gives rows: in = kept + rejected."""
    summaries = ended.summaries()
    for step in steps:
        for split, counts in summaries[step]["splits"].items():
            assert counts["in"] == counts["kept"] + counts["rejected"], (step, split, counts)
            assert sum(counts["reasons"].values()) == counts["rejected"], (step, split, counts)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_a_sample_set_of_microsoft_runs_unchanged(
    task: str, program: Program, teacher: Callable[..., Any], shared: Path
) -> None:
    folder = shared / "azureml-distillation" / task
    serving = teacher(answer_sample)
    # The training file of this sample is missing at its source.
    missing = ("--set", f"training_data={folder}/validation_summarization.jsonl") if task == "summarization" else ()
    few = ("--set", "data.max_training_rows=16", "--set", "data.max_test_rows=8", "--set", "evaluation.gold_sft=false")
    ended = program.run(
        folder / f"distillation_{task}.yaml", "--set", f"teacher.endpoint={serving.url}", *missing, *QUICK, *SHORT, *few
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert_rows_are_conserved(ended, "prepare", "teacher", "curate")
    comparison = ended.comparison()
    assert comparison["rows"] == ended.summaries()["prepare"]["rows"]["test"] > 5
    assert comparison["distilled"]["weights_bytes"] > 0
    assert (ended.output("model") / "model.safetensors").exists()
    assert "EXAMPLE_API_KEY" not in json.dumps(serving.requests)


def test_the_missing_training_file_of_the_summarization_sample_is_a_clear_error(program: Program, shared: Path) -> None:
    ended = program.run(shared / "azureml-distillation/summarization/distillation_summarization.yaml")
    assert ended.returncode == 2
    assert "train_summarization.jsonl" in ended.stderr
    assert "distillation_summarization.yaml:14" in ended.stderr


@pytest.mark.slow
def test_five_hundred_rows_of_gsm8k_survive_a_teacher_that_fails_now_and_then(
    program: Program, teacher: Callable[..., Any], shared: Path
) -> None:
    gold = {row["question"]: row["answer"] for row in read_jsonl(shared / "gsm8k" / "train.jsonl")[:500]}
    data = program.folder / "gsm8k.jsonl"
    data.write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in gold.items()))
    recipe = program.folder / "recipe.yml"
    recipe.write_text(
        "task: math\nteacher:\n  model: gold\n  endpoint: http://127.0.0.1:1\n"
        f"student: {STUDENT}\ndata:\n  training_data: {data}\n  max_test_rows: 16\n"
        "hyperparameters:\n  num_epochs: 1\n  batch_size: 16\n  learning_rate: 0.001\n"
        "evaluation:\n  max_new_tokens: 8\n  latency_rows: 2\n  gold_sft: false\n"
    )
    solutions = {question.strip(): solution for question, solution in gold.items()}
    serving = teacher(lambda messages: solutions[messages[-1]["content"].strip()], faults=0.15, retry_after="0.1")
    ended = program.run(recipe, "--set", f"teacher.endpoint={serving.url}")
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert_rows_are_conserved(ended, "prepare", "teacher", "curate")
    assert set(serving.failed) == {"none", "429", "503", "cut", "malformed"}
    assert max(serving.answered.values()) == 1, "an answer that was journaled was asked for again"

    # Another run, which takes nothing from the cache: no answer is asked for again.
    before = sum(serving.asked.values())
    again = program.run(recipe, "--set", f"teacher.endpoint={serving.url}", "--no-cache", "--until", "curate")
    assert again.returncode == 0, again.stderr[-3000:]
    assert sum(serving.asked.values()) == before
