"""An environment may have an interpreter of its own on this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from local_helpers import step

from azdistill.errors import MachineError
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.plan.local_settings import LocalSettings, read_settings

Run = Callable[..., Finished]
SAY = "command -v python > ${{outputs.o}}"


@pytest.fixture
def other(project: Path) -> Path:
    """An interpreter with a name of its own."""
    folder = project / "other" / "bin"
    folder.mkdir(parents=True)
    (folder / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (folder / "python").chmod(0o755)
    return folder / "python"


def test_a_step_finds_the_python_of_its_environment(run: Run, project: Path, other: Path) -> None:
    (project / "azdistill.yml").write_text("local: {pythons: {gpu: ./other/bin/python}}\n")
    jobs = {
        "mine": step(SAY, outputs=("o",)) | {"environment": "azureml:gpu:3"},
        "plain": step(SAY, outputs=("o",)),
    }
    finished = run(jobs)
    used = {name: Path(state.outputs["o"]).read_text().strip() for name, state in finished.state.steps.items()}
    assert used["mine"] == str(other)
    assert used["plain"] != str(other)


def test_an_interpreter_that_is_not_there_is_named(run: Run, project: Path) -> None:
    (project / "azdistill.yml").write_text("local: {pythons: {any: ./nowhere/python}}\n")
    with pytest.raises(MachineError, match="nowhere/python") as caught:
        run({"a": step("true")})
    assert "local.pythons" in caught.value.hint


def test_a_run_that_cannot_start_leaves_its_id_to_the_next(run: Run, project: Path) -> None:
    settings = project / "azdistill.yml"
    settings.write_text("local: {pythons: {any: ./nowhere/python}}\n")
    with pytest.raises(MachineError):
        run({"a": step("true")}, options=Options(run_id="mine"))
    assert list((project / ".azdistill" / "runs").iterdir()) == []
    settings.unlink()
    assert run({"a": step("true")}, options=Options(run_id="mine")).state.run_id == "mine"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ("azureml:gpu:3", "p"),
        ("azureml:gpu@latest", "p"),
        ("azureml:gpu", "p"),
        ("azureml://registries/r/environments/gpu/versions/4", "p"),
        ("azureml:other:1", None),
        (None, None),
    ],
)
def test_the_name_counts_and_not_the_version(environment: str | None, expected: str | None) -> None:
    assert LocalSettings(pythons={"gpu": "p"}).python_of(environment) == expected


def test_a_place_below_home_is_found_there(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(project / "me"))
    written = "data: {a: ~/rows}, components: {c: ~/c.yml}, pythons: {p: ~/venv/bin/python}, environments: {e: ~/image}"
    (project / "azdistill.yml").write_text(f"local: {{{written}}}\n")
    settings = read_settings(project / "azdistill.yml")
    me = project / "me"
    assert settings.data == {"azureml:a": me / "rows"}
    assert settings.components == {"azureml:c": me / "c.yml"}
    assert settings.pythons == {"p": str(me / "venv" / "bin" / "python")}
    assert settings.images.instead == {"e": me / "image"}
