"""The guard of a run: a small process that ends the steps when the runner dies, however it dies.

Started before any step as ``python -I -S guard.py MARK``, in a session of its own. Its stdin is a pipe that only the
runner holds: lines ``+PGID PIPE`` and ``-PGID PIPE`` name the process groups that live and the pipes that they print
into, and the end of the pipe means that the runner is gone. Then every named group is killed and, on Linux, every
process whose environment holds MARK (one that left its group) or that holds one of the pipes (one that cleared its
environment too). Imports nothing of azdistill: it must start fast and outlive everything.
"""

import os
import signal
import sys
import time


def main() -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    groups: set[tuple[int, int]] = set()
    while line := sys.stdin.readline():
        group, pipe = map(int, line[1:].split())
        groups.add((group, pipe)) if line[0] == "+" else groups.discard((group, pipe))
    for group, pipe in groups:
        kill_group(group)
        kill(holders(pipe))
    sweep(sys.argv[1])


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


def opened(pid: int) -> list[str]:
    """What a process holds open, as Linux names it (``pipe:[7]``); empty where that is gone, or another's."""
    try:
        return [os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return []


def holders(pipe: int) -> list[int]:
    """Ids of the other processes that hold the pipe of this inode number open."""
    return [pid for pid in processes() if f"pipe:[{pipe}]" in opened(pid)]


def marked(mark: str) -> list[int]:
    """Ids of the other live processes whose environment holds ``mark``."""
    variable = b"\0" + mark.encode() + b"\0"
    return [pid for pid in processes() if variable in b"\0" + contents(pid, "environ") + b"\0"]


def members(group: int) -> list[int]:
    """Ids of the other processes of a group that have not ended."""
    if not os.path.isdir("/proc/self"):
        return listed(group)
    pids = []
    for pid in processes():
        # The name of the program, in brackets, may hold anything.
        fields = contents(pid, "stat").rpartition(b")")[2].split()
        if fields and int(fields[2]) == group and fields[0] not in (b"Z", b"X"):
            pids.append(pid)
    return pids


def listed(group: int) -> list[int]:
    """The same, asked of the program ps: where there is no /proc (macOS)."""
    import subprocess

    listing = subprocess.run(["ps", "-A", "-o", "pid=,pgid=,stat="], capture_output=True, text=True, check=False)
    rows = [line.split() for line in listing.stdout.splitlines()]
    return [int(row[0]) for row in rows if len(row) > 2 and row[1] == str(group) and not row[2].startswith("Z")]


if __name__ == "__main__":
    main()
