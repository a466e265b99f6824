"""The guard of a run and the supervisors of its steps: small processes that end what was started when the runner dies.

The guard is started before any step as ``python -I -S guard.py MARK``, in a session of its own. Its stdin is a socket
whose other end only the runner holds. With each byte there come two descriptors, for which the guard forks a
supervisor: a socket to the runner, and where the step's output goes. So no step costs the start of a Python.

A supervisor starts one command, tells the runner how it ended, and ends all that is left of it: when the runner says
so, or when the runner's end of the socket is closed, however that came about. On Linux whatever a command starts is
below its supervisor (a "subreaper"), in whatever session and with whatever environment; elsewhere a supervisor knows
the command's process group only. Guard, runner and supervisor may each be killed:

- Without the guard the supervisors go on, and the runner starts another guard.
- The command ends with its supervisor, and what it has started is then below the guard, which ends it. The runner
  kills a supervisor that hangs when it should end the command.
- When the runner is gone, the guard ends whatever is below it, also where a supervisor hangs, and then every process
  whose environment holds MARK.

Imports nothing of azdistill, and little else: it must start fast and outlive everything.
"""

from __future__ import annotations

# Not signal and socket, which import enum and more: what is forked for each step is as small as can be.
import _signal as signal  # type: ignore[import-not-found]
import _socket
import array
import os
import resource
import select
import sys
import time

SHELL = "/bin/bash"
#: What the runner says to a supervisor: ask the command's group to end; end everything.
TERMINATE, KILL = b"t", b"k"
#: What a supervisor says to the runner, a line each: it waits for its job (its own id); the command was started (the
#: id of that), could not be started (errno), or has ended (exit code, or the signal below zero); it did what it could.
READY, STARTED, FAILED, ENDED, GONE = b"ready", b"started", b"failed", b"ended", b"gone"
#: Seconds for which what was killed may take to end.
PATIENCE = 5.0
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE)
#: A command begins with no signal ignored, whoever ignored it: what started the runner, Python, or the guard.
_RESTORED = {*range(1, 32)} - {signal.SIGKILL, signal.SIGSTOP}
#: Of the system call prctl.
_SUBREAPER = 36


def main() -> None:
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    Guard(_socket.socket(fileno=0)).run()
    sweep(sys.argv[1])


class Guard:
    """Forks the supervisors that the runner asks for, and ends what they leave."""

    def __init__(self, runner: _socket.socket) -> None:
        self._runner = runner
        self._prctl = Prctl()
        self._supervisors: set[int] = set()
        self._has_children = False

    def run(self) -> None:
        # That it is handled is what makes the descriptor readable.
        signal.signal(signal.SIGCHLD, lambda *_: None)
        ended = adopt(self._prctl)
        while True:
            ready, _, _ = select.select([self._runner.fileno(), ended], [], [])
            if ended in ready:
                drain(ended)
                if self._reap():
                    self._end_strays(ended)
            if self._runner.fileno() in ready:
                descriptors = self._receive()
                if len(descriptors) != 2:
                    break
                self._start(*descriptors)
        self._end_all(ended)

    def _receive(self) -> list[int]:
        """The descriptors of one order; none when the runner is gone."""
        numbers = array.array("i")
        try:
            _, ancillary, _, _ = self._runner.recvmsg(1, _socket.CMSG_SPACE(2 * numbers.itemsize))
        except OSError:
            return []
        for level, kind, content in ancillary:
            if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS):
                numbers.frombytes(content[: len(content) - len(content) % numbers.itemsize])
        for number in numbers:
            os.set_inheritable(number, False)
        return list(numbers)

    def _start(self, number: int, output: int) -> None:
        control = _socket.socket(fileno=number)
        try:
            pid = os.fork()
        except OSError as error:
            say(control, FAILED, error.errno or 0)
        else:
            if not pid:
                try:
                    is_well = Supervisor(self._prctl, control, output).run()
                    os._exit(0 if is_well else 1)
                finally:
                    os._exit(1)
            self._supervisors.add(pid)
        control.close()
        os.close(output)

    def _reap(self) -> bool:
        """Take note of the children that have ended; whether a supervisor among them was killed or left something."""
        ended, self._has_children = reap()
        is_left = any(status and pid in self._supervisors for pid, status in ended)
        self._supervisors.difference_update(pid for pid, _ in ended)
        return is_left

    def _end_strays(self, ended: int) -> None:
        """End what is below here and below no supervisor."""
        until = time.monotonic() + PATIENCE
        while (strays := below(os.getpid(), self._supervisors)) and time.monotonic() < until:
            kill(strays)
            pause(ended)
            self._reap()

    def _end_all(self, ended: int) -> None:
        """End everything that is below here; the supervisors do the same, and go by themselves unless they hang."""
        started = time.monotonic()
        self._reap()
        while self._has_children and (passed := time.monotonic() - started) < PATIENCE:
            kill(below(os.getpid()) - (self._supervisors if passed < 1 else set()))
            pause(ended)
            self._reap()


class Supervisor:
    """Starts a command, and ends what is left of it."""

    def __init__(self, prctl: Prctl, control: _socket.socket, output: int) -> None:
        self._prctl, self._control, self._output = prctl, control, output
        self._leader = 0
        self._is_told = False

    def run(self) -> bool:
        """Whether nothing is left."""
        # Lets go of the guard's socket.
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        ended = adopt(self._prctl)
        say(self._control, READY, os.getpid())
        size = int.from_bytes(self._exactly(8), "big")
        job = self._exactly(size)
        if not job or not self._start(*job.split(b"\0")):
            return True
        while True:
            ready, _, _ = select.select([self._control.fileno(), ended], [], [])
            if ended in ready:
                drain(ended)
                self._look()
            if self._control.fileno() in ready:
                words = self._read(64)
                if TERMINATE in words:
                    kill_group(self._leader, signal.SIGTERM)
                if KILL in words or not words:
                    return self._end(ended)

    def _read(self, most: int) -> bytes:
        try:
            return self._control.recv(most)
        except OSError:
            return b""

    def _exactly(self, size: int) -> bytes:
        """So many bytes; none when the runner is gone."""
        parts = []
        while size and (part := self._read(min(size, 1 << 16))):
            parts.append(part)
            size -= len(part)
        return b"" if size else b"".join(parts)

    def _start(self, folder: bytes, command: bytes, *variables: bytes) -> bool:
        try:
            os.chdir(folder)
            limit_core()
            # Takes a third less time than a fork.
            self._leader = os.posix_spawn(
                SHELL,
                [os.fsencode(SHELL), b"-c", command],
                dict(variable.split(b"=", 1) for variable in variables),
                file_actions=[(os.POSIX_SPAWN_DUP2, self._output, number) for number in (1, 2)],
                setsid=True,
                setsigdef=_RESTORED,
            )
        except OSError as error:
            say(self._control, FAILED, error.errno or 0)
            return False
        os.close(self._output)
        say(self._control, STARTED, self._leader)
        return True

    def _look(self) -> None:
        """Tell how the command has ended, once it has. Its id stays its own until everything of it is ended."""
        if not hasattr(os, "waitid"):
            # Nothing is adopted there either.
            self._reap()
            return
        while not self._is_told and (child := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
            if child.si_pid == self._leader:
                self._tell(child.si_status if child.si_code == os.CLD_EXITED else -child.si_status)
            else:
                # What was adopted must not fill the table of processes.
                os.waitpid(child.si_pid, 0)

    def _reap(self) -> bool:
        """Whether there are children still."""
        ended, is_left = reap()
        for pid, status in ended:
            if pid == self._leader:
                self._tell(os.waitstatus_to_exitcode(status))
        return is_left

    def _tell(self, code: int) -> None:
        if not self._is_told:
            self._is_told = True
            say(self._control, ENDED, code)

    def _end(self, ended: int) -> bool:
        kill_group(self._leader)
        until = time.monotonic() + PATIENCE
        while (is_left := self._reap()) and time.monotonic() < until:
            kill(below(os.getpid()))
            pause(ended)
        say(self._control, GONE)
        return not is_left


class Prctl:
    """Linux's system call of that name; does nothing elsewhere, or in a Python that cannot call it."""

    def __init__(self) -> None:
        self._call = None
        if sys.platform == "linux":
            try:
                import ctypes

                self._call = ctypes.CDLL(None).prctl
            except (ImportError, OSError, AttributeError):
                return

    def __call__(self, option: int, value: int) -> None:
        if self._call:
            self._call(option, value, 0, 0, 0)


def limit_core() -> None:
    """What a step holds in memory, its keys among it, is written nowhere when it crashes.

    One byte is too little for a file. A core that Linux gives to a program (systemd's, apport) is not held to a limit,
    not to 0 either; with the limit 1 there is none.
    """
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
    except (OSError, ValueError):
        # It is 0 already, and may not be raised.
        return


def adopt(prctl: Prctl) -> int:
    """Take over whatever is left below here; the descriptor given back is readable when a child has ended."""
    prctl(_SUBREAPER, 1)
    ended, telling = os.pipe()
    os.set_blocking(ended, False)
    os.set_blocking(telling, False)
    signal.set_wakeup_fd(telling)
    return ended


def drain(descriptor: int) -> None:
    """Read what has come."""
    try:
        while os.read(descriptor, 4096):
            pass
    except BlockingIOError:
        return


def pause(ended: int) -> None:
    """Wait until a child ends, a moment at most."""
    select.select([ended], [], [], 0.01)
    drain(ended)


def say(control: _socket.socket, word: bytes, number: int | None = None) -> None:
    """Write a line to the runner, which may be gone."""
    try:
        control.sendall(word + (b"" if number is None else b" %d" % number) + b"\n")
    except OSError:
        return


def reap() -> tuple[list[tuple[int, int]], bool]:
    """The children that have ended, each with its status, which nobody learns again; whether there are others.

    Where there are none, nothing lives below: what its parent left would be a child.
    """
    ended = []
    try:
        while (child := os.waitpid(-1, os.WNOHANG))[0]:
            ended.append(child)
    except ChildProcessError:
        return ended, False
    return ended, True


def below(root: int, spared: set[int] | frozenset[int] = frozenset()) -> set[int]:
    """Ids of the live processes below ``root``, without those that are ``spared`` and what is below them."""
    children: dict[int, list[int]] = {}
    for pid in processes():
        state, parent, _ = standing(pid)
        if state not in ("", "Z", "X") and pid not in spared:
            children.setdefault(parent, []).append(pid)
    found, unseen = set(), [root]
    while unseen:
        further = [pid for pid in children.get(unseen.pop(), ()) if pid not in found]
        found.update(further)
        unseen += further
    return found


def kill_group(group: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process group that may be gone already."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        # macOS answers "not permitted" for a group of zombies.
        return


def sweep(mark: str, seconds: float = 1.5) -> int:
    """Kill every process whose environment holds ``mark`` (NAME=value), until none is left; count the signals sent."""
    sent, until = 0, time.monotonic() + seconds
    while pids := marked(mark):
        sent += kill(pids)
        if time.monotonic() > until:
            break
        time.sleep(0.01)
    return sent


def kill(pids: list[int] | set[int]) -> int:
    """Kill processes that may be gone already; how many were there."""
    sent = 0
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            sent += 1
        except (ProcessLookupError, PermissionError):
            continue
    return sent


def processes() -> list[int]:
    """Ids of all other processes; empty where there is no /proc."""
    names = os.listdir("/proc") if os.path.isdir("/proc/self") else []
    return [int(name) for name in names if name.isdigit() and int(name) != os.getpid()]


def contents(pid: int, name: str) -> bytes:
    """A file about a process; empty where that is gone, or another's."""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


def standing(pid: int) -> tuple[str, int, int]:
    """State, parent and group of a process; an empty state where it is gone."""
    # The name of the program, in brackets, may hold anything.
    fields = contents(pid, "stat").rpartition(b")")[2].split()
    return (fields[0].decode(), int(fields[1]), int(fields[2])) if fields else ("", 0, 0)


def marked(mark: str) -> list[int]:
    """Ids of the other live processes whose environment holds ``mark``."""
    variable = b"\0" + mark.encode() + b"\0"
    return [pid for pid in processes() if variable in b"\0" + contents(pid, "environ") + b"\0"]


if __name__ == "__main__":
    main()
