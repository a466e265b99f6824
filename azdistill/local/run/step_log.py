"""What a step prints: whole and redacted into its log, line by line and harmless onto the terminal."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable
from pathlib import Path

from azdistill import redact
from azdistill.terminal import harmless

#: A line longer than this is cut on the terminal; the log has all of it.
_LONGEST_LINE = 4000
#: A longer run of text without a blank holds no word to wait for.
_LONGEST_WORD = 200


class LogWriter:
    """Takes a step's output in pieces of any size; a context manager. ``on_line`` gets each finished line, harmless.

    Text that may be the beginning of a secret is held back until the rest has come.
    """

    def __init__(self, path: Path, on_line: Callable[[str], None]) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        # Bytes that are no UTF-8 reach the log as they came.
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self._held = ""
        self._line = ""
        self._on_line = on_line

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def feed(self, chunk: bytes) -> None:
        """Take the next piece."""
        self._held += self._decode(chunk)
        cut = self._safe_cut()
        self._write(redact.redact(self._held[:cut]))
        self._held = self._held[cut:]

    def note(self, line: str) -> None:
        """Add a line of the runner's own."""
        self._flush()
        self._write(f"[azdistill] {redact.redact(line)}\n")

    def close(self) -> None:
        """Write what was held back."""
        self._flush()
        if self._line:
            self._show()
        # The next file that is opened gets this number: a thread that still reads must not write into that.
        file, self._file = self._file, -1
        os.close(file)

    def _flush(self) -> None:
        self._held += self._decode(b"", final=True)
        self._write(redact.redact(self._held))
        self._held = ""

    def _safe_cut(self) -> int:
        pending, longest = self._held, redact.longest()
        # Every line of a secret is registered by itself, so a line that has ended holds no half of one.
        cut = max(len(pending) - max(longest - 1, 0), pending.rfind("\n") + 1)
        redacted = redact.redact(pending)
        start = cut
        while cut > 0 and not (
            self._is_between_words(cut, start)
            and redact.redact(pending[:cut]) + redact.redact(pending[cut:]) == redacted
        ):
            cut -= 1
        return cut

    def _is_between_words(self, cut: int, start: int) -> bool:
        """Whether what begins at ``cut`` can be looked at without what stands before it, where words are hidden."""
        return not redact.has_words() or self._held[cut - 1].isspace() or start - cut > _LONGEST_WORD

    def _write(self, text: str) -> None:
        if not text:
            return
        data = memoryview(text.encode("utf-8", "surrogateescape"))
        while data:
            data = data[os.write(self._file, data) :]
        *lines, last = (self._line + text).split("\n")
        for line in lines:
            self._line = line
            self._show()
        # A progress bar rewrites its line: only its latest state is kept.
        self._line = last[last.rstrip("\r").rfind("\r") + 1 :][-_LONGEST_LINE:]

    def _show(self) -> None:
        line = self._line.rstrip("\r")
        # Once more: a secret with a control sequence in it is whole only now.
        self._on_line(redact.redact(harmless(line[line.rfind("\r") + 1 :]))[:_LONGEST_LINE])
        self._line = ""
