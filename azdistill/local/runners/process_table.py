"""What this machine says of its processes: who is of a group, and who holds what open."""

from __future__ import annotations

import os
import subprocess

from azdistill.local.runners.guard import processes, standing


def members(group: int) -> list[int]:
    """Ids of the other processes of a group that have not ended."""
    if not os.path.isdir("/proc/self"):
        return listed(group)
    pids = []
    for pid in processes():
        state, _, own_group = standing(pid)
        if own_group == group and state not in ("", "Z", "X"):
            pids.append(pid)
    return pids


def listed(group: int) -> list[int]:
    """The same, asked of the program ps: where there is no /proc (macOS)."""
    listing = subprocess.run(["ps", "-A", "-o", "pid=,pgid=,stat="], capture_output=True, text=True, check=False)
    rows = [line.split() for line in listing.stdout.splitlines()]
    return [int(row[0]) for row in rows if len(row) > 2 and row[1] == str(group) and not row[2].startswith("Z")]


def opened(pid: int) -> list[str]:
    """What a process holds open, as Linux names it (``pipe:[7]``); empty where that is gone, or another's."""
    try:
        return [os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return []


def holders(pipe: int) -> list[int]:
    """Ids of the other processes that hold the pipe of this inode number open."""
    return [pid for pid in processes() if f"pipe:[{pipe}]" in opened(pid)]
