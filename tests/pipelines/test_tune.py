"""pipelines/tune.yml as it is, over tiny models: the sweep reads the validation loss that fine-tuning logs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "tests" / "components"))

from loopback_teacher import LoopbackTeacher  # noqa: E402
from tiny_models import save_tiny  # noqa: E402

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def hub(home: Path) -> Path:
    """A Hugging Face cache that holds a tiny model under the name that the pipeline uses."""
    folder = home / "hub" / "models--microsoft--Phi-4-mini-instruct"
    (folder / "snapshots" / COMMIT).mkdir(parents=True)
    save_tiny(folder / "snapshots" / COMMIT, seed=0)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    return home


def answer(messages: list[dict[str, str]]) -> str:
    word = ("entailment", "neutral", "contradiction")[len(messages[-1]["content"]) % 3]
    return json.dumps({"reason": "It follows.", "answer_choice": word})


@pytest.mark.slow
def test_the_student_with_the_lowest_validation_loss_is_measured(
    tmp_path: Path, teacher: Callable[..., LoopbackTeacher]
) -> None:
    url = f"{teacher(answer).url}/v1"
    sets = [f"teacher_endpoint={url}", "num_epochs=2", "max_total_trials=3", "max_new_tokens=4"]
    command = [sys.executable, "-m", "azdistill", "run", str(ROOT / "pipelines" / "tune.yml"), "--json", "--out", "out"]
    command += ["--no-tracking", *(word for one in sets for word in ("--set", one))]
    environment = {**os.environ, "HF_HOME": str(hub(tmp_path / "hf")), "HF_HUB_OFFLINE": "1", "TEACHER_API_KEY": "k"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    step = json.loads(done.stdout)["steps"]["tune"]
    ended = {trial["number"]: trial for trial in step["trials"]}
    assert len(ended) == 3
    assert {"learning_rate", "batch_size", "lora_rank", "warmup_ratio"} == ended[1]["hyperparameters"].keys()
    whole = [trial for trial in ended.values() if trial["status"] == "completed"]
    assert ended[step["best_trial"]]["metric"] == min(trial["metric"] for trial in whole)
    assert (tmp_path / "out" / "model" / "model.safetensors").is_file()
    compared = json.loads((tmp_path / "out" / "report" / "comparison.json").read_text())
    assert compared
