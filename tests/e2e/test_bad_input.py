"""What a careless user does: each mistake has a clear error, the right exit code, and loses nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from program import SANDBOX, Ended, Program

GOOD = [{"messages": [{"role": "user", "content": f"What is {n} plus 1?"}], "reference": str(n + 1)} for n in range(40)]


def write_recipe(folder: Path, lines: list[str] | None = None, **changes: str) -> Path:
    """A recipe over ``data.jsonl``, which holds ``lines`` (default: good rows). ``changes`` replace top-level lines."""
    lines = [json.dumps(row) for row in GOOD] if lines is None else lines
    (folder / "data.jsonl").write_text("".join(line + "\n" for line in lines))
    parts = {
        "task": "task: math",
        "teacher": "teacher:\n  model: adder\n  endpoint: http://127.0.0.1:9",
        "student": f"student: {SANDBOX / 'student_bytes'}",
        "data": "data:\n  training_data: data.jsonl",
        "hyperparameters": "hyperparameters:\n  num_epochs: 1",
        **changes,
    }
    recipe = folder / "recipe.yml"
    recipe.write_text("\n".join(parts.values()) + "\n")
    return recipe


def add(messages: list[dict[str, str]]) -> str:
    return str(int(messages[-1]["content"].split()[2]) + 1)


def assert_clear(ended: Ended, exit_code: int, *words: str) -> None:
    """The exit code, every word somewhere on stderr, and no traceback."""
    assert ended.returncode == exit_code, ended.stderr
    assert "Traceback" not in ended.stderr
    for word in words:
        assert word in ended.stderr, f"{word!r} is not in:\n{ended.stderr}"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"messages": [{"role": "user", "cont', ("data.jsonl:3",)),
        ('{"messages": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]}', ("data.jsonl:3",)),
        ('{"messages": [{"role": "user"}]}', ("data.jsonl:3", "content")),
        ("[1, 2]", ("data.jsonl:3",)),
    ],
    ids=["truncated", "roles", "no-content", "not-an-object"],
)
def test_a_bad_row_is_named_by_its_line_and_all_rows_are_kept_or_rejected(
    line: str, words: tuple[str, ...], program: Program
) -> None:
    lines = [json.dumps(row) for row in GOOD]
    ended = program.run(write_recipe(program.folder, [*lines[:2], line, *lines[2:]]))
    assert_clear(ended, 2, *words)
    assert ended.result["steps"]["prepare"]["status"] == "failed"


@pytest.mark.slow
def test_bad_rows_can_be_rejected_instead_and_the_counts_still_add_up(
    program: Program, teacher: Callable[..., Any]
) -> None:
    serving = teacher(add)
    lines = [json.dumps(row) for row in GOOD]
    recipe = write_recipe(
        program.folder,
        [*lines, '{"messages": [{"role'],
        teacher=f"teacher:\n  model: adder\n  endpoint: {serving.url}",
        data="data:\n  training_data: data.jsonl\n  on_bad_rows: reject",
        evaluation="evaluation:\n  max_new_tokens: 4\n  latency_rows: 2\n  gold_sft: false",
    )
    ended = program.run(recipe)
    assert ended.returncode == 0, ended.stderr[-3000:]
    counts = ended.summaries()["prepare"]
    assert counts["in"] == len(GOOD) + 1
    assert counts["rejected"] == 1


@pytest.mark.parametrize(
    ("changes", "exit_code", "words"),
    [
        ({"task": "task: maths"}, 2, ("recipe.yml:1", "math")),
        ({"hyperparameters": "hyperparameters:\n  learning_rat: 0.1"}, 2, ("recipe.yml:", "learning_rate")),
        ({"hyperparameters": "hyperparameters:\n  num_epochs: many"}, 2, ("recipe.yml:", "num_epochs")),
        ({"hyperparameters": "hyperparameters:\n  batch_size: 0"}, 2, ("recipe.yml:", "batch_size")),
        ({"data": "data:\n  training_data: nowhere.jsonl"}, 2, ("recipe.yml:", "nowhere.jsonl")),
        ({"student": "student: ."}, 2, ("model",)),
    ],
    ids=["bad-task", "misspelt-key", "bad-type", "out-of-range", "missing-file", "no-model"],
)
def test_a_mistake_in_a_recipe_is_found_before_the_teacher_is_asked(
    changes: dict[str, str], exit_code: int, words: tuple[str, ...], program: Program, teacher: Callable[..., Any]
) -> None:
    serving = teacher(add)
    recipe = write_recipe(
        program.folder, **({"teacher": f"teacher:\n  model: adder\n  endpoint: {serving.url}"} | changes)
    )
    assert_clear(program.run(recipe), exit_code, *words)
    assert not serving.asked


def test_an_empty_file_is_said_to_be_empty(program: Program) -> None:
    assert_clear(program.run(write_recipe(program.folder, [])), 2, "data.jsonl", "empty")


def test_a_missing_column_is_named_with_the_columns_that_are_there(program: Program) -> None:
    recipe = write_recipe(program.folder, ['{"text": "1 plus 1", "label": "2"}'])
    assert_clear(program.run(recipe), 2, "text", "label")


def test_an_endpoint_that_refuses_is_named(program: Program) -> None:
    assert_clear(program.run(write_recipe(program.folder)), 4, "127.0.0.1:9")


def test_a_wrong_key_ends_the_run_at_once_and_is_shown_nowhere(program: Program, teacher: Callable[..., Any]) -> None:
    key = "sk-canary-0123456789abcdef"
    refuse = (401, {}, {"error": {"message": f"invalid key {key}"}})
    serving = teacher(add, reply=lambda body, number: refuse)
    recipe = write_recipe(
        program.folder, teacher=f"teacher:\n  model: adder\n  endpoint: {serving.url}\n  api_key: ${{env:ADDER_KEY}}"
    )
    ended = program.run(recipe, env={"ADDER_KEY": key})
    assert_clear(ended, 4, "401", "ADDER_KEY")
    assert serving.requests[0]["headers"]["authorization"] == f"Bearer {key}"
    written = [path for path in program.folder.rglob("*") if path.is_file()]
    assert len(written) > 10
    assert [path for path in written if key.encode() in path.read_bytes()] == []
    assert key not in ended.stderr + json.dumps(ended.result)


def test_a_variable_that_is_not_set_is_named_before_anything_runs(program: Program) -> None:
    recipe = write_recipe(
        program.folder, teacher="teacher:\n  model: adder\n  endpoint: http://127.0.0.1:9\n  api_key: ${env:NO_KEY}"
    )
    assert_clear(program.run(recipe), 2, "NO_KEY")


def test_a_literal_key_is_refused_and_not_repeated(program: Program) -> None:
    recipe = write_recipe(
        program.folder, teacher="teacher:\n  model: adder\n  endpoint: http://127.0.0.1:9\n  api_key: sk-very-secret-1"
    )
    ended = program.run(recipe)
    assert_clear(ended, 2, "recipe.yml:5", "${env:NAME}")
    assert "sk-very-secret-1" not in ended.stderr
