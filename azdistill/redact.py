"""No secret leaves the program in text.

Values that were resolved from a reference are registered here; whatever is written to a log, a terminal, a manifest,
a tag or an error passes through :func:`redact` on the way. Common encodings of a value are hidden too, because error
messages of HTTP libraries quote URLs, headers and bodies.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from urllib.parse import quote, quote_plus

MASK = "***"
#: A shorter value would mask ordinary words in every log.
SHORTEST = 5
#: The rest of a base64 text on its last line, where it is longer than words are.
_SHORTEST_LINE = 12
_ESCAPE = re.compile("%[0-9A-F]{2}")

_values: set[str] = set()
_pattern: re.Pattern[str] | None = None
_lock = threading.Lock()


def register(value: str) -> None:
    """Hide ``value``, and its base64, URL and JSON spellings, in all text from now on; one under 5 characters stays."""
    global _pattern
    if len(value) < SHORTEST:
        return
    with _lock:
        _values.update(_forms(value))
        longest_first = sorted(_values, key=len, reverse=True)
        _pattern = re.compile("|".join(re.escape(form) for form in longest_first))


def redact(text: str) -> str:
    """``text`` with every registered value replaced by ``***``."""
    return _pattern.sub(MASK, text) if _pattern else text


def forget() -> None:
    """Drop every registered value (for tests)."""
    global _pattern
    with _lock:
        _values.clear()
        _pattern = None


def longest() -> int:
    """Length of the longest registered form: how much a stream must hold back so that none slips through in halves."""
    return max((len(form) for form in _values), default=0)


def _forms(value: str) -> set[str]:
    # As os.environ decodes it: bytes that are no UTF-8 too.
    raw = value.encode("utf-8", "surrogateescape")
    forms = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    for encoded in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        forms |= {encoded, _ESCAPE.sub(lambda found: found[0].lower(), encoded)}
    forms |= _base64_lines(raw)
    # A value inside a longer base64 text (for example "Bearer <key>") starts at any of three alignments; the
    # characters that depend on the neighbours are cut off at both ends.
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            encoded = encode(b"\0" * shift + raw).decode().rstrip("=")
            head = (shift * 8 + 5) // 6
            tail = len(encoded) if (shift + len(raw)) % 3 == 0 else len(encoded) - 1
            forms.add(encoded[head:tail])
    return {form for form in forms if len(form) >= SHORTEST}


def _base64_lines(raw: bytes) -> set[str]:
    """The lines that ``base64`` and ``openssl`` break a long value into."""
    encoded = base64.b64encode(raw).decode().rstrip("=")
    lines = {encoded[at : at + width] for width in (64, 76) for at in range(0, len(encoded), width)}
    return {line for line in lines if len(line) >= _SHORTEST_LINE}
