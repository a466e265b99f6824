"""A teacher that the step runs itself: the same answers as from an endpoint, and an engine that ends with the step."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from snapshots import Component, chat, write_jsonl
from tiny_models import save_tiny

Make = Callable[..., Component]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("teacher"), vocabulary=268)


def rows(folder: Path, count: int = 3, start: int = 0) -> Path:
    texts = [{"id": f"{n:016x}", **chat(f"Say {n}.")} for n in range(start, start + count)]
    return write_jsonl(folder / f"rows-{start}-{count}.jsonl", texts)


def inputs(folder: Path, weights: Path | None, **more: Any) -> dict[str, Any]:
    given = {"rows": rows(folder), "task_type": "conversation", "teacher_model": "owner/tiny", "max_tokens": 8}
    return {**given, **({"teacher_weights": weights} if weights else {}), **more}


def engines(*, keepers: bool = True) -> list[int]:
    """Processes of engines that live (and their keepers): they serve the name that these tests give."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes()
        except OSError:
            continue
        if b"serve\0owner/tiny" in words and (keepers or b"engine_keeper" not in words):
            found.append(int(entry.parent.name))
    return found


def test_it_answers_every_row_and_leaves_no_engine(component: Make, weights: Path, tmp_path: Path) -> None:
    step = component("teacher_in_job")
    validation = rows(tmp_path, 2, 10)
    result = step.run(inputs(tmp_path, weights, validation_rows=validation, min_success_ratio=0.0))
    assert result.returncode == 0, result.stderr
    assert engines() == []
    assert result.summary["in"] == 5
    kept = result.rows("train") + result.rows("validation")
    assert len(kept) + len(result.rows("rejects")) == 5
    assert {row["teacher"] for row in kept} <= {"owner/tiny"}
    assert result.summary["requests"] == 5
    again = step.run(inputs(tmp_path, weights, validation_rows=validation, min_success_ratio=0.0))
    assert again.summary["requests"] == 0
    assert again.rows("train") == result.rows("train")


def test_its_answers_are_those_that_an_endpoint_would_be_asked_for(
    component: Make, weights: Path, teacher: Any, tmp_path: Path
) -> None:
    """One store for both: what was asked over an endpoint is not asked again of an engine."""
    loop = teacher(lambda messages: "hello")
    answers = {"answers": tmp_path / "answers"}
    given = {"rows": rows(tmp_path), "task_type": "conversation", "teacher_model": "owner/tiny", "max_tokens": 8}
    asked = component("teacher_inference").run({**given, "teacher_endpoint": loop.url}, outputs=answers)
    assert asked.returncode == 0, asked.stderr
    found = component("teacher_in_job").run(inputs(tmp_path, weights), outputs=answers)
    assert found.returncode == 0, found.stderr
    assert found.rows("train") == asked.rows("train")
    assert found.summary["requests"] == 0


def test_an_engine_that_dies_at_the_start_is_told_with_its_last_words(
    component: Make, weights: Path, tmp_path: Path
) -> None:
    started = time.monotonic()
    result = component("teacher_in_job").run(inputs(tmp_path, weights, engine_args="--no-such-option"))
    assert result.returncode == 1
    assert "error[failed]: transformers ended with exit code" in result.stderr
    assert "no-such-option" in result.stderr
    assert "Traceback" not in result.stderr.partition("error[failed]")[0]
    assert time.monotonic() - started < 60


def test_an_engine_that_dies_later_ends_the_step(component: Make, weights: Path, tmp_path: Path) -> None:
    step = component("teacher_in_job")
    running = step.start(inputs(tmp_path, weights) | {"rows": rows(tmp_path, 3000), "max_tokens": 64})
    _wait_until_asking(step)
    for pid in engines(keepers=False):
        _kill(pid)
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "transformers ended with exit code" in stderr
    assert engines() == []


@pytest.mark.parametrize(
    ("number", "asking"), [(signal.SIGTERM, False), (signal.SIGKILL, True)], ids=["starting", "asking"]
)
def test_a_step_that_is_ended_leaves_no_engine(
    component: Make, weights: Path, tmp_path: Path, number: int, asking: bool
) -> None:
    step = component("teacher_in_job")
    running = step.start(inputs(tmp_path, weights) | {"rows": rows(tmp_path, 3000), "max_tokens": 64})
    if asking:
        _wait_until_asking(step)
    else:
        _wait(engines)
    running.send_signal(number)
    running.communicate(timeout=30)
    assert running.returncode == (130 if number == signal.SIGTERM else -number)
    _wait(lambda: not engines(), 15)


def test_what_cannot_be_run_is_said_before_anything_is_started(component: Make, weights: Path, tmp_path: Path) -> None:
    for more, code, words in (
        ({"teacher_id": "owner/name"}, 78, "given twice"),
        ({"engine": "vllm"}, 78, "engine vllm is not installed here"),
        ({"engine_args": "--trust-remote-code"}, 78, "may not hold --trust-remote-code"),
        ({"tensor_parallel_size": "many"}, 78, "neither auto nor a number"),
    ):
        result = component("teacher_in_job").run(inputs(tmp_path, weights, **more))
        assert result.returncode == code, (more, result.stderr)
        assert words in result.stderr
        assert not (tmp_path / "logs").exists()
    nothing = component("teacher_in_job").run(inputs(tmp_path, None))
    assert nothing.returncode == 78
    assert "no teacher: give teacher_weights or teacher_id" in nothing.stderr
    unreachable = component("teacher_in_job").run(inputs(tmp_path, None, teacher_id="o/n"), env={"HF_HUB_OFFLINE": "1"})
    assert unreachable.returncode == 69
    assert "the teacher 'o/n' cannot be downloaded" in unreachable.stderr


def _wait_until_asking(step: Component) -> None:
    """Until the first answers are in the store."""
    _wait(lambda: [path for path in (step.folder / "outputs" / "answers").rglob("*.jsonl") if path.stat().st_size])


def _wait(true: Callable[[], Any], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.05)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
