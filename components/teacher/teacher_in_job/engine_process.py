"""Keeps an engine for as long as whoever started it lives: ``engine_keeper.py LOG COMMAND ...``.

The engine gets a process group of its own. It is ended, with all it started, when this process's standard input does,
however that comes about: a step that is killed leaves no engine behind that holds a GPU. Ends with the engine's exit
code when the engine ends first.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading

#: Seconds between asking the engine to end and killing what is left of it.
GRACE = 10.0


def main() -> int:
    """Start, wait for either end, leave nothing."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        # What asks the whole step to end must not end this one before the engine.
        signal.signal(getattr(signal, name), signal.SIG_IGN)
    with open(sys.argv[1], "ab") as log:
        engine = subprocess.Popen(
            sys.argv[2:], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, process_group=0
        )
    threading.Thread(target=_end_with_starter, args=(engine.pid,), daemon=True).start()
    code = engine.wait()
    _signal(engine.pid, signal.SIGKILL)
    return code if code >= 0 else 128 - code


def _end_with_starter(group: int) -> None:
    sys.stdin.buffer.read()
    _signal(group, signal.SIGTERM)
    timer = threading.Timer(GRACE, _signal, (group, signal.SIGKILL))
    timer.daemon = True
    timer.start()


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


if __name__ == "__main__":
    sys.exit(main())
