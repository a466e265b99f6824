"""Paths spelt so that a command that quotes nothing can hold them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azdistill.aml.quoting import PLAIN
from azdistill.local.run import prepare


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    prepare._folder_of_links.cache_clear()
    return folder


def test_a_path_that_is_one_word_is_itself(temporary: Path) -> None:
    assert prepare.as_word("/data/größer/a-b_c.jsonl") == "/data/größer/a-b_c.jsonl"
    assert not list(temporary.iterdir())


def test_the_link_stands_as_far_up_as_can_be(tmp_path: Path, temporary: Path) -> None:
    file = tmp_path / "my project" / "data" / "x.csv"
    file.parent.mkdir(parents=True)
    file.write_text("x")
    word = Path(prepare.as_word(str(file)))
    assert word.name == "x.csv"
    assert not word.is_symlink()
    assert word.resolve() == file.resolve()
    assert prepare.as_word(str(file)) == str(word)
    assert len(list(next(temporary.iterdir()).iterdir())) == 1


def test_links_to_what_is_gone_are_swept(tmp_path: Path, temporary: Path) -> None:
    gone, kept = tmp_path / "a b", tmp_path / "c d"
    gone.mkdir()
    kept.mkdir()
    prepare.as_word(str(gone)), prepare.as_word(str(kept))
    gone.rmdir()
    prepare._folder_of_links.cache_clear()
    prepare.as_word(str(kept))
    assert [link.readlink() for link in next(temporary.iterdir()).iterdir()] == [kept]


def test_a_folder_that_others_may_write_to_is_not_used(tmp_path: Path, temporary: Path) -> None:
    prepare.as_word(str(tmp_path / "a b"))
    ours = next(temporary.iterdir())
    ours.chmod(0o777)
    prepare._folder_of_links.cache_clear()
    assert not prepare.as_word(str(tmp_path / "a b")).startswith(f"{ours}/")


@given(st.lists(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), min_size=1, max_size=20), min_size=1))
def test_every_path_becomes_one_word(names: list[str]) -> None:
    word = prepare.as_word("/" + "/".join(names))
    assert PLAIN.fullmatch(word)


def test_others_do_not_read_where_the_users_projects_lie(tmp_path: Path, temporary: Path) -> None:
    ours = temporary / f"azdistill-{os.getuid()}"
    ours.mkdir(exist_ok=True)
    ours.chmod(0o755)
    prepare._folder_of_links.cache_clear()
    assert prepare.as_word(str(tmp_path / "a b")).startswith(f"{ours}/")
    assert ours.stat().st_mode & 0o7077 == 0
