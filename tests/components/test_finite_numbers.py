"""Numbers that are not finite end the step that meets them: in weights, losses, gradients, validations, answers."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from common.step import NotFinite
from finetune_settings import settings
from lazily import Lazily
from modelling.finite import check_saved, first_not_finite
from step_guard import MOST_SKIPPED, StepGuard
from tiny_models import save_tiny, sums, tiny_model, tiny_tokenizer, write_jsonl

torch = Lazily("torch")

NAN, INF = float("nan"), float("inf")


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("student"))


def broken(folder: Path, value: float = NAN) -> Path:
    """A model of which one weight is not finite."""
    model = tiny_model()
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 4] = value
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def run(given: Namespace, *, validated: bool = False, rows: int = 40) -> dict[str, Any]:
    from fine_tuning import Student, train

    student = Student(given)
    training, _ = student.examples(sums(rows), "rows")
    validation = student.examples(sums(8, seed=99), "validation")[0] if validated else []
    result = train(student, training, validation, "same")
    student.save()
    return result


def spoil_weights_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One weight becomes NaN when that step has ended, before it is validated or kept."""
    import finetune_callbacks

    def spoil(self: Any, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if state.global_step == step:
            with torch.no_grad():
                model.model.norm.weight[0] = NAN

    monkeypatch.setattr(finetune_callbacks.Report, "on_step_end", spoil)


def checkpoints(given: Namespace) -> list[str]:
    return sorted(path.name for path in Path(given.checkpoints).glob("*/checkpoint-*"))


# -- training ----------------------------------------------------------------------------------------------------------


def test_training_stops_at_the_first_loss_that_is_not_finite(
    tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_weights_after(6, monkeypatch)
    given = settings(tmp_path, student)
    with pytest.raises(NotFinite) as ended:
        run(given)
    text = str(ended.value)
    assert text.startswith("training stopped at step 7: the loss is nan, not a finite number; no model is saved")
    assert "the last good checkpoint is " in text
    assert "checkpoint-4; try a learning_rate below 0.01" in text
    assert "\n" not in text
    assert ended.value.exit_code == 1
    assert checkpoints(given) == ["checkpoint-4"]
    assert first_not_finite(saved(given)) is None
    assert not Path(given.model).exists()


def saved(given: Namespace) -> list[tuple[str, Any]]:
    from safetensors.torch import load_file

    (file,) = Path(given.checkpoints).glob("*/checkpoint-*/model.safetensors")
    return list(load_file(file).items())


def test_weights_that_an_update_spoilt_are_never_a_checkpoint(
    tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_weights_after(8, monkeypatch)
    given = settings(tmp_path, student)
    with pytest.raises(NotFinite, match=r"at step 8: its update left weights that .* \(model\.norm\.weight\)"):
        run(given)
    assert checkpoints(given) == ["checkpoint-4"]


def test_a_validation_loss_that_is_not_finite_ends_the_training(
    tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_weights_after(8, monkeypatch)
    given = settings(tmp_path, student)
    with pytest.raises(NotFinite, match="at step 8: the validation loss is nan"):
        run(given, validated=True)
    assert checkpoints(given) == ["checkpoint-4"]


def test_a_gradient_that_is_not_finite_changes_no_weight(
    tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from student_trainer import StudentTrainer

    original, weights = StudentTrainer.training_step, {}

    def spoil(self: Any, model: Any, *rest: Any) -> Any:
        loss = original(self, model, *rest)
        if self.state.global_step == 2:
            model.model.norm.weight.grad[0] = INF
            weights.update({name: tensor.clone() for name, tensor in model.state_dict().items()})
            weights["model"] = model
        return loss

    monkeypatch.setattr(StudentTrainer, "training_step", spoil)
    with pytest.raises(NotFinite, match=r"at step 3: the norm of the gradient is inf.*no model and no checkpoint"):
        run(settings(tmp_path, student))
    after = weights.pop("model").state_dict()
    assert all(torch.equal(tensor, after[name]) for name, tensor in weights.items())


def test_the_last_update_is_looked_at_too(tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = settings(tmp_path, student, max_steps=3, learning_rate=1e38, warmup_ratio=0.0, lr_scheduler="constant")
    with pytest.raises(NotFinite, match="training stopped at step"):
        run(given)
    given = settings(tmp_path / "one", student, max_steps=1, learning_rate=1e38, warmup_ratio=0.0)
    with pytest.raises(NotFinite):
        run(given)
    assert not Path(given.model).exists()


def test_weights_that_half_precision_cannot_hold_are_not_saved(tmp_path: Path) -> None:
    folder = tmp_path / "half"
    tiny_model().half().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    given = settings(tmp_path, folder, max_steps=1, learning_rate=1e5, warmup_ratio=0.0)
    with pytest.raises(NotFinite, match="the trained student in float16 are not all finite"):
        run(given)
    assert not Path(given.model).exists()


def test_what_was_written_is_read_back(tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fine_tuning

    original = fine_tuning.Student._write

    def torn(self: Any, model: Any) -> None:
        original(self, model)
        file = Path(self.args.model, "model.safetensors")
        file.write_bytes(file.read_bytes()[:-100])

    monkeypatch.setattr(fine_tuning.Student, "_write", torn)
    given = settings(tmp_path, student, max_steps=1)
    with pytest.raises(NotFinite, match="cannot be read back"):
        run(given)
    assert list(Path(given.model).iterdir()) == []


def test_a_saved_model_with_a_nan_is_found(tmp_path: Path, student: Path) -> None:
    check_saved(student, "it")
    for number, value in enumerate((NAN, INF, -INF)):
        folder = broken(tmp_path / str(number), value)
        with pytest.raises(NotFinite, match=r"the first in model\.layers\.1\.mlp\.up_proj\.weight of model"):
            check_saved(folder, "it")
    with pytest.raises(NotFinite, match="holds no weights"):
        check_saved(tmp_path, "it")


# -- float16: the loss scaler ------------------------------------------------------------------------------------------


def steps(guard: StepGuard, outcomes: str) -> int:
    """Run steps through a guard as the trainer does; 's': the scaler skips, 'u': the weights are updated."""
    for step, outcome in enumerate(outcomes, 1):
        guard.before_update(step, 1.0, INF if outcome == "s" else 1.0)
        guard.after_update(step, skipped=outcome == "s")
    return guard.skipped


def test_steps_that_the_loss_scaler_skips_are_no_failures() -> None:
    nine = "s" * (MOST_SKIPPED - 1)
    assert steps(StepGuard(scaled=True), f"{nine}u{nine}uu") == 2 * len(nine)


def test_ten_skipped_steps_in_a_row_end_the_training() -> None:
    with pytest.raises(NotFinite, match=r"at step 12: the gradient overflowed in 10 steps in a row"):
        steps(StepGuard(scaled=True), "uu" + "s" * MOST_SKIPPED)


def test_without_a_loss_scaler_the_first_overflow_ends_the_training() -> None:
    with pytest.raises(NotFinite, match="at step 2"):
        steps(StepGuard(scaled=False), "us")


def test_a_loss_that_is_not_finite_and_is_not_skipped_ends_the_training() -> None:
    guard = StepGuard(scaled=True)
    guard.before_update(1, NAN, INF)
    guard.after_update(1, skipped=True)
    guard.before_update(2, NAN, 1.0)
    with pytest.raises(NotFinite, match="at step 2: the loss is nan"):
        guard.after_update(2, skipped=False)


@pytest.fixture
def scaler(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Torch's loss scaler in the trainer, which takes one on GPUs only: ``scaler.overflow`` holds the attempts (from 0)
    whose gradient overflows.
    """
    from accelerate.state import AcceleratorState
    from student_trainer import StudentTrainer

    # Seldom enough lowered to stay above 0, and never raised.
    found = torch.amp.GradScaler("cpu", init_scale=1024.0)
    found.overflow, found.attempts = set(), 0
    begin, step = StudentTrainer.__init__, StudentTrainer.training_step

    def scaled(self: Any, *args: Any, **kwargs: Any) -> None:
        begin(self, *args, **kwargs)
        monkeypatch.setitem(AcceleratorState._shared_state, "_mixed_precision", "fp16")
        self.accelerator.scaler, self.accelerator.native_amp = found, True
        self.guard = StepGuard(scaled=True)

    def overflowing(self: Any, model: Any, *rest: Any) -> Any:
        loss = step(self, model, *rest)
        if found.attempts in found.overflow:
            model.model.norm.weight.grad[0] = INF
        found.attempts += 1
        return loss

    monkeypatch.setattr(StudentTrainer, "__init__", scaled)
    monkeypatch.setattr(StudentTrainer, "training_step", overflowing)
    return found


def test_the_trainer_sees_which_steps_the_scaler_skipped(tmp_path: Path, student: Path, scaler: Any) -> None:
    scaler.overflow = {0, 1, 5}
    given = settings(tmp_path, student)
    result = run(given)
    assert result["skipped_steps"] == 3
    assert scaler.get_scale() == 1024 / 2**3
    (state,) = Path(given.checkpoints).glob("*/checkpoint-*/trainer_state.json")
    logged = json.loads(state.read_text(), parse_constant=pytest.fail)["log_history"]
    assert [entry["step"] for entry in logged if "loss" in entry and "grad_norm" not in entry] == [1, 2, 6]
    assert first_not_finite(saved(given)) is None


def test_a_run_of_skipped_steps_ends_the_training(tmp_path: Path, student: Path, scaler: Any) -> None:
    scaler.overflow = set(range(2, 15))
    with pytest.raises(NotFinite, match="at step 12: the gradient overflowed in 10 steps in a row"):
        run(settings(tmp_path, student))


def test_float16_on_a_cpu_has_no_scaler_and_stops_at_once(
    tmp_path: Path, student: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil_weights_after(1, monkeypatch)
    with pytest.raises(NotFinite, match=r"at step 2: the loss is nan.*or dtype float32 or bfloat16"):
        run(settings(tmp_path, student, dtype="float16"))


# -- the steps ---------------------------------------------------------------------------------------------------------


def one_error(stderr: str) -> str:
    """The line that tells what went wrong, the only one."""
    assert "Traceback" not in stderr
    (line,) = [line for line in stderr.splitlines() if line.startswith("error[")]
    return line


def test_a_student_with_a_nan_is_not_trained(component: Callable[..., Any], tmp_path: Path) -> None:
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(16))
    ended = component("finetune_student").run({"rows": rows, "student_weights": broken(tmp_path / "student")})
    assert ended.returncode == 1
    assert "error[not_finite]: the weights of the student" in one_error(ended.stderr)
    assert "the first such tensor is model.layers.1.mlp.up_proj.weight" in ended.stderr
    assert not ended.outputs["model"].exists()
    assert not ended.outputs["summary"].exists()


def test_a_training_that_diverges_ends_the_step(component: Callable[..., Any], student: Path, tmp_path: Path) -> None:
    rows = write_jsonl(tmp_path / "rows.jsonl", sums(48))
    far = {"learning_rate": 1, "weight_decay": 1e38}
    ended = component("finetune_student").run({"rows": rows, "student_weights": student, **far})
    assert ended.returncode == 1
    assert "error[not_finite]: training stopped at step" in one_error(ended.stderr)
    assert not ended.outputs["model"].exists()
    assert not ended.outputs["summary"].exists()
    text = (ended.outputs["summary"].parents[1] / "metrics.jsonl").read_text()
    for line in text.splitlines():
        json.loads(line, parse_constant=pytest.fail)


@pytest.mark.slow
@pytest.mark.parametrize("step", ["evaluate", "teacher_logits"])
def test_a_model_with_a_nan_is_not_asked(
    component: Callable[..., Any], student: Path, tmp_path: Path, step: str
) -> None:
    rows, bad = write_jsonl(tmp_path / "rows.jsonl", sums(4)), broken(tmp_path / "bad")
    inputs = {
        "evaluate": {"test_rows": rows, "task_type": "math", "distilled": bad, "baseline_weights": student},
        "teacher_logits": {"rows": rows, "teacher_weights": bad, "student_weights": student},
    }
    ended = component(step).run(inputs[step])
    assert ended.returncode == 1
    assert "error[not_finite]: the weights of the" in one_error(ended.stderr)


def test_a_model_whose_logits_are_nan_does_not_answer(tmp_path: Path, student: Path) -> None:
    from generating import Generator

    model = Generator(str(student), "cpu", torch.float32, 4)
    prompts = [model.prompt(row) for row in sums(2)]
    model.check_logits(prompts)
    with torch.no_grad():
        model.model.model.norm.weight.fill_(NAN)
    with pytest.raises(NotFinite, match=r"logits that are not numbers \(NaN\) in float32"):
        model.check_logits(prompts)


def test_a_teacher_whose_logits_are_nan_is_not_stored(tmp_path: Path, student: Path) -> None:
    from modelling.chat import Chat
    from modelling.examples import make_examples
    from modelling.logit_store import INDEX, LogitWriter
    from teacher_scoring import score

    chat = Chat(tiny_tokenizer())
    examples, _ = make_examples(sums(3), chat, target="response", every_turn=False, max_length=500)
    teacher = tiny_model()
    with torch.no_grad():
        teacher.model.norm.weight.fill_(NAN)
    with pytest.raises(NotFinite, match=r"the teacher's logits of row [0-9a-f]{16} are not numbers"):
        score(teacher, examples, LogitWriter(tmp_path), chat.pad_id, 2, 8, [1.0], 268)
    assert not (tmp_path / INDEX).exists()
