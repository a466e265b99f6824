"""Models in MLflow's layout, as registries hand them out, are taken like any other."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from common.step import NoInput
from inference_engine import whole
from modelling import registered
from modelling.models import check_folder, load_model, load_tokenizer
from snapshots import COMPONENTS, Component, chat, write_jsonl
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


@pytest.mark.slow
def test_an_engine_serves_a_teacher_that_mlflow_laid_out(component: Callable[..., Component], tmp_path: Path) -> None:
    folder = lay_out(save_tiny(tmp_path / "tiny", vocabulary=268), tmp_path / "registered", *LAYOUTS["registry"])
    rows = write_jsonl(tmp_path / "rows.jsonl", [{"id": "0" * 16, **chat("Say 1.")}])
    given = {"rows": rows, "task_type": "conversation", "teacher_model": "tiny", "max_tokens": 8}
    result = component("teacher_in_job").run({**given, "teacher_weights": folder, "min_success_ratio": 0.0})
    assert result.returncode == 0, result.stderr
    assert result.summary["requests"] == 1


def test_weights_and_tokenizer_are_served_from_one_folder(tmp_path: Path) -> None:
    folder = lay_out(save_tiny(tmp_path / "tiny"), tmp_path / "registered", *LAYOUTS["mlflow"])
    together = whole(folder / "model", tmp_path)
    assert {file.name for file in together.iterdir()} == {file.name for file in (tmp_path / "tiny").iterdir()}
    assert all(file.is_file() for file in together.iterdir())
    assert whole(tmp_path / "tiny", tmp_path) == tmp_path / "tiny"


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
    # A step whose code names the library counts as one that logs there itself (docs/contributing/tracking.md): it
    # waits for its run.
    for file in (COMPONENTS / "modelling").glob("*.py"):
        assert "mlflow" not in file.read_text(encoding="utf-8"), file
