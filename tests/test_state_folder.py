"""The state folder is its user's alone, however it came about; a folder of the user's is not taken for one."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from azdistill.cloud.jobs import recent
from azdistill.local.store.home import Home
from azdistill.permissions import exposed, open_state_folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def new(root: Path) -> None:
    root.parent.mkdir(exist_ok=True)


def old(root: Path) -> None:
    """As an earlier version left it, with what a container put into its cache."""
    (root / "cache" / "ab").mkdir(parents=True)
    (root / "runs").mkdir()
    root.chmod(0o2755)
    (root / "cache").chmod(0o2755)
    (root / "cache" / "ab" / "sh").write_text("a shell")
    (root / "cache" / "ab" / "sh").chmod(0o6555)


def marked(root: Path) -> None:
    """One that says that it is azdistill's, and holds an output of the user's naming."""
    root.mkdir()
    (root / ".gitignore").write_text("# Made by azdistill.\n*\n")
    (root / "models").mkdir()


def submitted(root: Path) -> None:
    os.environ["AZDISTILL_HOME"] = str(root)
    recent.remember(type("Connection", (), {"workspace_id": "w"})(), "job")
    assert (root / "submitted.jsonl").exists()


@pytest.mark.parametrize("name", [".azdistill", "state"])
@pytest.mark.parametrize("state", [new, old, marked, submitted])
def test_others_cannot_enter_it(
    state: Callable[[Path], None], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZDISTILL_HOME", "")
    root = tmp_path / "above" / name
    root.parent.mkdir()
    root.parent.chmod(0o2775)
    before = os.umask(0)
    try:
        state(root)
        Home(root).prepare()
    finally:
        os.umask(before)
    assert mode(root) == 0o700
    assert [path for path in root.rglob("*") if mode(path) & 0o7000] == []
    assert exposed(root) == []


def test_a_folder_of_the_users_stays_open_and_is_named_and_what_is_azdistills_in_it_is_closed(tmp_path: Path) -> None:
    root = tmp_path / "mine"
    root.mkdir()
    root.chmod(0o755)
    (root / "note.txt").write_text("mine")
    for folder in (root / "downloads", root / "pictures"):
        folder.mkdir()
        folder.chmod(0o755)
    home = Home(root).prepare([root / "answers" / "t"])
    assert {path.name: mode(path) for path in root.iterdir() if path.is_dir()} == {
        **{"runs": 0o700, "cache": 0o700, "downloads": 0o700, "answers": 0o700, "pictures": 0o755}
    }
    assert mode(root) == 0o755
    (line,) = home.exposed([])
    assert line.startswith(f"others can enter the state folder {root} (mode 0755; it holds other things too")


def test_a_folder_that_is_everybodys_is_not_closed_however_empty(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    open_state_folder(tmp_path / "shared")
    assert mode(tmp_path / "shared") == 0o1777
    assert exposed(tmp_path / "shared")


def test_one_that_cannot_be_closed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    root = tmp_path / ".azdistill"
    root.mkdir()
    root.chmod(0o755)
    monkeypatch.setattr("azdistill.permissions.os.chmod", refuse)
    home = Home(root).prepare()
    (line,) = home.exposed([])
    assert "mode 0755; it cannot be closed" in line


@pytest.mark.parametrize(("name", "after"), [("cache", 0o700), ("datastores", 0o755)])
def test_what_a_link_leads_to_is_closed_but_for_data(name: str, after: int, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk").chmod(0o755)
    (tmp_path / ".azdistill").mkdir()
    (tmp_path / ".azdistill" / name).symlink_to(tmp_path / "disk")
    home = Home(tmp_path / ".azdistill").prepare()
    assert mode(tmp_path / "disk") == after
    place = home.root / name / "d" / "p"
    assert home.exposed([place]) == [
        f"{place} leads out of the state folder, to {tmp_path / 'disk/d/p'}: who may read it is said there"
    ]
