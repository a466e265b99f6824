"""A full disk: what took the room is said, and what a failed attempt had written does not stay in the way."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from local_helpers import log_of, statuses, step

from azdistill.errors import MachineError
from azdistill.local.cache.entries import USED
from azdistill.local.cache.gc import held_entries
from azdistill.local.outputs import manifest
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.store.home import find_home

Run = Callable[..., Finished]
MB = 1_000_000


@contextmanager
def full() -> Iterator[None]:
    """The disk has no room left."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=10 * MB, used=10 * MB, free=4096))
        yield


def writes(count: int, then: str = "exit 1") -> dict[str, Any]:
    command = f"head -c {count * MB} /dev/urandom > ${{{{outputs.o}}}}/part; {then}"
    return step(command) | {"outputs": {"o": {"type": "uri_folder"}}}


def outputs_of(ended: Finished) -> list[Path]:
    return [path for path in ended.state.folder.rglob("part") if not path.is_symlink()]


def use_long_ago() -> None:
    """Let all results be as old as they are when a disk fills up over weeks."""
    for entry in held_entries(find_home()):
        (entry.folder / USED).touch()
        os.utime(entry.folder / USED, (0, 0))


def test_a_step_that_fills_the_disk_is_told_what_took_the_room_and_leaves_nothing(run: Run) -> None:
    run({"old": writes(5, "true")})
    use_long_ago()
    with full():
        ended = run({"a": writes(3)})
    error = ended.error
    assert isinstance(error, MachineError)
    assert (error.code, error.exit_code, statuses(ended)) == ("AZD310", 3, {"a": "failed"})
    assert error.message.startswith("step 'a': the command ended with exit code 1: No space left on device")
    assert re.search(r"cache 5\.\d MB", error.hint)
    assert "'azdistill cache gc --max-size 0' would free 5.0 MB" in error.hint
    assert outputs_of(ended) == []
    assert "what it had written was removed" in log_of(ended, "a")
    again = run({"a": writes(3, 'test ! -d "$AZDISTILL_PREVIOUS_ATTEMPT"')}, options=Options(resume="latest"))
    assert statuses(again) == {"a": "completed"}


def test_what_a_failed_step_had_written_stays_where_there_is_room(run: Run) -> None:
    ended = run({"a": writes(1)})
    assert len(outputs_of(ended)) == 1
    assert ended.error
    assert ended.error.exit_code == 1


def test_a_step_that_succeeds_on_a_full_disk_has_succeeded(run: Run) -> None:
    with full():
        assert statuses(run({"a": writes(1, "true")})) == {"a": "completed"}


def test_a_run_that_stays_in_the_way_is_named(run: Run) -> None:
    kept = run({"a": writes(4)}).state
    with full():
        error = run({"b": writes(1)}).error
    assert error
    assert re.search(rf"runs/{kept.run_id} 4\.\d MB", error.hint)
    assert "would free 0 B now" in error.hint


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_commit_that_finds_no_room_leaves_nothing_either(run: Run, number: int) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    jobs = {"a": writes(2, "true")}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(manifest, "record", refuse)
        ended = run(jobs)
    assert isinstance(ended.error, MachineError)
    assert "would free" in ended.error.hint
    assert outputs_of(ended) == []
    assert statuses(run(jobs, options=Options(resume="latest"))) == {"a": "completed"}


def test_a_full_disk_before_the_first_step_says_so_too(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run({"a": writes(2, "true")})

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("azdistill.local.pipeline_run.RunLog", refuse)
    with pytest.raises(MachineError, match="No space left on device") as caught:
        run({"a": writes(2, "true")})
    assert re.search(r"cache 2\.\d MB", caught.value.hint)
