"""No secret leaves the program in text.

Values that were resolved from a reference are registered here; whatever is written to a log, a terminal, a manifest,
a tag or an error passes through :func:`redact` on the way. Common encodings of a value are hidden too, because error
messages of HTTP libraries quote URLs, headers and bodies.
"""

from __future__ import annotations

import base64
import html
import re
import threading
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

from azdistill import strict_json

MASK = "***"
#: A shorter value would mask ordinary words in every log.
SHORTEST = 5
#: The rest of a base64 text on its last line, where it is longer than words are.
_SHORTEST_LINE = 12
#: A run of base64 is looked through for pieces of this length: lines may break a long text anywhere.
_PIECE = 12
_RUN = re.compile(rf"[A-Za-z0-9+/_-]{{{_PIECE},}}")
_ESCAPE = re.compile("%[0-9A-F]{2}")

#: Up to so many forms are found as fast without a look beforehand.
_FEW = 30
_BLOCK = 6


class _Search:
    """Finds all of some forms at once, and what of ``encoded`` texts line breaks have left in pieces."""

    def __init__(self, forms: frozenset[str], encoded: frozenset[str]) -> None:
        self.forms, self.encoded = forms, encoded
        self._pieces = _parts(encoded, _PIECE)
        self._piece_blocks = _parts(encoded, _BLOCK)
        self.longest = max(map(len, forms))
        self._pattern = _any_of(forms)
        # A key file has hundreds of forms, and most text none of them. Cut into blocks, a text that holds a form of
        # two blocks less one character holds one whole block of it, wherever that begins.
        least = _without_larger(forms) if len(forms) > _FEW else []
        long = [form for form in least if len(form) >= 2 * _BLOCK - 1]
        self._blocks = _parts(long, _BLOCK)
        short = least[: len(least) - len(long)]
        self._short = _any_of(short) if long and short else None

    def hide(self, text: str) -> str:
        whole = self._pattern.sub(MASK, text) if self._may_be_in(text) else text
        return _RUN.sub(self._hide_pieces, whole) if _has_block(whole, self._piece_blocks) else whole

    def _hide_pieces(self, found: re.Match[str]) -> str:
        run, pieces = found[0], self._pieces
        at = [place for place in range(len(run) - _PIECE + 1) if run[place : place + _PIECE] in pieces]
        return f"{run[: at[0]]}{MASK}{run[at[-1] + _PIECE :]}" if at else run

    def _may_be_in(self, text: str) -> bool:
        if not self._blocks or (self._short and self._short.search(text)):
            return True
        return _has_block(text, self._blocks)


def _parts(texts: Iterable[str], length: int) -> set[str]:
    return {text[at : at + length] for text in texts for at in range(len(text) - length + 1)}


def _has_block(text: str, blocks: set[str]) -> bool:
    """Whether a text that is cut into blocks has one of these."""
    return not blocks.isdisjoint([text[at : at + _BLOCK] for at in range(0, len(text), _BLOCK)])


_search: _Search | None = None
_lock = threading.Lock()


def register(*values: str) -> None:
    """Hide ``values``, and their base64, URL and JSON spellings, in all text from now on; one under 5 characters stays.

    Several are better given at once: each call prepares the search for all that there are.
    """
    global _search
    hidden = [value for value in values if len(value) >= SHORTEST]
    forms = {form for value in hidden for form in _forms(value)}
    encoded = {text for value in hidden for text in _encoded(value.encode("utf-8", "surrogateescape"))}
    with _lock:
        known, before = (_search.forms, _search.encoded) if _search else (frozenset(), frozenset())
        if not forms <= known:
            _search = _Search(known | forms, before | encoded)


def redact(text: str) -> str:
    """``text`` with every registered value replaced by ``***``."""
    return _search.hide(text) if _search else text


def forget() -> None:
    """Drop every registered value (for tests)."""
    global _search
    with _lock:
        _search = None


def longest() -> int:
    """Length of the longest registered form: how much a stream must hold back so that none slips through in halves."""
    return _search.longest if _search else 0


def _without_larger(forms: Iterable[str]) -> list[str]:
    """The forms that hold no other: where none of these is, none is. The shortest first."""
    least: list[str] = []
    for form in sorted(forms, key=len):
        if not any(other in form for other in least):
            least.append(form)
    return least


def _any_of(forms: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))


def _forms(value: str) -> set[str]:
    # As os.environ decodes it: bytes that are no UTF-8 too.
    raw = value.encode("utf-8", "surrogateescape")
    forms = {value, strict_json.dumps(value)[1:-1], strict_json.dumps(value, ensure_ascii=False)[1:-1]}
    for encoded in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        forms |= {encoded, _ESCAPE.sub(lambda found: found[0].lower(), encoded)}
    forms |= {raw.hex(), raw.hex().upper(), html.escape(value)}
    # As Python's repr shows it, alone or in a text that has a double quote, where every single one is escaped.
    forms |= {repr(value)[1:-1], repr(f'"{value}')[2:-1]}
    forms |= _base64_lines(raw)
    forms |= _encoded(raw)
    return {form for form in forms if len(form) >= SHORTEST}


def _encoded(raw: bytes) -> set[str]:
    """A value's base64 inside a longer one (for example of "Bearer <key>"), where it starts at any of three alignments.

    The characters that depend on the neighbours are cut off at both ends.
    """
    found = set()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            encoded = encode(b"\0" * shift + raw).decode().rstrip("=")
            head = (shift * 8 + 5) // 6
            tail = len(encoded) if (shift + len(raw)) % 3 == 0 else len(encoded) - 1
            found.add(encoded[head:tail])
    return found


def _base64_lines(raw: bytes) -> set[str]:
    """The lines that ``base64`` and ``openssl`` break a long value into."""
    encoded = base64.b64encode(raw).decode().rstrip("=")
    lines = {encoded[at : at + width] for width in (64, 76) for at in range(0, len(encoded), width)}
    return {line for line in lines if len(line) >= _SHORTEST_LINE}
