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
    while found := marked(mark):
        sent += kill(found)
        if time.monotonic() > until:
            break
        time.sleep(0.01)
    return sent


def kill(pids: list[int] | set[int]) -> int:
    """Kill processes that may be gone already; how many were there."""
    there = 0
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
            there += 1
        except (ProcessLookupError, PermissionError):
            continue
    return there


def holders(pipe: int) -> list[int]:
    """Ids of the other processes that hold the pipe of this inode number open; empty where there is no /proc."""
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if name.isdigit() and int(name) != os.getpid():
            try:
                held = [os.readlink(f"/proc/{name}/fd/{number}") for number in os.listdir(f"/proc/{name}/fd")]
            except OSError:
                continue
            if f"pipe:[{pipe}]" in held:
                found.append(int(name))
    return found


def members(group: int) -> list[int]:
    """Ids of the processes of a group that have not ended."""
    if not os.path.isdir("/proc/self"):
        return listed(group)
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    # The name of the program, in brackets, may hold anything.
                    state, _, its_group = file.read().rpartition(b")")[2].split()[:3]
            except (OSError, ValueError):
                continue
            if int(its_group) == group and state not in (b"Z", b"X"):
                found.append(int(name))
    return found


def listed(group: int) -> list[int]:
    """The same, asked of the program ps: where there is no /proc (macOS)."""
    import subprocess

    asked = subprocess.run(["ps", "-A", "-o", "pid=,pgid=,stat="], capture_output=True, text=True, check=False)
    rows = [line.split() for line in asked.stdout.splitlines()]
    return [int(row[0]) for row in rows if len(row) > 2 and row[1] == str(group) and not row[2].startswith("Z")]


def marked(mark: str) -> list[int]:
    """Ids of the live processes whose environment holds ``mark``; empty where there is no /proc."""
    wanted = b"\0" + mark.encode() + b"\0"
    found = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if name.isdigit() and int(name) != os.getpid():
            try:
                with open(f"/proc/{name}/environ", "rb") as file:
                    environment = file.read()
            except OSError:
                continue
            if wanted in b"\0" + environment + b"\0":
                found.append(int(name))
    return found


if __name__ == "__main__":
    main()
