"""The lines of a failed step's log that say what went wrong."""

from __future__ import annotations

from pathlib import Path

from azdistill.terminal import telling

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
    return telling([line for line in text.splitlines() if not line.startswith("[azdistill] ")], most)
