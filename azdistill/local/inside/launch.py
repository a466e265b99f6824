"""Starts a distributed step's command once for each process, as Azure ML does: ``launch.py COUNT COMMAND``.

Each process gets the variables of PyTorch's environment initialisation (MASTER_ADDR, MASTER_PORT, WORLD_SIZE, RANK,
LOCAL_RANK) and NODE_RANK, for one node. Their lines are printed behind ``[rank N]``. The first that fails ends all
others, and its exit code becomes this one's. All stay in one process group, which whoever started this ends.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time

GRACE = 5.0
#: Seconds that the output of something a process left behind is waited for.
LINGER = 0.5
_CHUNK = 1 << 16
_lock = threading.Lock()


def main() -> int:
    count, command = int(sys.argv[1]), sys.argv[2]
    # A signal to the group reaches the processes by itself; this one stays to tell how they ended.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(count), "NODE_RANK": "0"}
    ranks, readers = {}, []
    for rank in range(count):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        child = subprocess.Popen(
            ["/bin/bash", "-c", command],
            env={**os.environ, **address, **own},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        ranks[child.pid] = rank
        mark = f"[rank {rank}] ".encode() if count > 1 else b""
        readers.append(threading.Thread(target=relay, args=(child.stdout.fileno(), mark), daemon=True))
        readers[-1].start()
    code = wait(ranks)
    until = time.monotonic() + LINGER
    for reader in readers:
        reader.join(max(0.0, until - time.monotonic()))
    return code


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def relay(descriptor: int, mark: bytes) -> None:
    """Print what comes from ``descriptor`` line by line, each line whole and behind ``mark``."""
    held = b""
    while chunk := os.read(descriptor, _CHUNK):
        *lines, held = (held + chunk).split(b"\n")
        put(b"".join(mark + line + b"\n" for line in lines))
        if len(held) > _CHUNK:
            put(mark + held + b"\n")
            held = b""
    put(mark + held + b"\n" if held else b"")


def put(data: bytes) -> None:
    with _lock:
        while data:
            data = data[os.write(1, data) :]


def wait(ranks: dict[int, int]) -> int:
    """Wait for every process; the exit code of the first that failed, as a shell reports it, or 0."""
    code, alone = 0, len(ranks) == 1
    killer = None
    while ranks:
        pid, status = os.wait()
        if pid not in ranks:
            continue
        rank, ended = ranks.pop(pid), shell_code(status)
        if ended and not code:
            code = ended
            if ranks:
                put(f"[launch] rank {rank} ended with exit code {ended}: ending the others\n".encode())
                killer = threading.Timer(GRACE, end, (ranks, signal.SIGKILL))
                killer.daemon = True
                killer.start()
                end(ranks, signal.SIGTERM)
            elif not alone:
                put(f"[launch] rank {rank} ended with exit code {ended}\n".encode())
    if killer:
        killer.cancel()
    return code


def end(ranks: dict[int, int], number: int) -> None:
    """Signal the processes that are left; what they started hears of it where it is in the group."""
    if number == signal.SIGTERM:
        os.killpg(0, number)
        return
    for pid in list(ranks):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def shell_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    code = main()
    # Readers whose pipe something else still holds are not waited for.
    os._exit(code)
