"""Starts a distributed step's command once for each process, as Azure ML does: ``launch.py COUNT KIND COMMAND``.

Of the kind ``pytorch``, each process gets the variables of PyTorch's environment initialisation (MASTER_ADDR,
MASTER_PORT, WORLD_SIZE, RANK, LOCAL_RANK) and NODE_RANK, for one node; of the kind ``tensorflow``, TF_CONFIG, for
workers on one machine. Their lines are printed behind ``[rank N]`` or ``[worker N]``. The first that fails ends all
others, and its exit code becomes this one's. All stay in one process group, which whoever started this ends.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

GRACE = 5.0
#: Seconds that the output of something a process left behind is waited for.
LINGER = 0.5
_CHUNK = 1 << 16
#: Of a line that does not end no more is held than this, for each process.
_LONGEST = 4 << 20
_lock = threading.Lock()


def main() -> int:
    count, kind, command = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    # A signal to the group reaches the processes by itself; this one stays to tell how they ended.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    variables, word = (workers(count), "worker") if kind == "tensorflow" else (processes(count), "rank")
    ranks = [start(command, environment) for environment in variables]
    marks = [f"[{word} {number}] ".encode() if count > 1 else b"" for number in range(count)]
    readers = [in_background(relay, rank, marks[number]) for number, rank in enumerate(ranks)]
    code = wait(ranks, word)
    until = time.monotonic() + LINGER
    for reader in readers:
        reader.join(max(0.0, until - time.monotonic()))
    return code


def processes(count: int) -> list[dict[str, str]]:
    """What PyTorch's processes are told."""
    [port] = free_ports(1)
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(count), "NODE_RANK": "0"}
    return [{**address, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(count)]


def workers(count: int) -> list[dict[str, str]]:
    """What TensorFlow's workers are told."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(count)]}
    tasks = [{"type": "worker", "index": number} for number in range(count)]
    return [
        {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task, "environment": "cloud"}, allow_nan=False)}
        for task in tasks
    ]


def start(command: str, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["/bin/bash", "-c", command],
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def in_background(work: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def free_ports(count: int) -> list[int]:
    """As many ports of loopback, each another, that nobody listens on now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def relay(rank: subprocess.Popen[bytes], mark: bytes) -> None:
    """Print what a process prints line by line, each line whole and behind ``mark``."""
    assert rank.stdout
    descriptor, buffer = rank.stdout.fileno(), bytearray()
    while chunk := os.read(descriptor, _CHUNK):
        buffer += chunk
        # Looked for in what is new: a long line comes in many pieces.
        end = len(buffer) - len(chunk) + ended if (ended := chunk.rfind(b"\n") + 1) else cut(buffer)
        put(marked(bytes(buffer[:end]), mark))
        del buffer[:end]
    put(marked(bytes(buffer), mark))


def cut(buffer: bytearray) -> int:
    """How much of an unfinished line is printed now, as a line of its own.

    What is one word stays so: a secret is found, and hidden, in one piece only.
    """
    if len(buffer) <= _CHUNK:
        return 0
    # What a progress bar writes over has ended as well. The last one may be the first half of a line's end.
    if drawn := buffer.rfind(b"\r", 0, -1) + 1:
        return drawn
    return 0 if len(buffer) <= _LONGEST else buffer.rfind(b" ") + 1 or len(buffer)


def marked(text: bytes, mark: bytes) -> bytes:
    """``text`` with ``mark`` before each line, and an end after the last."""
    lines = text.removesuffix(b"\n").split(b"\n") if text else []
    return b"".join(mark + line + b"\n" for line in lines)


def put(data: bytes) -> None:
    with _lock:
        while data:
            data = data[os.write(1, data) :]


def wait(ranks: list[subprocess.Popen[bytes]], word: str) -> int:
    """Wait for every process; the exit code of the first that failed, as a shell reports it, or 0."""
    ended: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
    for number, rank in enumerate(ranks):
        in_background(lambda number=number, rank=rank: ended.put((number, shell_code(rank.wait()))))
    first, kill_at = 0, None
    for running in range(len(ranks) - 1, -1, -1):
        try:
            number, code = ended.get(timeout=None if kill_at is None else max(0.0, kill_at - time.monotonic()))
        except queue.Empty:
            for rank in ranks:
                rank.kill()
            number, code = ended.get()
        if code and not first:
            first = code
            if len(ranks) > 1:
                consequence = ": ending the others" if running else ""
                put(f"[launch] {word} {number} ended with exit code {code}{consequence}\n".encode())
            # The group, so that what the processes started hears of it too.
            os.killpg(0, signal.SIGTERM)
            kill_at = time.monotonic() + GRACE
    return first


def shell_code(returncode: int) -> int:
    return returncode if returncode >= 0 else 128 - returncode


if __name__ == "__main__":
    code = main()
    # Readers whose pipe something else still holds are not waited for.
    os._exit(code)
