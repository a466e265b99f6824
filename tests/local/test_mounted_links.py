"""What links in data lead to, as a container has to see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from azdistill.errors import UserError
from azdistill.local.run.containers import linked


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("data/inner", "outside", "outside/folder", "state"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "file").write_text(name)
    return tmp_path / "data"


def link(place: Path, target: str | Path) -> None:
    place.symlink_to(target)


def test_links_that_leave_a_folder_are_where_they_lead_to(data: Path) -> None:
    outside = data.parent / "outside"
    link(data / "absolute", outside / "folder")
    link(data / "inner" / "relative", "../../data/../outside/./file-of-many")
    link(outside / "file-of-many", "folder/file")
    link(data / "within", "inner/file")
    link(data / "nowhere", "/no/such/place")
    assert linked([data], [data]) == {
        outside / "folder": outside / "folder",
        outside / "file-of-many": outside / "folder" / "file",
    }


def test_links_in_what_links_lead_to_count_too_and_rings_end(data: Path) -> None:
    outside = data.parent / "outside"
    link(data / "folder", outside / "folder")
    link(outside / "folder" / "on", "../../state/file")
    link(outside / "folder" / "back", data)
    link(outside / "folder" / "ring", outside / "same" / "folder")
    link(outside / "same", ".")
    found = {outside / "folder", data.parent / "state" / "file"}
    assert linked([data], [data]) == {place: place for place in found}


def test_a_folder_seen_by_another_name_has_its_links_counted_from_there(data: Path) -> None:
    (data.parent / "names").mkdir()
    other = data.parent / "names" / "other"
    link(other, data)
    link(data / "relative", "../outside/file")
    outside = data.parent / "outside" / "file"
    found = {data.parent / "names" / "outside" / "file": outside, outside: outside}
    assert linked([other, data], [other, data]) == found
    with pytest.raises(UserError, match="and in a container to ") as caught:
        linked([other], [other, data.parent / "names"])
    assert caught.value.code == "AZD399"


def test_what_is_seen_anyway_and_the_programs_of_this_machine_are_left_alone(data: Path) -> None:
    outside = data.parent / "outside"
    link(data / "seen", outside / "file")
    link(data / "python", "/usr/bin/env")
    assert linked([data], [data, outside]) == {}


def test_links_in_a_state_folder_may_be_a_containers_and_lead_nowhere(data: Path) -> None:
    outside, state = data.parent / "outside", data / "state"
    (state / "datastores").mkdir(parents=True)
    (state / "hashes.sqlite").touch()
    left = state / "datastores" / "left"
    link(left, outside / "file")
    link(data / "over", left)
    assert linked([data], [data]) == {}
    assert linked([state / "datastores"], [state / "datastores"]) == {}
    link(data.parent / "elsewhere", left)
    link(outside / "folder" / "over", "../../elsewhere")
    assert linked([outside / "folder"], [outside / "folder"]) == {}
