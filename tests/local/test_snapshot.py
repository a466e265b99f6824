"""The code folder as Azure would take it."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from azdistill.errors import UserError
from azdistill.local.cache.hashes import Hashes
from azdistill.snapshot import take


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A project with a component's folder, and a folder that it may include."""
    files = {
        "project/pyproject.toml": "",
        "project/component/train.py": "train",
        "project/component/notes.txt": "notes",
        "project/component/data/big.bin": "big",
        "project/component/data/keep.bin": "keep",
        "project/component/__pycache__/train.pyc": "compiled",
        "project/common/rows.py": "rows",
        "project/common/notes.txt": "notes",
        "project/common/tasks/nli.py": "nli",
        "outside.txt": "outside",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "project" / "component"


def names(code: Path, *includes: str) -> set[str]:
    """What is in the snapshot."""
    return set(take(code, [code / include for include in includes], base=code).files)


def test_everything_but_pycache_travels(code: Path) -> None:
    assert names(code) == {"train.py", "notes.txt", "data/big.bin", "data/keep.bin"}


def test_amlignore_goes_before_gitignore(code: Path) -> None:
    (code / ".gitignore").write_text("train.py\n")
    assert names(code) == {".gitignore", "notes.txt", "data/big.bin", "data/keep.bin"}
    (code / ".amlignore").write_text("# comment\n\n*.bin\n!keep.bin\n")
    assert names(code) == {".gitignore", ".amlignore", "train.py", "notes.txt", "data/keep.bin"}


def test_includes_are_laid_beside_the_files(code: Path) -> None:
    assert {"train.py", "common/rows.py", "common/tasks/nli.py"} <= names(code, "../common")
    assert {"train.py", "rows.py"} <= names(code, "../common/rows.py")


def test_the_code_folders_ignore_file_holds_for_includes_too(code: Path) -> None:
    (code / ".amlignore").write_text("notes.txt\n")
    assert names(code, "../common").isdisjoint({"notes.txt", "common/notes.txt"})


def test_ignore_files_of_inner_folders_count_only_with_includes(code: Path) -> None:
    (code / "data" / ".amlignore").write_text("big.bin\n")
    assert "data/big.bin" in names(code)
    assert "data/big.bin" not in names(code, "../common")
    assert "data/keep.bin" in names(code, "../common")


def test_a_folder_is_zipped_where_an_include_asks_for_its_archive(code: Path, tmp_path: Path) -> None:
    taken = take(code, [code / "../common.zip"], base=code)
    taken.lay_out(tmp_path / "laid")
    with zipfile.ZipFile(tmp_path / "laid" / "common.zip") as archive:
        assert sorted(archive.namelist()) == ["common/notes.txt", "common/rows.py", "common/tasks/nli.py"]


def test_a_single_file_can_be_the_code(code: Path) -> None:
    assert set(take(code / "train.py", base=code).files) == {"train.py"}


def test_a_missing_include_is_named(code: Path) -> None:
    with pytest.raises(UserError, match="nothing"):
        names(code, "../nothing")


def test_a_link_inside_the_project_is_followed_and_one_that_leaves_it_is_refused(code: Path) -> None:
    (code / "link.py").symlink_to("../common/rows.py")
    assert "link.py" in names(code)
    (code / "out.txt").symlink_to("../../outside.txt")
    with pytest.raises(UserError, match="leaves the project"):
        names(code)


def test_a_link_in_a_folder_that_is_zipped_leaves_the_project_no_more_than_another(code: Path) -> None:
    (code / "../common/passwd").symlink_to("/etc/passwd")
    with pytest.raises(UserError, match="leaves the project") as caught:
        names(code, "../common.zip")
    assert "/etc/passwd" in caught.value.hint


def test_a_link_that_is_ignored_may_lead_anywhere(code: Path) -> None:
    (code / "python").symlink_to("/usr/bin/env")
    (code / ".amlignore").write_text("python\n")
    assert "python" not in names(code)


def test_that_there_was_a_run_makes_no_project(code: Path) -> None:
    (code / ".azdistill").mkdir()
    (code / "link.py").symlink_to("../common/rows.py")
    assert "link.py" in names(code)


def test_a_pipe_is_no_code(code: Path) -> None:
    os.mkfifo(code / "pipe")
    assert "pipe" not in names(code)
    with pytest.raises(UserError, match="does not exist"):
        take(code / "pipe", base=code)


def test_links_in_a_ring_end(code: Path) -> None:
    (code / "data" / "up").symlink_to("..")
    assert "data/keep.bin" in names(code)


def test_it_is_laid_out_as_copies_that_keep_their_mode(code: Path, tmp_path: Path) -> None:
    (code / "train.py").chmod(0o755)
    take(code, base=code).lay_out(tmp_path / "laid")
    (tmp_path / "laid" / "train.py").write_text("changed")
    assert (code / "train.py").read_text() == "train"
    assert os.access(tmp_path / "laid" / "train.py", os.X_OK)
    assert not (tmp_path / "laid" / "notes.txt").stat().st_mode & 0o111


def test_the_hash_is_over_names_and_contents(code: Path, tmp_path: Path) -> None:
    hashes = Hashes(tmp_path / "hashes.sqlite")
    before = take(code, base=code).tree_hash(hashes)
    os.utime(code / "train.py", ns=(5, 5))
    assert take(code, base=code).tree_hash(hashes) == before
    (code / "train.py").rename(code / "other.py")
    assert take(code, base=code).tree_hash(hashes) != before
    hashes.close()


def test_the_state_folder_never_travels(code: Path) -> None:
    (code / ".azdistill" / "runs").mkdir(parents=True)
    (code / ".azdistill" / "runs" / "log.txt").touch()
    assert not [name for name in take(code, [], base=code).files if name.startswith(".azdistill")]


def test_a_state_folder_of_another_name_does_not_travel_either(code: Path) -> None:
    for name in ("runs", "cache"):
        (code / "inner" / "state" / name).mkdir(parents=True)
    (code / "inner" / "state" / "runs" / "log.txt").touch()
    (code / "inner" / "runs").mkdir()
    (code / "inner" / "runs" / "mine.txt").touch()
    assert "inner/state/runs/log.txt" in names(code)
    (code / "inner" / "state" / "seal").touch()
    assert {name for name in names(code) if name.startswith("inner/")} == {"inner/runs/mine.txt"}
