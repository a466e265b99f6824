"""The student that is saved computes what the student computed that was trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from finetune_settings import settings
from tiny_models import save_tiny, sums

torch = pytest.importorskip("torch")

from common.step import BadConfig  # noqa: E402

#: ``None``: all weights are trained. Whatever is accepted of these is saved as it was trained.
INNER = [None, "all-linear", "q_proj", "q_proj,v_proj,down_proj", "layers.0.mlp.gate_proj"]
OUTER = ["lm_head", "embed_tokens", "embed_tokens,lm_head", "embed_tokens,lm_head,q_proj", "model.embed_tokens"]


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    folder = tmp_path_factory.mktemp("students")
    return {tied: save_tiny(folder / str(tied), tied=tied) for tied in (True, False)}


CASES = [(tied, targets) for tied in (True, False) for targets in (INNER if tied else INNER + OUTER)]


@pytest.mark.parametrize(("tied", "targets"), CASES)
def test_the_saved_student_is_the_trained_one(
    tmp_path: Path, students: dict[bool, Path], tied: bool, targets: str | None
) -> None:
    from modelling.models import load_model
    from training import Student, train

    lora = {"lora": targets is not None, "lora_target_modules": targets, "lora_alpha": 32.0}
    given = settings(tmp_path, students[tied], max_steps=6, **lora)
    student = Student(given)
    training, _ = student.examples(sums(24), "rows")
    validation, _ = student.examples(sums(4, seed=99), "validation")
    ids = torch.tensor([training[0].encoded.ids])
    with torch.no_grad():
        before = student.model.eval()(input_ids=ids).logits
    train(student, training, validation, "same")
    with torch.no_grad():
        trained = student.model.eval()(input_ids=ids).logits
        student.save()
        saved = load_model(given.model, torch.float32, "cpu")(input_ids=ids).logits
    assert (trained - before).abs().max() > 0.1, "nothing was learnt"
    assert torch.allclose(saved, trained, atol=1e-4)


@pytest.mark.parametrize("targets", OUTER)
def test_adapters_of_a_weight_that_two_layers_share_are_refused(
    tmp_path: Path, students: dict[bool, Path], targets: str
) -> None:
    from training import Student

    layer = "lm_head" if targets == "lm_head" else "model.embed_tokens"
    other = "model.embed_tokens" if targets == "lm_head" else "lm_head"
    with pytest.raises(BadConfig, match=rf"names {layer}, whose weights this student shares with {other} \(tied\)"):
        Student(settings(tmp_path, students[True], lora=True, lora_target_modules=targets))
