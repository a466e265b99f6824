"""Hashes are remembered by stat, and never wrong for it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from azdistill.local.cache import hashes as module
from azdistill.local.cache.hashes import Hashes
from azdistill.local.store.durable_files import hash_file


def aged(path: Path, seconds: float = 60) -> Path:
    """``path`` as if it had been written some time ago."""
    then = time.time() - seconds
    os.utime(path, (then, then))
    return path


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a minute later than the files say; nobody can make the time of their last change older."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + 60)


@pytest.mark.usefixtures("later")
def test_a_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("content")
    first = Hashes(tmp_path / "hashes.sqlite")
    expected = first.file(aged(path))
    first.close()
    monkeypatch.setattr(module, "hash_file", lambda path: pytest.fail("read again"))
    again = Hashes(tmp_path / "hashes.sqlite")
    assert again.file(path) == expected
    again.close()


@pytest.mark.parametrize("old", [False, True], ids=["its own time", "an old time"])
def test_a_file_of_a_moment_ago_is_read_again(tmp_path: Path, old: bool) -> None:
    # Within one tick of the file system's clock a change of the same size leaves the same stat.
    path = tmp_path / "file"
    path.write_text("one")
    known = Hashes(tmp_path / "hashes.sqlite")
    before, stat = known.file(aged(path) if old else path), path.stat()
    path.write_text("two")
    os.utime(path, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    assert known.file(path) == hash_file(path) != before
    known.close()


@pytest.mark.usefixtures("later")
def test_a_file_that_is_written_over_with_its_old_size_and_time_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    known = Hashes(tmp_path / "hashes.sqlite")
    before, stat = known.file(path), path.stat()
    # The clock of a file system ticks every few milliseconds.
    while path.stat().st_ctime_ns == stat.st_ctime_ns:
        path.write_text("two")
        os.utime(path, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
    assert known.file(path) == hash_file(path) != before
    known.close()


@pytest.mark.usefixtures("later")
def test_what_an_earlier_version_remembered_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("content")
    Hashes(tmp_path / "hashes.sqlite").close()
    found = path.stat()
    with sqlite3.connect(tmp_path / "hashes.sqlite") as database:
        mark = f"{found.st_size} {found.st_mtime_ns} {found.st_ino}"
        database.execute("INSERT INTO hashes VALUES (?, ?, ?)", (str(path), mark, "0" * 64))
    known = Hashes(tmp_path / "hashes.sqlite")
    assert known.file(path) == hash_file(path)
    known.close()


def test_a_broken_memory_only_costs_time(tmp_path: Path) -> None:
    (tmp_path / "hashes.sqlite").write_bytes(b"no database" * 100)
    path = tmp_path / "file"
    path.write_text("content")
    known = Hashes(tmp_path / "hashes.sqlite")
    assert known.file(aged(path)) == hash_file(path)
    known.close()


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("change", ["replaced", "replaced and put back", "written to"])
def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path, aside, other = (tmp_path / name for name in ("file", "aside", "other"))
    path.write_text("one")
    other.write_text("two")

    def hash_meanwhile(real: Path) -> str:
        monkeypatch.undo()
        if change == "written to":
            path.write_text("two")
            return hash_file(real)
        path.rename(aside)
        other.rename(path)
        sha256 = hash_file(real)
        if change == "replaced and put back":
            path.rename(other)
            aside.rename(path)
        return sha256

    known = Hashes(tmp_path / "hashes.sqlite")
    monkeypatch.setattr(module, "hash_file", hash_meanwhile)
    wrong = known.file(path)
    assert wrong == hash_file(other if change == "replaced and put back" else path)
    if change == "replaced":
        path.rename(other)
        aside.rename(path)
    assert known.file(path) == hash_file(path)
    known.close()


@pytest.mark.usefixtures("later")
def test_a_file_that_several_threads_need_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_text("content")
    begun, go_on, read = threading.Event(), threading.Event(), list[Path]()

    def hash_slowly(real: Path) -> str:
        read.append(real)
        begun.set()
        go_on.wait()
        return hash_file(real)

    monkeypatch.setattr(module, "hash_file", hash_slowly)
    known = Hashes(tmp_path / "hashes.sqlite")
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(known.file, path)
        begun.wait()
        others = [pool.submit(known.file, path) for _ in range(3)]
        go_on.set()
        assert {future.result() for future in (first, *others)} == {hash_file(path)}
    assert len(read) == 1
    known.close()
