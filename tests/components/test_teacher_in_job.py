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

#: They start real models or go through a whole submit many times over.
pytestmark = pytest.mark.slow

Make = Callable[..., Component]
#: Its engines are told from those of other tests by it.
NAME = f"owner/tiny-{os.getpid()}"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("teacher"), vocabulary=268)


def rows(folder: Path, count: int = 3, start: int = 0) -> Path:
    texts = [{"id": f"{n:016x}", **chat(f"Say {n}.")} for n in range(start, start + count)]
    return write_jsonl(folder / f"rows-{start}-{count}.jsonl", texts)


def inputs(folder: Path, weights: Path | None, **more: Any) -> dict[str, Any]:
    given = {"rows": rows(folder), "task_type": "conversation", "teacher_model": NAME, "max_tokens": 8}
    return {**given, **({"teacher_weights": weights} if weights else {}), **more}


def engines(*, keepers: bool = True) -> list[int]:
    """Processes of engines that live (and their keepers): they serve the name that these tests give."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes()
        except OSError:
            continue
        if b"serve\0" + NAME.encode() in words and (keepers or b"engine_keeper" not in words):
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
    assert {row["teacher"] for row in kept} <= {NAME}
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
    given = {"rows": rows(tmp_path), "task_type": "conversation", "teacher_model": NAME, "max_tokens": 8}
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


def test_a_teacher_that_the_machine_cannot_hold_is_refused_before_it_is_loaded(
    component: Make, weights: Path, tmp_path: Path
) -> None:
    large = tmp_path / "large"
    large.mkdir()
    (large / "config.json").write_text((weights / "config.json").read_text())
    with (large / "model.safetensors").open("wb") as file:
        # A file of holes: it takes no room.
        file.truncate(4 << 40)
    result = component("teacher_in_job").run(inputs(tmp_path, large))
    assert result.returncode == 78
    assert "take 4398 GB, and this machine has" in result.stderr
    assert engines() == []


@pytest.mark.parametrize(
    ("heads", "shared", "gpus", "size"),
    [(32, 8, 8, 8), (28, 4, 8, 4), (40, 40, 8, 8), (128, 128, 16, 16), (14, 2, 4, 2), (9, 3, 8, 3), (5, 5, 1, 1)],
)
def test_layers_are_laid_over_as_many_gpus_as_divide_the_heads(heads: int, shared: int, gpus: int, size: int) -> None:
    from inference_engine import parallel_size

    config = {"num_attention_heads": heads, "num_key_value_heads": shared}
    assert parallel_size(config, gpus) == size
    assert parallel_size({"text_config": config}, gpus) == size


def test_vllm_is_started_with_what_it_needs(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import inference_engine

    monkeypatch.setattr(inference_engine, "gpu_memory", lambda: [80e9] * 4)
    settings = inference_engine.Settings("name", weights, longest=300, engine_args="--seed 3")
    command = inference_engine.command_of("vllm", settings, tmp_path, 8000)
    assert command[1:3] == ["serve", str(weights.resolve())]
    told = dict(zip(command[3::2], command[4::2], strict=True))
    assert told == {
        "--served-model-name": "name",
        # Four heads, two for keys and values.
        "--tensor-parallel-size": "4",
        "--dtype": "auto",
        "--max-model-len": "300",
        "--host": "127.0.0.1",
        "--port": "8000",
        "--seed": "3",
    }
    longer = inference_engine.command_of(
        "vllm", inference_engine.Settings("name", weights, longest=9999), tmp_path, 8000
    )
    assert longer[longer.index("--max-model-len") + 1] == "512"


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
