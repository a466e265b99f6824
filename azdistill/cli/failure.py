"""The lines of a failed step's log that say what went wrong."""

from __future__ import annotations

import re
from pathlib import Path

from azdistill.local.streams import harmless

_OURS = re.compile(r"error\[[A-Za-z0-9_-]+\]:|error:|fatal:", re.IGNORECASE)
_RAISED = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Warning)\b")
#: The end of a log is enough: what went wrong is said last.
_READ = 256 * 1024


def error_lines(log: Path, most: int = 5) -> list[str]:
    """The first lines that say ``error...``, else the last line of the last traceback, else the end of the log."""
    try:
        with open(log, "rb") as file:
            file.seek(max(file.seek(0, 2) - _READ, 0))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    lines = [line for line in (harmless(line).rstrip() for line in text.splitlines()) if line]
    lines = [line for line in lines if not line.startswith("[azdistill] ")]
    for number, line in enumerate(lines):
        if _OURS.match(line):
            return lines[number : number + most]
    raised = [line for line in lines if _RAISED.match(line)]
    if raised and any(line.startswith("Traceback ") for line in lines):
        return raised[-1:]
    return lines[-most:]
