"""A run that is killed while the teacher is being asked loses at most the requests in flight, and leaves no process."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from program import SANDBOX, Program

ROWS = 120
CONCURRENCY = 8


def write_project(folder: Path, endpoint: str) -> Path:
    """A recipe and its data: sums that a teacher on loopback knows."""
    rows = ({"question": f"What is {n} plus {n % 7}?", "answer": str(n + n % 7)} for n in range(ROWS))
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = folder / "recipe.yml"
    recipe.write_text(
        f"task: math\nteacher:\n  model: adder\n  endpoint: {endpoint}\n  concurrency: {CONCURRENCY}\n"
        f"student: {SANDBOX / 'student_bytes'}\ndata:\n  training_data: sums.jsonl\n"
        "hyperparameters:\n  num_epochs: 1\n  batch_size: 32\n  learning_rate: 0.001\n"
        "evaluation:\n  max_new_tokens: 6\n  latency_rows: 2\n  gold_sft: false\n"
    )
    return recipe


def add(messages: list[dict[str, str]]) -> str:
    words = messages[-1]["content"].rstrip("?").split()
    return str(int(words[2]) + int(words[4]))


def processes_of(home: Path) -> list[int]:
    """Processes that still work in the run's folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if str(home) in os.readlink(entry / "cwd"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="looks for left-over processes in /proc")
@pytest.mark.slow
def test_a_sigkill_costs_at_most_the_requests_in_flight(program: Program, teacher: Callable[..., Any]) -> None:
    serving = teacher(add, delay=0.05)
    recipe = write_project(program.folder, serving.url)
    process = program.start("run", recipe, "--no-tracking")
    while sum(serving.answered.values()) < ROWS // 3:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    time.sleep(2)
    assert processes_of(program.folder / ".azdistill") == []

    ended = program.run(recipe)
    assert ended.returncode == 0, ended.stderr[-3000:]
    asked_twice = [prompt for prompt, count in serving.asked.items() if count > 1]
    # Two steps ask at a time: for the training rows, and for the test rows (this teacher has no weights here).
    assert len(asked_twice) <= 2 * CONCURRENCY
    assert len(serving.asked) == sum(
        split["in"] for split in ended.summaries()["teacher"]["splits"].values()
    ) + comparison_rows(ended)


def comparison_rows(ended: Any) -> int:
    """Test rows: the teacher is asked for these too, since it has no weights here."""
    return int(ended.comparison()["rows"])
