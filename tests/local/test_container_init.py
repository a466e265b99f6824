"""The shell that is process 1 of a container, run here without one."""

from __future__ import annotations

import os
import signal
import subprocess

from azdistill.local.runners.docker.runner import _INIT

#: What a busy machine does by chance: the command has ended before the shell looks whether it has.
SLOW_KILL = '() { builtin kill "$@"; local status=$?; sleep 0.3; return $status; }'


def test_the_exit_code_of_a_command_that_is_asked_to_end_is_its_own() -> None:
    command = "trap 'exit 5' TERM; echo ready; sleep 30 & wait"
    environment = {**os.environ, "BASH_FUNC_kill%%": SLOW_KILL}
    shell = subprocess.Popen(["/bin/bash", "-c", _INIT, command], stdout=subprocess.PIPE, env=environment)
    assert shell.stdout is not None
    shell.stdout.readline()
    # The shell may not have come to its trap yet; in a container process 1 ignores the signal until then.
    while shell.poll() is None and "15" not in _caught(shell.pid):
        pass
    shell.send_signal(signal.SIGTERM)
    assert shell.wait(timeout=20) == 5


def _caught(pid: int) -> list[str]:
    """The signals that a process has handlers for."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        (mask,) = (int(line.split()[1], 16) for line in status if line.startswith("SigCgt"))
    return [str(number) for number in range(1, 32) if mask >> (number - 1) & 1]
