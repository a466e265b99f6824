"""The program that people write from memory, word for word, and a folder in which it finds what it names."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SANDBOX = Path(__file__).parents[1] / "examples" / "sandbox"

PROGRAM = """\
from azdistill import DistillationJob, MLClient

ml_client = MLClient.from_config()
job = ml_client.jobs.create_or_update(DistillationJob(
    teacher_model="deepseek-v3", student_model="phi-4-mini", task_type="conversation",
    training_data="./training_data.jsonl", validation_data="./validation_data.jsonl",
    hyperparameters={"learning_rate": 2e-5, "batch_size": 2, "num_epochs": 3, "temperature": 0.7}))
print(ml_client.jobs.get(job.name).status)
distilled = ml_client.models.evaluate(model_name="phi-4-mini-distilled", test_data="./test_data.jsonl",
                                      metrics=["accuracy", "bleu_score", "inference_time"])
baseline = ml_client.models.evaluate(model_name="phi-4-mini-baseline", test_data="./test_data.jsonl")
print(distilled["accuracy"] - baseline["accuracy"])
"""
LOCAL_PROGRAM = PROGRAM.replace("MLClient.from_config()", 'MLClient.local(".")')


@dataclass
class Ran:
    """What the program printed, and the names it bound."""

    folder: Path
    out: str
    err: str
    names: dict[str, Any]


def write_folder(folder: Path) -> Path:
    """The sandbox's teacher and student under the names that the program uses, and a few of its conversations."""
    sys.path.insert(0, str(SANDBOX))
    try:
        from world import task_rows
    finally:
        sys.path.remove(str(SANDBOX))
    folder.mkdir(parents=True, exist_ok=True)
    for name, model in (("deepseek-v3", "teacher"), ("phi-4-mini", "student")):
        (folder / name).symlink_to(SANDBOX / model, target_is_directory=True)
    for split, count in (("train", 20), ("validation", 2), ("test", 2)):
        name = {"train": "training"}.get(split, split)
        rows = task_rows("conversation", split, count, 7)
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}_data.jsonl").write_text(text, encoding="utf-8")
    return folder


def run(program: str, folder: Path) -> Ran:
    """Run the program in ``folder``, in this process."""
    out, err = io.StringIO(), io.StringIO()
    names: dict[str, Any] = {}
    with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        exec(compile(program, "program.py", "exec"), names)  # noqa: S102 - the program of the README, word for word
    return Ran(folder, out.getvalue(), err.getvalue(), names)
