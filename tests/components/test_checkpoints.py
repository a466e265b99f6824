"""Training goes on from checkpoints that hold what was written, and from no other; at its end it goes on no further."""

from __future__ import annotations

import shutil
import subprocess
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkpoints import CHECKSUMS, damage, last_checkpoint, newest, prune, seal
from common.step import StepError
from finetune_settings import settings
from lazily import Lazily
from tiny_models import save_tiny, sums, write_jsonl

torch = Lazily("torch")


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("student"))


def run(given: Namespace, *, validated: bool = True) -> dict[str, Any]:
    from fine_tuning import Student, train

    student = Student(given)
    rows, _ = student.examples(sums(40), "rows")
    validation = student.examples(sums(8, seed=99), "validation")[0] if validated else []
    result = train(student, rows, validation, "same")
    student.save()
    return result


def weights(given: Namespace) -> dict[str, Any]:
    from safetensors.torch import load_file

    found: dict[str, Any] = load_file(Path(given.model, "model.safetensors"))
    return found


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) * 2 // 3] ^= 0x10
    path.write_bytes(bytes(data))


def remove(path: Path) -> None:
    path.unlink()


def link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


#: All that the Trainer writes, and the list of it.
FILES = (
    *("config.json", "generation_config.json", "model.safetensors", "optimizer.pt", "rng_state.pth", "scheduler.pt"),
    *("trainer_state.json", "training_args.bin", CHECKSUMS),
)


@pytest.fixture(scope="module")
def trained(student: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of checkpoints of a training that was killed behind its last step."""
    given = settings(tmp_path_factory.mktemp("trained"), student, max_steps=6, eval_steps=4)
    run(given)
    (checkpoint,) = Path(given.checkpoints).glob("*/checkpoint-6")
    assert {path.name for path in checkpoint.iterdir()} == set(FILES)
    return checkpoint.parent


@pytest.mark.parametrize("change", [cut, flip, remove, link_to_nothing])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_is_not_gone_on_from_and_that_is_said(
    tmp_path: Path, trained: Path, name: str, change: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "same"))
    assert last_checkpoint(folder) == str(newest(folder))
    assert capsys.readouterr().err == ""
    change(folder / "checkpoint-6" / name)
    prune(folder, {"checkpoint-6"})
    assert last_checkpoint(folder) is None
    said, afresh = capsys.readouterr().err.splitlines()
    assert said.startswith("checkpoint-6 is not used: it ")
    assert name in said or "was not finished" in said or "is not as it was written" in said
    assert afresh == "no checkpoint is left to go on from: training starts afresh"


def test_the_step_starts_afresh_where_its_only_checkpoint_is_damaged(
    component: Callable[..., Any], student: Path, tmp_path: Path
) -> None:
    inputs = {"rows": write_jsonl(tmp_path / "rows.jsonl", sums(24)), "student_weights": student, "max_steps": 3}
    outputs = {"checkpoints": tmp_path / "checkpoints"}
    assert component("finetune_student").run(inputs, outputs=outputs).returncode == 0
    (file,) = outputs["checkpoints"].glob("*/checkpoint-3/optimizer.pt")
    cut(file)
    ended = component("finetune_student").run(inputs, outputs=outputs)
    assert ended.returncode == 0, ended.stderr
    assert "checkpoint-3 is not used: it is damaged (optimizer.pt is not as it was written)" in ended.stderr
    assert ended.summary["resumed_from_step"] == 0
    assert not damage(file.parent)


@pytest.mark.parametrize(("blocks", "words"), [(60, "cannot be written: "), (150, "as on a disk that is full")])
def test_a_disk_that_is_full_is_one_line(
    component: Callable[..., Any], student: Path, tmp_path: Path, blocks: int, words: str
) -> None:
    step = component("finetune_student")
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(24))
    command, env, outputs = step.prepare({"rows": rows, "student_weights": student, "max_steps": 3})
    # No file may grow larger than so many KiB: the weights do, or the optimizer's state, which is twice as large.
    ended = subprocess.run(
        ["/bin/bash", "-c", f"ulimit -f {blocks}; {command}"],
        cwd=step.snapshot, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("error[failed]: checkpoint ")
    assert words in last
    assert last.endswith("; there is no other")
    assert not outputs["summary"].exists()
    assert not outputs["model"].exists() or not list(outputs["model"].iterdir())


def test_a_student_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fine_tuning import Student
    from safetensors import SafetensorError

    given = settings(tmp_path, student)

    def full(self: Any, model: Any) -> None:
        Path(given.model).mkdir()
        Path(given.model, "model.safetensors").write_bytes(b"torn")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(Student, "_write", full)
    with pytest.raises(StepError, match="the trained student cannot be written: I/O error: No space left"):
        Student(given).save()
    assert list(Path(given.model).iterdir()) == []


def write_checkpoint(folder: Path, step: int, best: int | None = None) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir()
    name = f'"elsewhere/checkpoint-{best}"' if best else "null"
    (path / "trainer_state.json").write_text(f'{{"best_model_checkpoint": {name}}}')
    (path / "model.safetensors").write_text(str(step))
    seal(path)
    return path


def test_the_checkpoint_before_a_damaged_one_is_gone_on_from(tmp_path: Path) -> None:
    first, second = write_checkpoint(tmp_path, 4), write_checkpoint(tmp_path, 12)
    assert last_checkpoint(tmp_path) == str(second)
    flip(second / "model.safetensors")
    assert last_checkpoint(tmp_path) == str(first)


def test_a_checkpoint_whose_best_one_is_damaged_is_not_gone_on_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    best = write_checkpoint(tmp_path, 4, best=4)
    write_checkpoint(tmp_path, 12, best=4)
    cut(best / "model.safetensors")
    assert last_checkpoint(tmp_path) is None
    said = "checkpoint-12 is not used: the best one before it is checkpoint-4, and it is damaged (model.safetensors"
    assert said in capsys.readouterr().err


def test_the_best_checkpoint_is_looked_at_before_the_student_is_taken_from_it(
    tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import finetune_callbacks

    def spoil(self: Any, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 6:
            flip(Path(args.output_dir, "checkpoint-4", "model.safetensors"))

    monkeypatch.setattr(finetune_callbacks.Report, "on_step_end", spoil)
    given = settings(tmp_path, student, max_steps=6, learning_rate=1e-9)
    # So small a rate that the validation loss stays what it was, and the first checkpoint the best one.
    monkeypatch.setattr(
        "student_trainer.StudentTrainer._determine_best_metric",
        lambda self, metrics, trial: setattr(
            self.state, "best_model_checkpoint", str(Path(self.args.output_dir, "checkpoint-4"))
        ),
    )
    with pytest.raises(StepError, match="checkpoint-4 cannot be read back: it is damaged"):
        run(given)
    assert not Path(given.model).exists()


@pytest.mark.parametrize("validated", [False, True])
def test_a_training_that_had_reached_its_end_takes_no_further_step(
    tmp_path: Path, student: Path, validated: bool
) -> None:
    # In the middle of an epoch, with a learning rate that is not 0 at the end.
    given = settings(tmp_path, student, max_steps=7, lr_scheduler="constant")
    first = run(given, validated=validated)
    trained = weights(given)
    second = run(given, validated=validated)
    assert (first["steps"], second["steps"], second["resumed_from_step"]) == (7, 7, 7)
    assert second["train_loss"] == first["train_loss"]
    assert all(torch.equal(tensor, trained[name]) for name, tensor in weights(given).items())
