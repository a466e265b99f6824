"""Runner, guard and supervisor may each be killed: what a step has started ends, what is finished stays finished."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from kills.family import children, comes, end, guards, running, supervisors
from local_helpers import statuses, step, write_pipeline

from azdistill.errors import MachineError
from azdistill.local.pipeline_run import Finished
from azdistill.local.runners import base, guard, process
from azdistill.local.runners.base import Cancellation, Ended, Job
from azdistill.local.runners.process import ProcessRunner

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="processes are looked up in /proc")

#: In the group, in a session of its own, and a daemon: that has nothing in common with its step but where it came from.
CHILDREN = (
    "sleep {0} & setsid sleep {0} & ",
    "(env -i setsid sh -c 'cd /; sleep {0} &' < /dev/null > /dev/null 2>&1 &) ; ",
)
#: Seconds within which nothing of a killed run may live.
GRACE = 2.0


@pytest.fixture
def seconds() -> str:
    """For how long processes of this test sleep, by which they are known."""
    return f"{os.getpid()}.125"


@pytest.fixture
def sleepers(seconds: str) -> Callable[[], list[int]]:
    return lambda: running("sleep", seconds)


class Family:
    """A run in a process of its own, whose step ``a`` has three children and writes its output when it is let."""

    def __init__(self, project: Path, seconds: str) -> None:
        self.go = project / "go"
        os.mkfifo(self.go)
        wait = f"{''.join(CHILDREN).format(seconds)}read -r line < '{self.go}'; echo \"$line\" > '${{{{outputs.x}}}}'"
        write_pipeline(project / "pipeline.yml", {"a": step(wait, outputs=("x",))})
        self.runner = self.start()
        assert comes(lambda: len(running("sleep", seconds)) == 3)
        [self.guard] = guards(self.runner.pid)
        [self.supervisor] = supervisors(self.guard)

    def start(self, *more: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "azdistill", "run", "pipeline.yml", "--no-tracking", *more]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def let(self) -> None:
        """Let the step end well."""
        self.go.write_text("done\n")

    def end(self) -> tuple[int, str]:
        """The exit code of the run, and what it printed."""
        output, _ = self.runner.communicate(timeout=120)
        return self.runner.returncode, output


@pytest.fixture
def family(project: Path, seconds: str) -> Iterator[Family]:
    made = Family(project, seconds)
    yield made
    end(made.runner.pid, *running("sleep", seconds))
    made.runner.communicate()


@pytest.mark.parametrize("killed", ["runner", "runner guard", "guard runner", "runner supervisor", "supervisor guard"])
def test_all_that_a_step_started_ends_whoever_is_killed(
    family: Family, killed: str, sleepers: Callable[[], list[int]]
) -> None:
    pids = {"runner": family.runner.pid, "guard": family.guard, "supervisor": family.supervisor}
    end(*(pids[name] for name in killed.split()))
    # A daemon whose supervisor and guard are both gone has nobody left who knows of it.
    is_unknown = {"supervisor", "guard"} == set(killed.split())
    assert comes(lambda: len(sleepers()) <= is_unknown, GRACE)
    end(family.runner.pid)
    assert comes(lambda: not children(family.guard) and not children(family.supervisor), GRACE)


def test_a_step_whose_supervisor_is_killed_is_ended_and_fails(
    family: Family, sleepers: Callable[[], list[int]]
) -> None:
    end(family.supervisor)
    assert comes(lambda: not sleepers(), GRACE)
    code, output = family.end()
    assert code == 3
    assert "AZD302" in output
    assert "the process that watched the step was killed" in output


def test_a_guard_that_is_killed_is_replaced_and_the_step_goes_on(family: Family, project: Path) -> None:
    end(family.guard)
    assert comes(lambda: guards(family.runner.pid), GRACE)
    assert guards(family.runner.pid) != [family.guard]
    family.let()
    assert family.end()[0] == 0
    again = family.start()
    assert "cached" in again.communicate(timeout=120)[0]


def test_the_guard_in_its_place_does_the_same(family: Family, seconds: str, sleepers: Callable[[], list[int]]) -> None:
    end(family.guard)
    assert comes(lambda: guards(family.runner.pid))
    end(family.runner.pid, *guards(family.runner.pid))
    assert comes(lambda: not sleepers(), GRACE)


def test_a_daemon_of_a_step_is_gone_when_the_step_has_ended(
    run: Callable[..., Finished], seconds: str, sleepers: Callable[[], list[int]]
) -> None:
    look = f"pgrep -f 'sleep {seconds[:-3]}[.]125' > '${{{{outputs.x}}}}' || true"
    jobs = {
        "a": step(CHILDREN[1].format(seconds) + "echo > '${{outputs.x}}'", outputs=("x",)),
        "b": step("cat '${{inputs.x}}'; " + look, outputs=("x",), inputs={"x": "${{parent.jobs.a.outputs.x}}"}),
    }
    finished = run(jobs)
    assert statuses(finished) == {"a": "completed", "b": "completed"}
    assert Path(finished.state.steps["b"].outputs["x"]).read_text() == ""
    assert not sleepers()


@pytest.fixture
def runner() -> Iterator[ProcessRunner]:
    with closing(ProcessRunner("AZUREML_ROOT_RUN_ID=guarded")) as made:
        yield made


def result(runner: ProcessRunner, command: str, **environment: str) -> tuple[Ended, bytes]:
    """How a command ends, and what it prints."""
    chunks: list[bytes] = []
    job = Job("guarded.a.1", command, Path("/"), {"PATH": os.defpath, **environment})
    return runner.run(job, chunks.append, Cancellation()), b"".join(chunks)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        *((f"exit {code}", code) for code in (0, 1, 75, 126, 127, 128, 255)),
        *((f"kill -{number} $$", 128 + number) for number in (1, 2, 6, 9, 11, 13, 15)),
    ],
)
def test_how_a_command_ended_is_told_as_a_shell_does(runner: ProcessRunner, command: str, code: int) -> None:
    assert result(runner, command)[0].returncode == code


def test_no_core_is_dumped_and_no_signal_is_ignored_or_blocked(runner: ProcessRunner) -> None:
    _, output = result(
        runner, "grep core /proc/self/limits; grep -E 'Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd"
    )
    *_, soft, hard, _, _, blocked, _, ignored, _, _, _, _ = output.decode().split()
    descriptors = output.decode().split()[-4:]
    # Beyond the usual 31 are those that the C library uses itself.
    assert (soft, hard, int(blocked, 16), int(ignored, 16) & 0x7FFFFFFF) == ("1", "1", 0, 0)
    assert descriptors == ["0", "1", "2", "3"]


def test_a_command_reads_nothing_and_sees_its_variables_only(runner: ProcessRunner) -> None:
    odd = {"A.B": "dot", "LINES": "1\n2", "EMPTY": "", "BYTES": "\udcff"}
    _, output = result(runner, 'cat; env -0; echo; wc -c < <(printf %s "$BYTES")', **odd)
    *variables, tail = output.split(b"\0")
    named = dict(variable.split(b"=", 1) for variable in variables)
    assert {name: named[name] for name in (b"A.B", b"LINES", b"EMPTY", b"BYTES")} == {
        **{b"A.B": b"dot", b"LINES": b"1\n2"},
        **{b"EMPTY": b"", b"BYTES": b"\xff"},
    }
    assert named.keys() - {name.encode() for name in odd} == {b"PATH", b"PWD", b"SHLVL", b"_"}
    assert tail.split() == [b"1"]


def test_output_is_whole_to_the_byte(runner: ProcessRunner) -> None:
    _, output = result(runner, "head -c 3000000 /dev/zero | tr '\\0' 'x'; printf 'no end' >&2")
    assert output == b"x" * 3_000_000 + b"no end"


@pytest.mark.parametrize(("job", "code"), [({"folder": "/nowhere"}, "AZD304"), ({"command": "x" * 200_000}, "AZD303")])
def test_what_cannot_be_started_is_told(runner: ProcessRunner, job: dict[str, str], code: str) -> None:
    made = Job("guarded.a.1", job.get("command", "true"), Path(job.get("folder", "/")), {})
    with pytest.raises(Exception, match=r"cannot start a process|too long") as caught:
        runner.run(made, lambda _: None, Cancellation())
    assert getattr(caught.value, "code", "") == code
    assert result(runner, "exit 7")[0].returncode == 7


def test_a_step_whose_guard_dies_over_its_start_is_started_by_the_next(runner: ProcessRunner) -> None:
    [guard] = guards(os.getpid())
    os.kill(guard, signal.SIGSTOP)
    ended: list[Ended] = []
    thread = threading.Thread(target=lambda: ended.append(result(runner, "exit 7")[0]))
    thread.start()
    end(guard)
    thread.join(60)
    assert [one.returncode for one in ended] == [7]


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE, errno.EACCES])
def test_without_any_guard_no_step_is_started(
    runner: ProcessRunner, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(command: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(base, "_start", refuse)
    monkeypatch.setattr(base, "_REPLACED_WITHIN", 0.3)
    end(*guards(os.getpid()))
    for _ in range(3):
        with pytest.raises(MachineError, match="no other can be started") as caught:
            result(runner, "true")
        assert caught.value.code == "AZD302"


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EMFILE, errno.ENOMEM])
def test_a_guard_is_replaced_when_the_machine_has_room_again(
    runner: ProcessRunner, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    errors = [OSError(number, os.strerror(number)) for _ in range(2)]
    start = base._start

    def refuse(command: Sequence[str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
        if errors:
            raise errors.pop()
        return start(command)

    monkeypatch.setattr(base, "_start", refuse)
    end(*guards(os.getpid()))
    assert result(runner, "exit 7")[0].returncode == 7
    assert not errors


def test_a_guard_that_is_stopped_does_not_keep_the_run(runner: ProcessRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "_GOES_WITHIN", 0.1)
    assert result(runner, "exit 7")[0].returncode == 7
    [stopped] = guards(os.getpid())
    os.kill(stopped, signal.SIGSTOP)
    closing_it = threading.Thread(target=runner.close, daemon=True)
    closing_it.start()
    closing_it.join(20)
    is_closed = not closing_it.is_alive()
    end(stopped)
    assert is_closed
    assert not guards(os.getpid())


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that does not end when it is asked has a tenth of a second."""
    monkeypatch.setattr(base, "GRACE", 0.1)
    monkeypatch.setattr(process, "GRACE", 0.1)


def outcome(
    runner: ProcessRunner, job: Job, cancellation: Cancellation, output: Callable[[bytes], None] = lambda _: None
) -> Ended:
    """How a job ends, which it must."""
    ended: list[Ended] = []
    thread = threading.Thread(target=lambda: ended.append(runner.run(job, output, cancellation)), daemon=True)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    return ended[0]


@pytest.mark.parametrize("is_asked", [False, True])
@pytest.mark.parametrize("output", ["", "exec > /dev/null 2>&1; "])
def test_a_command_that_takes_too_long_to_die_does_not_keep_the_run(
    hurried: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, output: str, is_asked: bool
) -> None:
    weak = tmp_path / "guard.py"
    change = "PATIENCE = 0.0\ndef kill_group(*_): pass\n"
    weak.write_text(Path(guard.__file__).read_text().replace("if __name__", change + "if __name__"))
    monkeypatch.setattr(guard, "__file__", str(weak))
    cancellation = Cancellation()
    mark = "AZUREML_ROOT_RUN_ID=guarded"
    environment = dict([("PATH", os.defpath), mark.split("=")])
    job = Job("guarded.a.1", output + "sleep 60; true", Path("/"), environment, None if is_asked else 0.1)
    if is_asked:
        cancellation.ask()
    with closing(ProcessRunner(mark)) as runner:
        ended = outcome(runner, job, cancellation)
    assert (ended.returncode, ended.timed_out, ended.canceled) == (137, not is_asked, is_asked)


def test_a_supervisor_that_is_stopped_does_not_keep_the_run(
    hurried: None,
    runner: ProcessRunner,
    monkeypatch: pytest.MonkeyPatch,
    seconds: str,
    sleepers: Callable[[], list[int]],
) -> None:
    monkeypatch.setattr(process, "_ENDS_WITHIN", 0.1)
    cancellation = Cancellation()
    [its_guard] = guards(os.getpid())

    def stop(_: bytes) -> None:
        for pid in supervisors(its_guard):
            os.kill(pid, signal.SIGSTOP)
        cancellation.ask()

    job = Job("guarded.a.1", f"echo started; sleep {seconds}; true", Path("/"), {"PATH": os.defpath})
    ended = outcome(runner, job, cancellation, stop)
    assert (ended.returncode, ended.canceled) == (137, True)
    assert comes(lambda: not sleepers(), GRACE)


def test_what_prints_on_when_its_step_has_ended_is_ended_too(
    runner: ProcessRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_AFTERWARDS", 0.1)
    printed: list[int] = []

    def take(chunk: bytes) -> None:
        printed.append(len(chunk))
        # Many seconds' worth, in pieces of up to 64 KiB.
        assert len(printed) < 100_000, "it prints for ever"

    job = Job("guarded.a.1", "yes on & exit 7", Path("/"), {"PATH": os.defpath})
    assert runner.run(job, take, Cancellation()).returncode == 7
