"""--out: what was delivered is replaced, what belongs to the user is not."""

from __future__ import annotations

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from azdistill.errors import UserError
from azdistill.local.outputs import manifest
from azdistill.local.outputs.deliver import deliver, refuse_foreign, withdraw
from azdistill.local.store.runs import own_mark


@pytest.fixture
def made(tmp_path: Path) -> dict[str, Path]:
    """A folder and a file that a run made."""
    (tmp_path / "made" / "report" / "plots").mkdir(parents=True)
    (tmp_path / "made" / "report" / "comparison.json").write_text("{}")
    (tmp_path / "made" / "report" / "plots" / "a.svg").write_text("<svg/>")
    (tmp_path / "made" / "curated").write_text("rows")
    return {"report": tmp_path / "made" / "report", "curated": tmp_path / "made" / "curated"}


def test_folders_and_files_end_under_their_names(made: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert deliver(out, made) == {"report": str(out / "report"), "curated": str(out / "curated")}
    assert (out / "report" / "plots" / "a.svg").read_text() == "<svg/>"
    assert (out / "curated").read_text() == "rows"


def test_a_file_keeps_its_extension(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("rows")
    assert deliver(tmp_path / "out", {"curated": tmp_path / "rows.jsonl"})["curated"].endswith("out/curated.jsonl")


def test_a_later_run_replaces_what_an_earlier_one_delivered(made: dict[str, Path], tmp_path: Path) -> None:
    deliver(tmp_path / "out", made)
    (made["report"] / "comparison.json").write_text('{"new": 1}')
    (made["report"] / "plots" / "a.svg").unlink()
    deliver(tmp_path / "out", made)
    assert (tmp_path / "out" / "report" / "comparison.json").read_text() == '{"new": 1}'
    assert not (tmp_path / "out" / "report" / "plots").exists()


def test_what_is_unchanged_is_not_copied_again(made: dict[str, Path], tmp_path: Path) -> None:
    deliver(tmp_path / "out", made)
    before = (tmp_path / "out" / "curated").stat().st_ino
    deliver(tmp_path / "out", made)
    assert (tmp_path / "out" / "curated").stat().st_ino == before


@pytest.mark.parametrize("change", ["foreign", "changed", "added"])
def test_what_belongs_to_the_user_is_refused(made: dict[str, Path], tmp_path: Path, change: str) -> None:
    out = tmp_path / "out"
    if change == "foreign":
        (out / "report").mkdir(parents=True)
    else:
        deliver(out, made)
        name = "comparison.json" if change == "changed" else "notes.txt"
        (out / "report" / name).write_text("the user's own words")
    with pytest.raises(UserError, match="was not made by azdistill, or has been changed"):
        refuse_foreign(out, made)
    before = sorted(out.rglob("*"))
    with pytest.raises(UserError):
        deliver(out, made)
    assert sorted(path for path in out.rglob("*") if "curated" not in path.name) == [
        path for path in before if "curated" not in path.name
    ]


def test_a_kill_between_the_old_and_the_new_leaves_nothing_foreign(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    deliver(out, made)
    (made["curated"]).write_text("new rows")
    real = Path.rename

    class Killed(BaseException):
        pass

    def killed_after(self: Path, target: Path) -> Path:
        real(self, target)
        raise Killed

    monkeypatch.setattr(Path, "rename", killed_after)
    with pytest.raises(Killed):
        deliver(out, {"curated": made["curated"]})
    monkeypatch.undo()
    refuse_foreign(out, made)
    assert Path(deliver(out, made)["curated"]).read_text() == "new rows"
    assert not list(out.glob("*.azdistill-tmp"))


def test_what_a_killed_run_left_half_built_goes_and_a_living_one_keeps_its_own(
    made: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    dead, own = out / ".report.999999-1.aaaaaaaa.azdistill-tmp", own_mark().replace(" ", "-")
    living, foreign = out / f".report.{own}.aaaaaaaa.azdistill-tmp", out / ".report.azdistill-tmp"
    for folder in (dead, living, foreign):
        folder.mkdir(parents=True)
    deliver(out, made)
    assert not dead.exists()
    assert living.exists()
    assert foreign.exists()


def test_what_the_user_changed_while_the_run_went_on_stays(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (tmp_path / "res.csv").write_text("rows")
    deliver(out, {"res": tmp_path / "res.csv"})
    # In the new run the output is a folder; the old file is not what is replaced.
    (tmp_path / "res").mkdir()
    (tmp_path / "res" / "part").write_text("new")
    refuse_foreign(out, ["res"])
    (out / "res.csv").write_text("the user's own words")
    deliver(out, {"res": tmp_path / "res"})
    assert (out / "res.csv").read_text() == "the user's own words"
    assert (out / "res" / "part").read_text() == "new"


def test_what_the_user_changes_while_the_new_is_copied_is_refused(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, record = tmp_path / "out", manifest.record
    deliver(out, made)
    made["curated"].write_text("new rows")

    def meanwhile(paths: dict[str, Path]) -> manifest.Manifest:
        (out / "curated").write_text("the user's own words")
        return record(paths)

    monkeypatch.setattr("azdistill.local.outputs.deliver.record", meanwhile)
    with pytest.raises(UserError, match="was changed by another run or program meanwhile"):
        deliver(out, {"curated": made["curated"]})
    assert (out / "curated").read_text() == "the user's own words"


@pytest.mark.parametrize("path", ["../victim", "{tmp}/victim", "..", ".", "", "a/../../victim"])
def test_a_marker_that_names_a_place_elsewhere_is_not_believed(
    made: dict[str, Path], tmp_path: Path, path: str
) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    deliver(out, {"curated": made["curated"]})
    victim.write_text("rows")
    marker = out / ".curated.azdistill-output"
    stored = json.loads(marker.read_text())
    stored["delivered"][0]["path"] = path.format(tmp=tmp_path)
    stored["delivered"][0]["manifest"] = manifest.record({"curated": victim}).outputs
    marker.write_text(json.dumps(stored))
    withdraw(out, ["curated"])
    assert victim.read_text() == "rows"
    with pytest.raises(UserError, match="was not made by azdistill"):
        deliver(out, {"curated": made["curated"]})
    assert victim.read_text() == "rows"


def test_of_runs_that_deliver_at_the_same_time_one_gives_all_and_none_fails(tmp_path: Path) -> None:
    out = tmp_path / "out"

    def again_and_again(run: int) -> None:
        for number in range(20):
            made = tmp_path / "made" / f"{run}-{number}"
            (made / "report").mkdir(parents=True)
            for path in (made / "curated.jsonl", made / "report" / f"of-{run}"):
                path.write_text(f"{run} {number}")
            refuse_foreign(out, ["report", "curated"])
            deliver(out, {"report": made / "report", "curated": made / "curated.jsonl"})

    with ThreadPoolExecutor(6) as pool:
        for ended in [pool.submit(again_and_again, run) for run in range(6)]:
            ended.result()
    [report] = (out / "report").iterdir()
    assert report.read_text() == (out / "curated.jsonl").read_text()
    assert report.read_text().startswith(report.name.removeprefix("of-"))
    refuse_foreign(out, ["report", "curated"])
    assert {path.name for path in out.iterdir()} == {
        "report",
        "curated.jsonl",
        ".report.azdistill-output",
        ".curated.azdistill-output",
    }


def test_what_another_run_put_in_the_place_of_what_was_there_already_is_replaced(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, record = tmp_path / "out", manifest.record
    deliver(out, made)
    (tmp_path / "other").write_text("another run's rows")
    (made["report"] / "comparison.json").write_text('{"new": 1}')

    def another_delivers(paths: dict[str, Path]) -> manifest.Manifest:
        monkeypatch.undo()
        deliver(out, {"curated": tmp_path / "other"})
        return record(paths)

    monkeypatch.setattr("azdistill.local.outputs.deliver.record", another_delivers)
    deliver(out, made)
    assert (out / "curated").read_text() == "rows"
    assert (out / "report" / "comparison.json").read_text() == '{"new": 1}'


def test_where_folders_cannot_be_locked_it_delivers_all_the_same(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(_file: int, _how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    assert Path(deliver(tmp_path / "out", made)["curated"]).read_text() == "rows"


def test_what_another_program_puts_there_at_the_same_moment_is_told(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = manifest.record

    def another_is_faster(paths: dict[str, Path]) -> manifest.Manifest:
        found = record(paths)
        (tmp_path / "out" / "report").mkdir(exist_ok=True)
        (tmp_path / "out" / "report" / "theirs").touch()
        return found

    monkeypatch.setattr("azdistill.local.outputs.deliver.record", another_is_faster)
    with pytest.raises(UserError, match="was changed by another run or program meanwhile"):
        deliver(tmp_path / "out", {"report": made["report"]})
    assert (tmp_path / "out" / "report" / "theirs").exists()


def test_an_end_while_the_old_is_removed_leaves_the_new_whole(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    deliver(out, made)
    (made["report"] / "comparison.json").write_text('{"new": 1}')

    class Killed(BaseException):
        pass

    def killed(_: Path) -> None:
        raise Killed

    monkeypatch.setattr("azdistill.local.outputs.deliver.remove_tree", killed)
    with pytest.raises(Killed):
        deliver(out, made)
    monkeypatch.undo()
    assert (out / "report" / "comparison.json").read_text() == '{"new": 1}'
    refuse_foreign(out, made)
    deliver(out, made)


@pytest.mark.parametrize("when", [1, 2])
def test_an_end_while_one_replaces_the_other_leaves_one_of_them_whole(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: int
) -> None:
    out, real, calls = tmp_path / "out", Path.rename, []
    deliver(out, made)
    (made["report"] / "comparison.json").write_text('{"new": 1}')

    def interrupted(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) == when:
            raise KeyboardInterrupt
        return real(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        deliver(out, {"report": made["report"]})
    monkeypatch.undo()
    assert len(calls) >= when
    assert (out / "report" / "comparison.json").read_text() == "{}"
    assert (out / "report" / "plots" / "a.svg").exists()
    refuse_foreign(out, made)
    assert not list(out.glob(".*-tmp"))


def test_what_is_withdrawn_is_gone_at_once(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: Path) -> None:
        raise KeyboardInterrupt

    deliver(tmp_path / "out", made)
    monkeypatch.setattr("azdistill.local.outputs.deliver.remove_tree", killed)
    with pytest.raises(KeyboardInterrupt):
        withdraw(tmp_path / "out", made)
    monkeypatch.undo()
    assert not (tmp_path / "out" / "report").exists()
    refuse_foreign(tmp_path / "out", made)


def test_another_content_of_the_same_size_and_time_is_delivered(made: dict[str, Path], tmp_path: Path) -> None:
    for text in ("label 1", "label 2"):
        made["curated"].write_text(text)
        os.utime(made["curated"], (0, 0))
        deliver(tmp_path / "out", made, {"curated": manifest.hash_file(made["curated"])})
        assert (tmp_path / "out" / "curated").read_text() == text


def test_a_link_of_the_users_that_leads_nowhere_is_refused(made: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "curated").symlink_to(tmp_path / "not mounted")
    with pytest.raises(UserError, match="was not made by azdistill"):
        refuse_foreign(tmp_path / "out", made)
    with pytest.raises(UserError, match="was not made by azdistill"):
        deliver(tmp_path / "out", made)
    assert (tmp_path / "out" / "curated").is_symlink()


def test_a_file_is_looked_for_under_the_name_that_it_will_have(made: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "curated.csv").write_text("the user's own words")
    refuse_foreign(tmp_path / "out", made)
    with pytest.raises(UserError, match=r"curated\.csv was not made by azdistill"):
        refuse_foreign(tmp_path / "out", made, {"curated": "curated.csv"})
