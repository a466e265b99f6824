"""Lines that programs print: made harmless for a terminal, and the few among many that say what went wrong."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Terminal sequences (CSI, OSC and its like, two-byte escapes), then single control characters (C0 without tab, DEL, C1)
# and the marks that reorder text (CWE-150, CVE-2021-42574).
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]P^_X][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b[ -/]*[0-~]"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_OURS = re.compile(r"error\[[A-Za-z0-9_-]+\]:|error:|fatal:", re.IGNORECASE)
_RAISED = re.compile(r"[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Warning)\b")


def harmless(text: str) -> str:
    """``text`` without control sequences: what may be shown on a terminal."""
    return _CONTROL.sub("", text)


def telling(lines: Sequence[str], most: int = 5) -> list[str]:
    """Of a log: the first lines that say ``error...``, else the last line of the last traceback, else its end."""
    texts = [text for text in (harmless(line).rstrip() for line in lines) if text]
    for number, text in enumerate(texts):
        if _OURS.match(text):
            return texts[number : number + most]
    raised = [text for text in texts if _RAISED.match(text)]
    if raised and any(text.startswith("Traceback ") for text in texts):
        return raised[-1:]
    return texts[-most:]


def size(count: float) -> str:
    """Bytes for people, in powers of ten: ``120 B``, ``1.2 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
