"""Fine-tuning by several processes: the same student, written once, whatever the number of processes."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lazily import Lazily
from snapshots import ROOT, Component, Result, read_jsonl
from tiny_models import save_tiny, sums, tiny_model, tiny_tokenizer, write_jsonl

torch = Lazily("torch")
LAUNCH = ROOT / "azdistill" / "local" / "in_step" / "launch.py"
Make = Callable[..., Component]
#: Rows come in batches of equal sizes, so that no row is seen twice in an epoch.
SETTINGS = {"learning_rate": 0.01, "num_epochs": 2, "dtype": "float32"}


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("student"))


@pytest.fixture
def inputs(tmp_path: Path, student: Path) -> dict[str, Any]:
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(48))
    # An odd number of batches: one process has none in the last turn of a validation.
    validation = write_jsonl(tmp_path / "validation.jsonl", sums(10, seed=9))
    return {"rows": rows, "validation_rows": validation, "student_weights": student, **SETTINGS}


def distributed(step: Component, inputs: dict[str, Any], processes: int = 2) -> Result:
    """The step's command started once for each process, as the runner does."""
    command, variables, places = step.prepare(inputs)
    ended = subprocess.run(
        [sys.executable, "-I", "-S", str(LAUNCH), str(processes), "pytorch", command],
        cwd=step.snapshot,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=240,
        start_new_session=True,
        check=False,
    )
    return Result(ended.returncode, ended.stdout, places, read_jsonl(step.folder / "metrics.jsonl"))


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


@pytest.mark.slow
def test_two_processes_train_what_one_does_with_batches_twice_as_large(component: Make, inputs: dict[str, Any]) -> None:
    alone = component("finetune_student").run({**inputs, "batch_size": 4})
    both = distributed(component("finetune_student"), {**inputs, "batch_size": 2})
    assert alone.returncode == 0, alone.stderr
    assert both.returncode == 0, both.stderr
    assert alone.summary["steps"] == both.summary["steps"] == 24
    assert both.summary["effective_batch_size"] == alone.summary["effective_batch_size"] == 4
    assert (both.summary["processes"], alone.summary["processes"]) == (2, 1)
    assert both.summary["settings"]["parallelism"] == "ddp"
    expected, found = weights(alone.outputs["model"]), weights(both.outputs["model"])
    assert expected.keys() == found.keys()
    start = weights(inputs["student_weights"])
    moved = max((expected[name] - start[name]).abs().max() for name in start)
    apart = max((expected[name] - found[name]).abs().max() for name in start)
    assert moved > 0.05
    assert apart < 0.002
    for name in ("train_loss", "validation_loss"):
        one, two = ([line["value"] for line in run.metrics if line.get("name") == name] for run in (alone, both))
        assert len(one) == len(two)
        assert two == pytest.approx(one, rel=1e-3)
    # Said once, drawn once.
    assert both.stderr.count("the student is in") == 1
    assert [line["done"] for line in both.metrics if line["kind"] == "progress"][-1] == 24


@pytest.mark.slow
def test_a_checkpoint_of_two_processes_is_resumed_by_two(component: Make, inputs: dict[str, Any]) -> None:
    step = component("finetune_student")
    whole = distributed(step, {**inputs, "batch_size": 4})
    assert whole.returncode == 0, whole.stderr
    for path in (*whole.outputs["model"].iterdir(), whole.outputs["summary"]):
        path.unlink()
    before = weights_of_checkpoint(whole.outputs["checkpoints"])
    again = distributed(step, {**inputs, "batch_size": 4})
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("resuming from checkpoint-12") == 1
    assert again.summary["resumed_from_step"] == 12
    assert weights_of_checkpoint(again.outputs["checkpoints"]) == before
    other = step.run({**inputs, "batch_size": 4})
    assert "the checkpoints belong to other settings or rows" in other.stderr


def weights_of_checkpoint(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*/checkpoint-*"))


@pytest.mark.slow
@pytest.mark.parametrize("validated", [True, False])
def test_all_processes_stop_at_a_loss_that_is_not_finite(
    component: Make, inputs: dict[str, Any], tmp_path: Path, validated: bool
) -> None:
    model = tiny_model()
    # Finite, and so large that no logit is.
    model.model.norm.weight.data.fill_(3e38)
    model.save_pretrained(tmp_path / "overflowing")
    tiny_tokenizer().save_pretrained(tmp_path / "overflowing")
    given = inputs | {"student_weights": tmp_path / "overflowing"}
    if not validated:
        del given["validation_rows"]
    ended = distributed(component("finetune_student"), given)
    assert ended.returncode == 1, ended.stderr
    assert "error[not_finite]: training stopped at step" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not ended.outputs["model"].exists()
    assert not ended.outputs["summary"].exists()


ONE_RANK = """
import os
import finetune, student_trainer
from common.step import run_step
original = student_trainer.StudentTrainer.compute_loss
def spoilt(self, *args, **kwargs):
    loss = original(self, *args, **kwargs)
    # The gradient stays finite: only this process could tell.
    bad = self.state.global_step == 2 and os.environ["RANK"] == "1"
    return loss + (float("nan") if bad else 0)
student_trainer.StudentTrainer.compute_loss = spoilt
run_step(finetune.main)
"""


@pytest.mark.slow
def test_all_processes_stop_where_the_loss_of_one_is_not_finite(component: Make, inputs: dict[str, Any]) -> None:
    step = component("finetune_student")
    (step.snapshot / "spoilt.py").write_text(ONE_RANK)
    step.spec["command"] = step.spec["command"].replace("python finetune.py", "python spoilt.py")
    ended = distributed(step, inputs)
    assert ended.returncode == 1, ended.stderr
    assert "training stopped at step 3: the loss is nan" in ended.stderr
    assert "Traceback" not in ended.stderr


MISTAKES = {
    "none": "parallelism is none, but 2 processes were started",
    "fsdp": "parallelism fsdp shards the student over GPUs, and this machine has none; use ddp",
    "deepspeed": "parallelism deepspeed needs a package that is not installed",
}


@pytest.mark.slow
@pytest.mark.parametrize(("parallelism", "words"), MISTAKES.items())
def test_what_cannot_be_is_said(component: Make, inputs: dict[str, Any], parallelism: str, words: str) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    ended = distributed(component("finetune_student"), {**inputs, "parallelism": parallelism})
    assert ended.returncode == 78, ended.stderr
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (ended.outputs["model"] / "config.json").exists()


@pytest.mark.slow
def test_a_single_process_needs_no_parallelism(component: Make, inputs: dict[str, Any]) -> None:
    ended = component("finetune_student").run({**inputs, "parallelism": "fsdp", "max_steps": 1})
    assert ended.returncode == 0, ended.stderr
    assert "parallelism fsdp has nothing to do" in ended.stderr


def test_the_command_that_is_started_is_the_components(component: Make, inputs: dict[str, Any]) -> None:
    command, _, _ = component("finetune_student").prepare(inputs)
    assert "--parallelism" in shlex.split(command)
