"""Marks of other worlds: what may be the work of a process that cannot be seen from here is left alone."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from azdistill.local.cache.entries import Cache, under_way
from azdistill.local.outputs import deliver
from azdistill.local.runners.docker import engine as docker_engine
from azdistill.local.store import process_marks
from azdistill.local.store.events import Event
from azdistill.local.store.home import Home
from azdistill.local.store.runs import RunLog, is_alive, load_run, own_mark

#: The first process of a container on this machine, and one of a machine that was started at another time.
ELSEWHERE = ["1 12 {boot}_1", "1 12 0123456789abcdef0123456789abcdef_4026531836"]


@pytest.fixture(params=ELSEWHERE)
def elsewhere(request: pytest.FixtureRequest) -> str:
    mark: str = request.param
    return mark.format(boot=own_mark().split()[2].partition("_")[0])


@pytest.fixture
def long_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has just been made has not changed for a week."""
    monkeypatch.setattr(process_marks, "LONG_AGO", -1.0)


def test_a_mark_says_which_world_its_number_belongs_to(elsewhere: str) -> None:
    assert is_alive(own_mark())
    assert not process_marks.is_elsewhere(own_mark())
    assert process_marks.is_elsewhere(elsewhere)
    assert is_alive(elsewhere)


def test_leftovers_are_swept_where_there_is_no_proc_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_marks, "_start_time", lambda pid: "")
    monkeypatch.setattr(process_marks, "_world", lambda: "")
    home = Home(tmp_path).prepare()
    gone, ours = under_way(home.cache, "broken-"), under_way(home.cache)
    dead = gone.with_name(gone.name.replace(str(os.getpid()), "4194305"))
    dead.mkdir()
    ours.mkdir()
    Cache(home)
    assert (dead.exists(), ours.exists()) == (False, True)


def test_marks_of_earlier_versions_are_of_this_world() -> None:
    pid, started, _ = own_mark().split()
    assert is_alive(f"{pid} {started}")
    assert not is_alive(f"{pid} 1")
    assert not process_marks.is_elsewhere("1 12")


def test_a_mark_survives_being_part_of_a_name(elsewhere: str) -> None:
    for mark in (own_mark(), elsewhere, "12 34", "12 "):
        assert process_marks.from_name(process_marks.in_name(mark)) == mark


@pytest.mark.parametrize("what", ["", "collected-", "broken-"])
def test_what_another_world_builds_in_the_cache_is_left_alone(tmp_path: Path, elsewhere: str, what: str) -> None:
    home = Home(tmp_path).prepare()
    theirs = home.cache / "tmp" / f"{what}{process_marks.in_name(elsewhere)}-abcd1234"
    own, dead = under_way(home.cache, what), home.cache / "tmp" / f"{what}999999999-12-abcd1234"
    for folder in (theirs, own, dead):
        folder.mkdir()
    Cache(home)
    assert sorted((home.cache / "tmp").iterdir()) == sorted((theirs, own))


@pytest.mark.usefixtures("long_ago")
def test_what_another_world_has_not_touched_for_a_week_goes(tmp_path: Path, elsewhere: str) -> None:
    home = Home(tmp_path).prepare()
    (home.cache / "tmp" / f"{process_marks.in_name(elsewhere)}-abcd1234").mkdir()
    own = under_way(home.cache)
    own.mkdir()
    Cache(home)
    assert list((home.cache / "tmp").iterdir()) == [own]


def test_what_earlier_versions_were_removing_goes(tmp_path: Path) -> None:
    home = Home(tmp_path).prepare()
    for name in ("collected-abcd1234", "broken-12345678", "somebody-elses"):
        (home.cache / "tmp" / name / "outputs").mkdir(parents=True)
    Cache(home)
    assert [folder.name for folder in (home.cache / "tmp").iterdir()] == ["somebody-elses"]


def test_what_another_world_delivers_is_left_alone(tmp_path: Path, elsewhere: str) -> None:
    (tmp_path / "made").write_text("rows")
    theirs = tmp_path / "out" / f".made.{process_marks.in_name(elsewhere)}.abcd1234.azdistill-tmp"
    theirs.mkdir(parents=True)
    deliver.deliver(tmp_path / "out", {"made": tmp_path / "made"})
    assert theirs.exists()


def test_whether_a_run_of_another_world_goes_on_is_told_by_the_lock_on_its_log(tmp_path: Path, elsewhere: str) -> None:
    log = RunLog(Home(tmp_path).prepare(), "p")
    log.append(
        Event.of("run_started", pipeline="p", experiment="e", params={}, steps=["a"], headline=[], runner=elsewhere)
    )
    assert load_run(log.folder).status == "running"
    log._log.close()
    assert load_run(log.folder).status == "lost"


@pytest.mark.parametrize(
    ("state", "last", "swept"),
    [("running", "2020", False), ("exited", "2020", True), ("created", "0001", True), ("exited", "9999", False)],
)
def test_containers_of_another_world_go_when_they_have_not_run_for_a_week(
    elsewhere: str, state: str, last: str, swept: bool
) -> None:
    removed: list[str] = []
    entry = {"Id": "one", "State": state, "Labels": {docker_engine.OWNER: elsewhere}}
    api = SimpleNamespace(
        containers=lambda **filters: [entry],
        inspect_container=lambda identity: {
            "Created": "2019-12-31T00:00:00.1Z",
            "State": {"FinishedAt": f"{last}-01-01T00:00:00Z"},
        },
        remove_container=lambda identity, **how: removed.append(identity),
    )
    engine: Any = docker_engine.Engine(api, "", gpus=False)
    assert docker_engine.sweep_orphans(engine) == swept
    assert removed == ["one"] * swept


def test_the_world_is_the_boot_and_the_namespace() -> None:
    boot, _, namespace = own_mark().split()[2].partition("_")
    assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    assert f"pid:[{namespace}]" == os.readlink("/proc/self/ns/pid")
