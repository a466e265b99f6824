"""The student that is saved computes what the student computed that was trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from common.step import BadConfig, NoInput, StepError
from finetune_settings import settings
from lazily import Lazily
from tiny_models import save_tiny, sums

torch = Lazily("torch")

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
    from fine_tuning import Student, train
    from modelling.models import load_model

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
    from fine_tuning import Student

    layer = "lm_head" if targets == "lm_head" else "model.embed_tokens"
    other = "model.embed_tokens" if targets == "lm_head" else "lm_head"
    with pytest.raises(BadConfig, match=rf"names {layer}, whose weights this student shares with {other} \(tied\)"):
        Student(settings(tmp_path, students[True], lora=True, lora_target_modules=targets))


@pytest.mark.filterwarnings("ignore:The following .*_pattern keys did not match")
def test_adapters_of_experts_are_no_shared_weights_and_are_saved_as_trained(tmp_path: Path) -> None:
    from fine_tuning import Student, train
    from modelling.models import load_model
    from tiny_models import tiny_tokenizer
    from transformers import MixtralConfig, MixtralForCausalLM

    config = MixtralConfig(
        vocab_size=268, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=512, pad_token_id=0, eos_token_id=3, bos_token_id=None,
        num_local_experts=4, initializer_range=0.2,
    )  # fmt: skip
    MixtralForCausalLM(config).save_pretrained(tmp_path / "student")
    tiny_tokenizer().save_pretrained(tmp_path / "student")
    given = settings(tmp_path, tmp_path / "student", max_steps=3, lora=True, lora_alpha=32.0)
    student = Student(given)
    training, _ = student.examples(sums(16), "rows")
    ids = torch.tensor([training[0].encoded.ids])
    train(student, training, [], "same")
    with torch.no_grad():
        trained = student.model.eval()(input_ids=ids).logits
        student.save()
        saved = load_model(given.model, torch.float32, "cpu")(input_ids=ids).logits
    assert torch.allclose(saved, trained, atol=1e-4)


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ("q_proj,no_proj", "names no_proj, and no layer of this student is called so"),
        ("q_proj v_proj", "names q_proj v_proj, and no layer"),
        (".*q_proj", r"names \.\*q_proj, and no layer"),
        ("all-linear,q_proj", "all-linear stands alone"),
    ],
)
def test_a_name_that_no_layer_has_is_not_passed_over(
    tmp_path: Path, students: dict[bool, Path], targets: str, words: str
) -> None:
    from fine_tuning import Student

    with pytest.raises(BadConfig, match=words):
        Student(settings(tmp_path, students[False], lora=True, lora_target_modules=targets))


@pytest.mark.parametrize("targets", [" all-linear ", "", ",", "q_proj,", " q_proj , v_proj "])
def test_blanks_and_empty_names_mean_nothing(tmp_path: Path, students: dict[bool, Path], targets: str) -> None:
    from fine_tuning import Student

    student = Student(settings(tmp_path, students[True], lora=True, lora_target_modules=targets))
    adapted = {name.split(".lora_")[0] for name, _ in student.model.named_parameters() if "lora_" in name}
    asked = [name.strip() for name in targets.split(",") if "_" in name]
    inner = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    assert {name.rpartition(".")[2] for name in adapted} == set(asked or inner)


def test_a_merge_that_changes_the_student_is_seen_and_nothing_is_saved(
    tmp_path: Path, students: dict[bool, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import fine_tuning

    monkeypatch.setattr(fine_tuning, "refuse_shared_targets", lambda adapted: None)
    given = settings(tmp_path, students[True], max_steps=6, lora=True, lora_target_modules="lm_head", lora_alpha=32.0)
    student = fine_tuning.Student(given)
    examples, _ = student.examples(sums(24), "rows")
    fine_tuning.train(student, examples, [], "same")
    with pytest.raises(StepError, match="the student is not the one that was trained: logits differ by"):
        student.save()
    assert not Path(given.model).exists()


def change_config(old: str, new: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        config = folder / "config.json"
        text = config.read_text()
        assert old in text
        config.write_text(text.replace(old, new))

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        pytest.param(change_config('"num_hidden_layers": 2', '"num_hidden_layers": 3'), "lacks 9 of its", id="layer"),
        pytest.param(change_config('"vocab_size": 268', '"vocab_size": 300'), "do not fit its config.json", id="size"),
        pytest.param(
            lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 99), "weights are damaged", id="bytes"
        ),
    ],
)
def test_a_model_that_is_not_whole_is_not_made_up(tmp_path: Path, change: Callable[[Path], object], words: str) -> None:
    from modelling.models import load_model

    folder = save_tiny(tmp_path / "student")
    change(folder)
    with pytest.raises(NoInput, match=words) as ended:
        load_model(str(folder), "auto", "cpu", what="student")
    assert "\n" not in str(ended.value)
