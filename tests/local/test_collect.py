"""Entries that are found, collected or cut short by a power cut, and what is believed of them afterwards."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from azdistill.local.cache.entries import USED, Cache, Entry
from azdistill.local.cache.gc import held_entries, remove_entries
from azdistill.local.outputs import manifest as outputs
from azdistill.local.store.durable_files import hash_file
from azdistill.local.store.home import Home

KEY = "ab" * 32


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home").prepare()


@pytest.fixture
def entry(home: Home, tmp_path: Path) -> Entry:
    """An entry that was last used a day ago."""
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "o").write_text("rows")
    (tmp_path / "metrics").write_text('{"kind": "metric", "name": "loss", "value": 0.5}\n')
    manifest = outputs.record({"o": tmp_path / "made" / "o"})
    made = Cache(home).commit(KEY, manifest, tmp_path / "made", tmp_path / "metrics", {})
    assert made
    (made.folder / USED).touch()
    os.utime(made.folder / USED, (time.time() - 86400,) * 2)
    return made


def test_an_output_without_files_whose_folder_is_gone_is_not_what_was_recorded(tmp_path: Path) -> None:
    empty = tmp_path / "o"
    empty.mkdir()
    manifest = outputs.record({"o": empty})
    assert manifest.matches({"o": empty}, hash_file)
    empty.rmdir()
    assert not manifest.matches({"o": empty}, hash_file)


def test_an_entry_that_a_run_found_meanwhile_is_not_removed(home: Home, entry: Entry) -> None:
    chosen = held_entries(home)
    assert Cache(home).find(KEY) is not None
    assert remove_entries(home, chosen) == 0
    assert Cache(home).find(KEY) is not None


def test_an_entry_that_nobody_found_is_removed(home: Home, entry: Entry) -> None:
    assert remove_entries(home, held_entries(home)) == len("rows")
    assert not entry.folder.exists()
    assert list((home.cache / "tmp").iterdir()) == []


def test_what_is_collected_while_it_is_found_is_a_miss(
    home: Home, entry: Entry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def matches(self: outputs.Manifest, paths: dict[str, Path], hash_of: outputs.Hash) -> bool:
        shutil.rmtree(entry.folder)
        return True

    (entry.folder / "outputs").chmod(0o700)
    monkeypatch.setattr(outputs.Manifest, "matches", matches)
    assert Cache(home).find(KEY) is None
    assert not entry.folder.exists()


@pytest.mark.parametrize("cut", ["", None, '{"kind": "metric"'])
def test_an_entry_that_has_lost_its_metrics_is_a_miss(home: Home, entry: Entry, cut: str | None) -> None:
    assert Cache(home).find(KEY) is not None
    entry.metrics.unlink() if cut is None else entry.metrics.write_text(cut)
    assert Cache(home).find(KEY) is None


def test_an_entry_of_an_earlier_version_is_found(home: Home, entry: Entry) -> None:
    manifest = entry.folder / outputs.MANIFEST
    stored = json.loads(manifest.read_text())
    del stored["metrics"]
    manifest.write_text(json.dumps(stored))
    assert Cache(home).find(KEY) is not None


def test_metrics_are_on_disk_before_the_manifest_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []

    def sync(path: Path) -> None:
        assert not (tmp_path / outputs.MANIFEST).exists()
        synced.append(path.name)

    (tmp_path / outputs.METRICS).write_text("{}\n")
    monkeypatch.setattr(outputs, "sync", sync)
    outputs.Manifest({}).write(tmp_path)
    assert synced == [outputs.METRICS]
