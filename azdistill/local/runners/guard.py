"""The guard of a run: a small process that ends the steps when the runner dies, however it dies.

Started before any step as ``python -I -S guard.py MARK``, in a session of its own. Its stdin is a pipe that only the
runner holds: lines ``+PGID`` and ``-PGID`` name the process groups that live, and the end of the pipe means that the
runner is gone. Then every named group is killed and, on Linux, every process whose environment holds MARK (one that
left its group). Imports nothing of azdistill: it must start fast and outlive everything.
"""

import os
import signal
import sys
import time


def main() -> None:
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE"):
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    groups: set[int] = set()
    while line := sys.stdin.readline():
        groups.add(int(line[1:])) if line[0] == "+" else groups.discard(int(line[1:]))
    for group in groups:
        kill_group(group)
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
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
                sent += 1
            except ProcessLookupError:
                continue
        if time.monotonic() > until:
            break
        time.sleep(0.01)
    return sent


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
