"""What a step leaves gives nobody its user's rights, and what is copied for the user is the user's."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from azdistill.permissions import copy_file, copy_out, make_folders, make_private, restrict

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a program capabilities, or be another")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def put(path: Path, permissions: int, text: str = "text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(permissions)
    return path


@pytest.fixture
def umask() -> Iterator[Callable[[int], None]]:
    def ask(wanted: int) -> None:
        os.umask(wanted)

    before = os.umask(0o022)
    yield ask
    os.umask(before)


@pytest.mark.parametrize("asked", [0, 0o022, 0o077, 0o277])
def test_a_private_folder_is_so_whatever_the_umask(asked: int, tmp_path: Path, umask: Callable[[int], None]) -> None:
    tmp_path.chmod(0o2777)
    umask(asked)
    make_private(tmp_path / "new")
    assert mode(tmp_path / "new") == 0o700


@pytest.mark.parametrize(("there", "after"), [(0o755, 0o700), (0o3777, 0o700), (0o2700, 0o700), (0o555, 0o500)])
def test_a_folder_that_is_there_is_closed(there: int, after: int, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old").chmod(there)
    assert make_private(tmp_path / "old")
    assert mode(tmp_path / "old") == after
    assert not make_private(tmp_path / "old")


@ROOT_ONLY
def test_a_folder_of_somebody_else_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir(mode=0o755)
    os.chown(tmp_path / "theirs", 65534, 65534)
    assert not make_private(tmp_path / "theirs")
    assert mode(tmp_path / "theirs") == 0o755


def test_special_bits_go_and_the_rest_stays(tmp_path: Path) -> None:
    tmp_path.chmod(0o3755)
    program, group, other = put(tmp_path / "a", 0o6711), put(tmp_path / "b" / "c", 0o2640), put(tmp_path / "d", 0o604)
    (tmp_path / "b").chmod(0o1777)
    restrict(tmp_path)
    assert [mode(path) for path in (tmp_path, program, tmp_path / "b", group, other)] == [
        *(0o755, 0o711, 0o777, 0o640, 0o604)
    ]


def test_what_its_owner_could_not_use_becomes_usable(tmp_path: Path) -> None:
    file = put(tmp_path / "closed" / "inner" / "file", 0)
    (tmp_path / "closed" / "inner").chmod(0)
    (tmp_path / "closed").chmod(0o111)
    restrict(tmp_path, usable=True)
    assert [mode(path) for path in (file, file.parent, file.parent.parent)] == [0o600, 0o700, 0o711]


@ROOT_ONLY
def test_an_ordinary_user_gets_into_what_a_step_has_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    file = put(tmp_path / "o" / "closed" / "file", 0o4000)
    file.parent.chmod(0)
    for path in (tmp_path / "o", file.parent, file):
        os.chown(path, 65534, 65534)
    file.chmod(0o4000)
    child = os.fork()
    if not child:
        os.chdir(tmp_path)
        os.setgid(65534)
        os.setuid(65534)
        try:
            restrict(Path("o"), usable=True)
        finally:
            os._exit(0 if mode(Path("o", "closed")) == 0o700 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert [mode(path) for path in (file, file.parent)] == [0o600, 0o700]


def test_neither_a_link_nor_what_it_leads_to_is_touched(tmp_path: Path) -> None:
    outside = put(tmp_path / "outside" / "program", 0o4755)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "file").symlink_to(outside)
    (inside / "folder").symlink_to(outside.parent)
    restrict(inside, usable=True, apart=True)
    restrict(inside / "folder", usable=True)
    assert mode(outside) == 0o4755
    assert (inside / "file").is_symlink()


@pytest.mark.parametrize("apart", [True, False])
def test_a_file_with_another_name_elsewhere_keeps_its_mode_there(apart: bool, tmp_path: Path) -> None:
    outside, plain = put(tmp_path / "outside", 0o4755), put(tmp_path / "plain", 0o644)
    inside = tmp_path / "inside"
    inside.mkdir()
    os.link(outside, inside / "program")
    os.link(plain, inside / "plain")
    restrict(inside, apart=apart)
    assert (mode(outside), mode(inside / "program") & 0o7111) == (0o4755, 0o111)
    assert (inside / "program").read_text() == "text"
    assert (inside / "plain").samefile(plain) is not apart


def test_without_folders_these_stay_as_the_user_made_them(tmp_path: Path) -> None:
    tmp_path.chmod(0o2755)
    file = put(tmp_path / "file", 0o4755)
    restrict(tmp_path, folders=False)
    assert (mode(tmp_path), mode(file)) == (0o2755, 0o755)


@ROOT_ONLY
def test_capabilities_of_a_program_go(tmp_path: Path) -> None:
    program = put(tmp_path / "program", 0o755)
    # Version 2, effective, with every capability permitted.
    held = b"\x01\x00\x00\x02" + b"\xff" * 4 + b"\x00" * 4 + b"\xff" * 4 + b"\x00" * 4
    try:
        os.setxattr(program, "security.capability", held)
    except OSError as error:
        pytest.skip(f"the file system or this container refuses it: {error}")
    copy_file(program, tmp_path / "copy")
    restrict(tmp_path)
    assert [os.listxattr(path) for path in (program, tmp_path / "copy")] == [[], []]
    assert mode(program) == 0o755


@pytest.mark.parametrize(
    ("asked", "file", "program"), [(0, 0o666, 0o777), (0o022, 0o644, 0o755), (0o077, 0o600, 0o700)]
)
def test_copies_follow_the_umask_and_stay_executable(
    asked: int, file: int, program: int, tmp_path: Path, umask: Callable[[int], None]
) -> None:
    put(tmp_path / "kept" / "inner" / "file", 0o4444)
    os.utime(put(tmp_path / "kept" / "program", 0o6555), (1, 1))
    (tmp_path / "kept" / "inner").chmod(0o3555)
    tmp_path.chmod(0o2777)
    umask(asked)
    out = tmp_path / "new" / "out"
    copy_out(tmp_path / "kept", out)
    assert (mode(out / "inner" / "file"), mode(out / "program")) == (file, program)
    assert [mode(path) for path in (out.parent, out, out / "inner")] == [program] * 3
    assert (out / "program").stat().st_mtime == 1


def test_a_copy_takes_the_place_of_a_file_and_of_a_link_but_not_of_what_that_leads_to(tmp_path: Path) -> None:
    source, mine = put(tmp_path / "source", 0o644, "new"), put(tmp_path / "mine", 0o444, "mine")
    (tmp_path / "link").symlink_to(mine)
    for target in (tmp_path / "link", put(tmp_path / "old", 0o444)):
        copy_file(source, target)
        assert (target.read_text(), target.is_symlink()) == ("new", False)
    assert mine.read_text() == "mine"


def test_folders_that_are_there_keep_the_group_bit_that_the_user_gave_them(tmp_path: Path) -> None:
    tmp_path.chmod(0o2755)
    make_folders(tmp_path / "a" / "b")
    assert [mode(path) & 0o7000 for path in (tmp_path, tmp_path / "a", tmp_path / "a" / "b")] == [0o2000, 0, 0]


def test_what_vanishes_meanwhile_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a" / "file", 0o4644)
    put(tmp_path / "b", 0o4644)
    real = os.lstat

    def lstat(path: object, **more: object) -> os.stat_result:
        shutil.rmtree(tmp_path / "a", ignore_errors=True)
        return real(path, **more)  # type: ignore[arg-type]

    monkeypatch.setattr("azdistill.permissions.os.lstat", lstat)
    restrict(tmp_path)
    monkeypatch.undo()
    assert mode(tmp_path / "b") == 0o644
