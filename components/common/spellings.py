"""How a secret may be spelt in a text: its base64, URL, JSON, HTML, hexadecimal and Python spellings.

azdistill's own writer knows the same spellings (``azdistill/redact.py``). A search may be wider than what is replaced
character by character: :func:`holds` finds a value in any case, backwards, with blanks, line ends or marks put into it,
and behind escapes.
"""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import quote, quote_plus, unquote

from common import strict_json

#: A shorter piece of a value's spellings is a word that means something else.
_SHORTEST_FORM = 5
#: The rest of a base64 text on its last line, where it is longer than words are.
_SHORTEST_LINE = 12
#: What is left of a value without its marks tells it from other text when it is so long.
_SHORTEST_SQUEEZED = 16
_PERCENT = re.compile("%[0-9A-F]{2}")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")
_MARKS = bytes(code for code in range(128) if not chr(code).isalnum())
#: A text may be escaped again and again; so often is looked behind it.
_LAYERS = 4


@lru_cache(maxsize=256)
def forms(value: str) -> frozenset[str]:
    """The spellings of a value that is long enough to be replaced wherever it stands."""
    # As os.environ decodes it: bytes that are no UTF-8 too.
    raw = value.encode("utf-8", "surrogateescape")
    found = _spellings(value, raw) | _base64_lines(raw) | _encoded(raw)
    return frozenset(form for form in found if len(form) >= _SHORTEST_FORM)


def holds(text: str, value: str) -> bool:
    """Whether ``text`` holds ``value``, a long one, in any spelling."""
    exact, squeezed = _searched(value)
    return any(
        any(form in reading for form in exact) or any(form in _squeeze(reading) for form in squeezed)
        for reading in _readings(text)
    )


@lru_cache(maxsize=256)
def _searched(value: str) -> tuple[frozenset[str], frozenset[bytes]]:
    """What is looked for in a text as it is, and in one without blanks and marks."""
    spelt = forms(value) | {value[::-1]}
    squeezed = {form: _squeeze(form) for form in spelt}
    long = {form for form in squeezed.values() if len(form) >= _SHORTEST_SQUEEZED}
    # Where a short piece is found, so is all that holds it.
    least = {form for form in long if not any(part in form for part in long if part != form)}
    return frozenset(form for form in spelt if squeezed[form] not in long), frozenset(least)


def _readings(text: str) -> Iterator[str]:
    """The text as it is, and as it reads with its escapes undone."""
    for _ in range(_LAYERS):
        yield text
        behind = html.unescape(unquote(_ESCAPE.sub(_character, text)))
        if behind == text:
            return
        text = behind


def _character(match: re.Match[str]) -> str:
    return chr(int(match[1] or match[2], 16))


@lru_cache(maxsize=4)
def _squeeze(text: str) -> bytes:
    """The text in one case, without blanks and marks. Of bytes, since every answer is looked through."""
    return text.casefold().encode("utf-8", "surrogatepass").translate(None, _MARKS)


def _spellings(value: str, raw: bytes) -> set[str]:
    found = {value, strict_json.dumps(value)[1:-1], strict_json.dumps(value, ensure_ascii=False)[1:-1]}
    for encoded in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        found |= {encoded, _PERCENT.sub(lambda match: match[0].lower(), encoded)}
    found |= {raw.hex(), raw.hex().upper(), html.escape(value)}
    # As Python's repr shows it, alone or in a text that has a double quote, where every single one is escaped.
    return found | {repr(value)[1:-1], repr(f'"{value}')[2:-1]}


def _encoded(raw: bytes) -> set[str]:
    """A value's base64 inside a longer one, where it starts at any of three alignments.

    The characters that depend on the neighbours are cut off at both ends.
    """
    texts = set()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for shift in range(3):
            encoded = encode(b"\0" * shift + raw).decode().rstrip("=")
            head = (shift * 8 + 5) // 6
            tail = len(encoded) if (shift + len(raw)) % 3 == 0 else len(encoded) - 1
            texts.add(encoded[head:tail])
    return texts


def _base64_lines(raw: bytes) -> set[str]:
    """The lines that ``base64`` and ``openssl`` break a long value into."""
    encoded = base64.b64encode(raw).decode().rstrip("=")
    lines = {encoded[at : at + width] for width in (64, 76) for at in range(0, len(encoded), width)}
    return {line for line in lines if len(line) >= _SHORTEST_LINE}
