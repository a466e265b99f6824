"""Copies of code: what keeps a file from being copied, large code, shared blocks, and copies that nobody uses."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from local_helpers import statuses, step, write_pipeline
from test_run_code import code_of, output, stored

from azdistill import aml
from azdistill.cli import cli as program
from azdistill.errors import MachineError
from azdistill.local.cache import code_store
from azdistill.local.cache.code_gc import held_copies
from azdistill.local.cache.code_store import CodeStore, store_lock
from azdistill.local.cache.hashes import Hashes
from azdistill.local.pipeline_run import Finished
from azdistill.local.plan.planner import plan_pipeline
from azdistill.local.run import code_taking
from azdistill.local.run.code_taking import take_all
from azdistill.local.run.run_code import CodeAsItIs, StepCode
from azdistill.local.store.home import find_home
from azdistill.local.store.runs import list_runs

Run = Callable[..., Finished]


def test_a_full_disk_is_told_with_what_was_copied_and_leaves_no_run(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Any, chunk: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(code_store, "write_all", full)
    with pytest.raises(MachineError, match=r"the code of step 'a' cannot be copied to .*No space left") as caught:
        run({"a": step("true", code=code_of(project, b="echo"))})
    assert (caught.value.code, caught.value.exit_code) == ("AZD310", 3)
    assert list_runs(find_home()) == []
    assert not any(path.is_file() for path in find_home().cache.rglob("*"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_code_that_cannot_be_read_is_named(run: Run, project: Path) -> None:
    code_of(project, b="echo")
    os.chmod(project / "code" / "b.sh", 0)
    with pytest.raises(MachineError, match=r"step 'a': .*b\.sh cannot be read: Permission denied"):
        run({"a": step("true", code="./code")})


def test_code_that_may_not_be_opened_is_named(run: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(store: CodeStore, path: Path) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    monkeypatch.setattr(CodeStore, "copy", refused)
    with pytest.raises(MachineError, match=r"step 'a': .*b\.sh cannot be read: Permission denied") as caught:
        run({"a": step("true", code=code_of(project, b="echo"))})
    assert ".amlignore" in caught.value.hint


def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(project: Path) -> None:
    os.mkfifo(project / "pipe")
    store = CodeStore(find_home().prepare(), Hashes(find_home().hashes))
    with pytest.raises(FileNotFoundError):
        store.copy(project / "pipe")


def test_large_code_is_told_before_it_is_copied_with_its_largest_parts(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_taking, "_LARGE", 3_000_000)
    code_of(project, b="echo")
    (project / "code" / "data").mkdir()
    for name in ("x.bin", "y.bin"):
        (project / "code" / "data" / name).write_bytes(name.encode() * 400_000)
    said: list[str] = []

    class Listener:
        def hear(self, event: Any, run: Any) -> None:
            said.extend([event.fields["text"]] if event.kind == "preparing" else [])

    jobs = {name: step("true", code="./code") for name in ("a", "b")}
    run(jobs, listeners=[Listener()])
    line = "step 'a': its code is 4 MB in 3 files (data/ 4 MB): what the step does not need can be named"
    assert [text for text in said if "its code" in text] == [f"{line} in .amlignore"]
    said.clear()
    run(jobs, listeners=[Listener()])
    assert not any("its code" in text for text in said)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux is asked for shared blocks")
def test_a_copy_that_shares_blocks_is_hashed_for_what_it_holds(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def share(target: int, request: int, source: int) -> int:
        os.pwrite(target, os.pread(source, 1 << 20, 0), 0)
        if (where := os.readlink(f"/proc/self/fd/{source}")).startswith(str(project / "code")):
            Path(where).write_text("echo LATER")
        return 0

    monkeypatch.setattr(fcntl, "ioctl", share)
    code = code_of(project, b="echo NOW")
    first = run({"a": step("bash b.sh > ${{outputs.o}}", outputs=("o",), code=code)})
    # It was changed while it was copied, and so is copied again.
    assert output(first, "a") == "LATER\n"
    for path in find_home().code.glob("*/*"):
        assert path.name == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_dry_run_sees_the_key_that_a_run_would_have(project: Path) -> None:

    code_of(project, a="echo", b="echo 2")
    os.chmod(project / "code" / "a.sh", 0o755)
    home = find_home().prepare()
    (home.runs / "r").mkdir()
    file = write_pipeline(project / "pipeline.yml", {"a": step("true", code="./code")})
    plan = plan_pipeline(aml.load_pipeline(file), home)
    hashes = Hashes(home.hashes)
    code, lines = take_all(home, hashes, home.runs / "r", plan.steps.values(), print)
    assert code.fields(plan.steps["a"]) == CodeAsItIs(hashes).fields(plan.steps["a"])
    assert lines == []


def test_code_mentions_a_word_where_no_other_goes_with_it(project: Path) -> None:
    code_of(project, a="log mlflow", b="log mlflow to FILE", c="other")
    store = CodeStore(find_home().prepare(), Hashes(find_home().hashes))
    files = {name: store.copy(project / "code" / name)[1] for name in ("a.sh", "b.sh", "c.sh")}

    def mentions(*names: str) -> bool:
        return StepCode({name: files[name] for name in names}).mentions(b"mlflow", b"FILE")

    assert mentions("a.sh", "b.sh")
    assert not mentions("b.sh", "c.sh")
    assert not StepCode({"a.txt": files["a.sh"]}).mentions(b"mlflow", b"FILE")


def collected(*options: str) -> str:
    done = CliRunner().invoke(program, ["cache", "gc", *options])
    assert done.exit_code == 0, done.output
    return done.output


def age(monkeypatch: pytest.MonkeyPatch, days: float) -> None:
    """Let time pass."""
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + days * 86400)


def test_copies_that_no_run_took_lately_are_collected(run: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = {"a": step("bash b.sh > ${{outputs.o}}", outputs=("o",), code=code_of(project, b="echo V1"))}
    run(jobs)
    code_of(project, b="echo V2")
    run(jobs)
    listed = CliRunner().invoke(program, ["cache", "ls"]).output.splitlines()
    assert listed[-1] == "2 files of code, 14 B"
    assert "removed 0 results, 0 B" in collected("--max-size", "0GB")
    age(monkeypatch, 40)
    assert "would remove 2 results and 2 files of code" in collected("--older-than", "30d", "--dry-run")
    assert stored().keys() == {"echo V1", "echo V2"}
    assert "removed 2 results and 2 files of code" in collected("--older-than", "30d")
    assert stored() == {}
    assert list(find_home().code.iterdir()) == []
    assert statuses(run(jobs)) == {"a": "completed"}


def test_a_copy_that_a_recent_run_took_from_an_old_one_stays(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = {"a": step("bash b.sh", code=code_of(project, b="echo V1"))}
    run(jobs)
    code_of(project, b="echo V2")
    first = run(jobs)
    long_ago = time.time() - 50 * 86400
    os.utime(first.state.folder / "code.json", (long_ago, long_ago))
    code_of(project, b="echo V1")
    latest = run(jobs)
    real = time.time()
    age(monkeypatch, 40)
    os.utime(latest.state.folder / "code.json", (real + 39 * 86400,) * 2)
    collected("--older-than", "30d")
    assert stored().keys() == {"echo V1"}


def test_nothing_that_a_run_is_taking_or_has_taken_is_collected(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code_of(project, b="echo GOOD")
    said: list[str] = []

    class Listener:
        def hear(self, event: Any, run: Any) -> None:
            if event.kind == "step_started":
                with monkeypatch.context() as patch:
                    age(patch, 40)
                    said.append(collected("--older-than", "30d"))

    run({"a": step("bash b.sh", code="./code")}, listeners=[Listener()])
    assert stored().keys() == {"echo GOOD"}
    assert "removed 0 results" in said[0]
    age(monkeypatch, 40)
    with store_lock(find_home(), shared=True):
        collected("--older-than", "30d")
        assert stored().keys() == {"echo GOOD"}
    collected("--older-than", "30d")
    assert held_copies(find_home()) == []


def test_a_state_folder_without_code_is_left_without(project: Path) -> None:
    assert "removed 0 results, 0 B" in collected("--older-than", "30d")
    assert not find_home().root.exists()
