"""What the machine refuses during a run: exit code 3, a code, a clear text, and a run that can be gone on with."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from local_helpers import statuses, step

from azdistill.cli import main
from azdistill.errors import MachineError
from azdistill.local.cache import hashes
from azdistill.local.pipeline_run import Finished, Options
from azdistill.local.store.machine_errors import disk_errors

Run = Callable[..., Finished]
REFUSED = [
    errno.EXDEV,
    errno.ESTALE,
    errno.EBUSY,
    errno.ENOTEMPTY,
    errno.EIO,
    errno.EDQUOT,
    errno.EINVAL,
    errno.ETXTBSY,
]


@contextmanager
def refusing(number: int, where: str, call: int) -> Iterator[None]:
    """``os.rename`` refuses its so many-th call about a path that holds ``where``, as a file system does."""
    real, calls = os.rename, iter(range(100))

    def refuse(source: Any, target: Any) -> None:
        if where in str(target) and next(calls) == call:
            raise OSError(number, os.strerror(number), str(source), None, str(target))
        real(source, target)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "rename", refuse)
        yield
    assert next(calls) > call, "nothing was renamed"


@pytest.mark.parametrize("call", [0, 1], ids=["aside", "in place"])
@pytest.mark.parametrize("number", REFUSED, ids=errno.errorcode.get)
def test_a_rename_that_is_refused_is_the_machines(run: Run, number: int, call: int) -> None:
    jobs = {"a": step("echo done > ${{outputs.o}}", outputs=("o",))}
    with refusing(number, "/cache/", call):
        ended = run(jobs)
    assert isinstance(ended.error, MachineError)
    assert (ended.error.exit_code, statuses(ended)) == (3, {"a": "failed"})
    assert ended.error.code == ("AZD900" if number == errno.EINVAL else "AZD310")
    assert os.strerror(number) in ended.error.message
    assert "Errno" not in str(ended.error)
    again = run(jobs, options=Options(resume="latest"))
    assert again.error is None
    assert Path(again.state.steps["a"].outputs["o"]).read_text(encoding="utf-8") == "done\n"


@pytest.mark.parametrize("number", [errno.EXDEV, errno.ESTALE, errno.EBUSY, errno.ENOTEMPTY], ids=errno.errorcode.get)
def test_an_output_that_cannot_be_put_in_its_place_leaves_the_one_before(run: Run, project: Path, number: int) -> None:
    job = step("echo ${{inputs.v}} > ${{outputs.o}}", outputs=("o",))
    whole = {"outputs": {"o": {"type": "uri_file"}}, "options": Options(out=project / "out")}

    def jobs(value: str) -> dict[str, Any]:
        return {"a": {**job, "inputs": {"v": value}, "outputs": {"o": "${{parent.outputs.o}}"}}}

    run(jobs("one"), **whole)
    for name in ("rename", "replace"):
        with pytest.MonkeyPatch.context() as patched:
            real = getattr(os, name)

            def refuse(source: Any, target: Any, real: Any = real) -> None:
                if str(target).startswith(str(project / "out")):
                    raise OSError(number, os.strerror(number), str(source), None, str(target))
                real(source, target)

            patched.setattr(os, name, refuse)
            error = run(jobs("two"), **whole).error
        assert isinstance(error, MachineError), name
        assert error.code == "AZD310"
        assert (project / "out" / "o").read_text(encoding="utf-8") == "one\n"
    assert run(jobs("two"), **whole).error is None
    assert (project / "out" / "o").read_text(encoding="utf-8") == "two\n"


def test_data_that_cannot_be_read_is_named(run: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As files of /proc answer that want to be read in another way.
    odd = project / "odd"
    odd.write_text("x", encoding="utf-8")
    real = hashes.hash_file

    def refuse(path: Path) -> str:
        if Path(path).name == "odd":
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), str(path))
        return real(path)

    monkeypatch.setattr(hashes, "hash_file", refuse)
    data = {"d": {"type": "uri_file", "path": "./odd"}}
    ended = run({"a": step("cat ${{inputs.d}}", inputs=data)})
    assert isinstance(ended.error, MachineError)
    assert (ended.error.code, ended.error.exit_code) == ("AZD900", 3)
    assert ended.error.message == f"step 'a': Invalid argument ({odd})"


@pytest.mark.parametrize("kind", ["pool", "metrics", "guard"])
def test_a_thread_that_cannot_be_started_is_the_machines(
    run: Run, project: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    real = threading.Thread.start
    names = {"pool": "ThreadPoolExecutor", "metrics": "metrics", "guard": "guard"}

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith(names[kind]):
            raise RuntimeError("can't start new thread")
        real(thread)

    jobs = {"a": step("echo done > ${{outputs.o}}", outputs=("o",))}
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(MachineError, match="no thread can be started") as caught:
            run(jobs)
    assert (caught.value.code, caught.value.exit_code) == ("AZD304", 3)
    assert "ulimit -u" in caught.value.hint
    assert statuses(run(jobs)) == {"a": "completed"}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("can't start new thread"), "AZD304"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "AZD304"),
        (MemoryError(), "AZD900"),
        (OSError(errno.EINVAL, "Invalid argument", "/proc/x"), "AZD900"),
        (OSError(errno.ESTALE, "Stale file handle", "/mnt/x"), "AZD310"),
        (OSError("a library's own words"), "AZD900"),
    ],
)
def test_a_verb_ends_with_3_and_without_a_traceback(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, code: str
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr("azdistill.local.store.runs.list_runs", refuse)
    monkeypatch.setattr("azdistill.local.list_runs", refuse, raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["runs"])
    shown = capsys.readouterr().err
    assert (ended.value.code, shown.startswith(f"error[{code}]: ")) == (3, True), shown
    assert "Traceback" not in shown
    assert "Errno" not in shown


def test_a_defect_of_ours_is_none_of_the_machines() -> None:
    with pytest.raises(RuntimeError, match="a defect"), disk_errors("doing"):
        raise RuntimeError("a defect")


def test_an_interpreter_that_no_process_is_left_for_is_not_to_blame(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr("azdistill.local.run.interpreter.subprocess.run", refuse)
    with pytest.raises(MachineError, match="cannot be started: Resource temporarily unavailable") as caught:
        run({"a": step("true")})
    assert (caught.value.code, caught.value.exit_code) == ("AZD304", 3)
