"""The state folder: what is in it that is not ours is left alone, and a disk that takes nothing is told."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from local_helpers import statuses, step

from azdistill.cli.cache import collect_entries
from azdistill.errors import MachineError
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.store.home import Home

OLD = time.time() - 90 * 86400


def put(path: Path) -> Path:
    """A file of the user's, long untouched."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("mine")
    os.utime(path, (OLD, OLD))
    os.utime(path.parent, (OLD, OLD))
    return path


def test_a_run_and_the_collector_remove_nothing_that_azdistill_has_not_made(
    run: Callable[..., Finished], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "mine"
    files = [
        put(home / "note.txt"),
        put(home / "runs" / "x" / "f"),
        put(home / "cache" / "tmp" / "1-2-3" / "f"),
        put(home / "cache" / "ab" / "abcdef" / "f"),
        put(home / "cache" / "ab" / ("ab" * 32) / "f"),
    ]
    monkeypatch.setenv("AZDISTILL_HOME", str(home))
    assert statuses(run({"a": step("true")})) == {"a": "completed"}
    assert collect_entries.callback
    collect_entries.callback(older_than="1d", max_size="0B", dry_run=False)
    assert [file.read_text() for file in files] == ["mine"] * len(files)


def test_git_is_told_to_pass_over_the_state_folder_and_over_no_other(tmp_path: Path) -> None:
    assert (Home(tmp_path / ".azdistill").prepare().root / ".gitignore").read_text().endswith("*\n")
    assert (Home(tmp_path / "new").prepare().root / ".gitignore").exists()
    put(tmp_path / "mine" / "note.txt")
    assert not (Home(tmp_path / "mine").prepare().root / ".gitignore").exists()


@pytest.mark.parametrize("inner", ["", "runs", "cache"])
@pytest.mark.parametrize("target", ["/nowhere/azd", "."], ids=["nothing", "ring"])
def test_a_link_that_leads_nowhere_is_named(tmp_path: Path, inner: str, target: str) -> None:
    home = Home(tmp_path / ".azdistill")
    link = home.root / inner
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(link if target == "." else target)
    with pytest.raises(MachineError) as caught:
        home.prepare()
    assert caught.value.code == "AZD310"
    assert caught.value.message.startswith(f"cannot write the state folder {home.root}: {link} is a link that leads")


def test_a_file_where_the_state_folder_has_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(MachineError, match="runs") as caught:
        Home(tmp_path).prepare()
    assert (caught.value.code, caught.value.hint) == (
        "AZD310",
        "a file lies where a folder is expected: move it away",
    )


@pytest.mark.parametrize("place", ["/proc/nope", f"/tmp/{'long' * 70}"])
def test_a_place_where_no_folder_can_be_made_is_told(place: str) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("made for Linux")
    with pytest.raises(MachineError, match=place) as caught:
        Home(Path(place)).prepare()
    assert caught.value.code == "AZD310"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 2 MB; the test is skipped where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = (
        shutil.which("mount")
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, check=False
        ).returncode
    )
    if not mounted:
        pytest.skip("mounting needs the rights to do so")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("left", [0, 4, 8, 12, 16, 24, 40, 64])
def test_a_disk_with_little_room_is_told_and_a_later_run_completes(
    left: int, small_disk: Path, project: Path, run: Callable[..., Finished]
) -> None:
    (small_disk / "fill").write_bytes(b"\0" * ((2048 - left) * 1024 - 4096))
    options = Options(home=small_disk / "state")
    jobs = {"a": step("head -c 65536 /dev/zero > ${{outputs.o}}", outputs=("o",))}
    try:
        failure = run(jobs, options=options).error
    except MachineError as error:
        failure = error
    assert isinstance(failure, MachineError)
    assert (failure.code, failure.exit_code) == ("AZD310", 3)
    (small_disk / "fill").unlink()
    assert statuses(run(jobs, options=options)) == {"a": "completed"}


def test_runs_of_one_pipeline_at_the_same_time_give_one_result(project: Path, run: Callable[..., Finished]) -> None:
    (project / "p.yml").write_text(
        "type: pipeline\noutputs: {o: {type: uri_file}}\njobs:\n  a:\n    environment: azureml:e:1\n"
        "    command: date +%N > ${{outputs.o}}; sleep 0.2\n    outputs: {o: '${{parent.outputs.o}}'}\n"
    )
    command = [sys.executable, "-m", "azdistill", "run", "p.yml", "--no-tracking", "--out", "out"]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for _ in range(4)]
    said = [each.communicate()[0].decode() for each in runs]
    assert [each.returncode for each in runs] == [0, 0, 0, 0], "\n".join(said)
    [entry] = (project / ".azdistill" / "cache").glob("??/*/outputs/o")
    assert (project / "out" / "o").read_text() == entry.read_text()
    assert list((project / ".azdistill" / "cache" / "tmp").iterdir()) == []
