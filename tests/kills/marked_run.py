"""``azdistill``, writing down the moments at which it begins a step, a commit and what follows.

``python -m kills.marked_run MOMENTS ARGUMENTS...`` appends lines ``TIME PHASE STEP`` to the file MOMENTS and runs the
program unchanged otherwise, so that a test can kill it in a phase of its choice and knows in which phase it did.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from azdistill.cli import main
from azdistill.local.run.step import StepRunner


def _mark(file: int, phase: str, name: str) -> None:
    os.write(file, f"{time.time()} {phase} {name}\n".encode())


def _around(file: int, method: str, phase: str) -> None:
    wrapped: Callable[..., Any] = getattr(StepRunner, method)

    def marked(self: StepRunner, step: Any, *rest: Any) -> Any:
        _mark(file, phase, step.name)
        try:
            return wrapped(self, step, *rest)
        finally:
            _mark(file, f"{phase}-over", step.name)

    setattr(StepRunner, method, marked)


if __name__ == "__main__":
    moments = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    _around(moments, "_run_command", "step")
    _around(moments, "_commit", "commit")
    sys.argv[:2] = ["azdistill"]
    main()
