"""Models in MLflow's layout, as registries hand them out, are taken like any other."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from common.step import NoInput
from modelling import registered
from modelling.models import check_folder, load_model, load_tokenizer
from snapshots import COMPONENTS
from tiny_models import save_tiny

LAYOUTS = {
    "mlflow": ("", "model", "components/tokenizer"),
    "registry": ("mlflow_model_folder", "model", "tokenizer"),
    "hftransformers": ("mlflow_model_folder", "data/model", "data/tokenizer"),
}


def lay_out(tiny: Path, folder: Path, root: str, model: str, tokenizer: str) -> Path:
    """The files of a model as a registry has them."""
    for place in (folder / root / model, folder / root / tokenizer):
        place.mkdir(parents=True)
    (folder / root / "MLmodel").write_text("flavors: {}\n")
    for file in tiny.iterdir():
        is_tokenizer = file.name.startswith(("tokenizer", "chat_template", "special_tokens"))
        shutil.copy(file, folder / root / (tokenizer if is_tokenizer else model))
    return folder


@pytest.mark.parametrize("name", LAYOUTS)
def test_weights_and_tokenizer_are_found_wherever_mlflow_put_them(name: str, tmp_path: Path) -> None:
    root, model, tokenizer = LAYOUTS[name]
    folder = lay_out(save_tiny(tmp_path / "tiny"), tmp_path / "registered", root, model, tokenizer)
    source = check_folder(str(folder), "student")
    assert source == str(folder / root / model)
    assert load_tokenizer(source).chat_template == load_tokenizer(str(tmp_path / "tiny")).chat_template
    assert load_model(source, "auto", "cpu").config.model_type == "llama"


def test_a_folder_of_hugging_face_is_taken_as_it_is(tmp_path: Path) -> None:
    tiny = save_tiny(tmp_path / "tiny")
    assert check_folder(str(tiny), "student") == str(tiny)
    assert registered.tokenizer_for(tiny) is None


def test_an_mlflow_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "MLmodel").write_text("flavors: {sklearn: {}}\n")
    with pytest.raises(NoInput, match="holds no config"):
        check_folder(str(tmp_path), "student")


def test_code_that_many_steps_share_does_not_make_them_wait_for_mlflow() -> None:
    # A step whose code names the library is taken to log there itself (docs/architecture.md), and waits for its run.
    for file in (COMPONENTS / "modelling").glob("*.py"):
        assert "mlflow" not in file.read_text(encoding="utf-8"), file
