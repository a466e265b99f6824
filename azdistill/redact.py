"""No secret leaves the program in text.

Values that were resolved from a reference are registered here; whatever is written to a log, a terminal, a manifest,
a tag or an error passes through :func:`redact` on the way. Common encodings of a value are hidden too, because error
messages of HTTP libraries quote URLs, headers and bodies. A short value, which a server at home takes as well as any
other (``k``, ``EMPTY``), is hidden where it is a word of its own: as a part of words it would blank every log.
"""

from __future__ import annotations

import base64
import html
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from azdistill import strict_json

MASK = "***"
#: A shorter value is hidden as a whole word only.
SHORTEST = 6
#: Other spellings of it of fewer characters are words that mean something else: ``6b`` is ``k`` in hexadecimal.
_SHORTEST_SPELLING = 4
#: So is a shorter piece of a longer value's spellings.
_SHORTEST_FORM = 5
#: What a word goes on with: a name, a path, an option, a number's digits.
_IN_WORD = r"\w/-"
#: The rest of a base64 text on its last line, where it is longer than words are.
_SHORTEST_LINE = 12
#: A run of base64 is looked through for pieces of this length: lines may break a long text anywhere.
_PIECE = 12
_RUN = re.compile(rf"[A-Za-z0-9+/_-]{{{_PIECE},}}")
_ESCAPE = re.compile("%[0-9A-F]{2}")

#: A text is cut into blocks of this length. One that holds a form of two blocks less one character holds a whole block
#: of it, wherever that begins: a key file has hundreds of forms, and most text no block of them.
_BLOCK = 6
_LONG = 2 * _BLOCK - 1


class _Search:
    """Finds all of some forms at once, and what of ``encoded`` texts line breaks have left in pieces."""

    def __init__(self, forms: frozenset[str], encoded: frozenset[str], words: frozenset[str]) -> None:
        self.forms, self.encoded, self.words = forms, encoded, words
        # Whether a word ends where it seems to is seen from two characters more.
        self.longest = max([0, *map(len, forms), *(len(word) + 3 for word in words)])
        self._pieces = _parts(encoded, _PIECE)
        long = {form for form in forms if len(form) >= _LONG}
        # Where none is that holds no other, none is.
        least = [form for form in long if not any(part in form for part in long if part != form)]
        self._blocks = _parts(least, _BLOCK) | _parts(encoded, _BLOCK)
        self._pattern = _any_of(forms)
        self._short = _any_of(forms - long)
        self._word = _any_of(words, _word)

    def hide(self, text: str, names: bool) -> str:
        if self._blocks.isdisjoint([text[at : at + _BLOCK] for at in range(0, len(text), _BLOCK)]):
            text = self._short.sub(MASK, text)
        else:
            text = _RUN.sub(self._hide_pieces, self._pattern.sub(MASK, text))
        return text if names else self._word.sub(MASK, text)

    def _hide_pieces(self, match: re.Match[str]) -> str:
        run, pieces = match[0], self._pieces
        at = [place for place in range(len(run) - _PIECE + 1) if run[place : place + _PIECE] in pieces]
        return f"{run[: at[0]]}{MASK}{run[at[-1] + _PIECE :]}" if at else run


def _parts(texts: Iterable[str], length: int) -> set[str]:
    return {text[at : at + length] for text in texts for at in range(len(text) - length + 1)}


def _any_of(texts: Iterable[str], pattern_of: Callable[[str], str] = re.escape) -> re.Pattern[str]:
    """Finds any of ``texts``, the longest first, and nothing where there are none."""
    return re.compile("|".join(map(pattern_of, sorted(texts, key=len, reverse=True))) or r"(?!)")


_search: _Search | None = None
_lock = threading.Lock()


def register(*values: str) -> None:
    """Hide ``values``, and their base64, URL and JSON spellings, in all text from now on; blank ones are none.

    Several are better given at once: each call prepares the search for all that there are.
    """
    global _search
    hidden = [value for value in values if value.strip()]
    long = [value for value in hidden if len(value) >= SHORTEST]
    forms = {form for value in long for form in _forms(value)}
    encoded = {text for value in long for text in _encoded(value.encode("utf-8", "surrogateescape"))}
    words = {form for value in hidden if len(value) < SHORTEST for form in _words(value)}
    with _lock:
        earlier = _search or _Search(frozenset(), frozenset(), frozenset())
        if not (forms <= earlier.forms and words <= earlier.words):
            _search = _Search(earlier.forms | forms, earlier.encoded | encoded, earlier.words | words)


def redact(text: str, *, names: bool = False) -> str:
    """``text`` with every registered value replaced by ``***``.

    ``names``: it names something that is looked up by it, or says where it lies, so that it is no value; only what is
    long enough to be told from a word is hidden.
    """
    return _search.hide(text, names) if _search else text


#: What names something in what we write, wherever it stands.
_NAMES = frozenset(
    {
        *("event", "do", "kind", "name", "step", "steps", "parent", "apart", "headline", "columns", "status", "reason"),
        *("pipeline", "experiment", "run_id", "runner", "folder"),
    }
)


def clean(value: Any) -> Any:
    """``value`` with every string in it redacted, before JSON's escapes could hide how a secret is spelt. Keys, names
    and paths stay what they are looked up by.
    """
    return _clean(value, names=False)


def _clean(value: Any, names: bool) -> Any:
    if isinstance(value, str):
        return redact(value, names=names or value.startswith("/"))
    if isinstance(value, Mapping):
        return {
            redact(str(key), names=True): _clean(field, names or (key in _NAMES and not isinstance(field, Mapping)))
            for key, field in value.items()
        }
    if isinstance(value, list | tuple):
        return [_clean(element, names) for element in value]
    return value


def forget() -> None:
    """Drop every registered value (for tests)."""
    global _search
    with _lock:
        _search = None


def longest() -> int:
    """Length of the longest registered form: how much a stream must hold back so that none slips through in halves."""
    return _search.longest if _search else 0


def has_words() -> bool:
    """Whether what stands before a text decides on what is hidden in it."""
    return bool(_search and _search.words)


def _word(form: str) -> str:
    """Finds ``form`` where it is no part of a longer word, and not of a row of its own first or last character.

    A line end or a tab before it may be spelt out, as in what Python's repr shows.
    """
    first, last = re.escape(form[0]), re.escape(form[-1])
    begins = rf"(?:(?<![{_IN_WORD}])(?<!\w\.)|(?<=\\[nrt]))(?<!{first})"
    return rf"{begins}{re.escape(form)}(?![{_IN_WORD}]|\.\w)(?!{last})"


def _forms(value: str) -> set[str]:
    # As os.environ decodes it: bytes that are no UTF-8 too.
    raw = value.encode("utf-8", "surrogateescape")
    forms = _spellings(value, raw) | _base64_lines(raw) | _encoded(raw)
    return {form for form in forms if len(form) >= _SHORTEST_FORM}


def _words(value: str) -> set[str]:
    raw = value.encode("utf-8", "surrogateescape")
    # Within a longer text its base64 has no piece that is its own.
    padded = {encode(raw).decode() for encode in (base64.b64encode, base64.urlsafe_b64encode)}
    forms = _spellings(value, raw) | padded | {form.rstrip("=") for form in padded}
    return {form for form in forms if form == value or len(form) >= _SHORTEST_SPELLING}


def _spellings(value: str, raw: bytes) -> set[str]:
    forms = {value, strict_json.dumps(value)[1:-1], strict_json.dumps(value, ensure_ascii=False)[1:-1]}
    for encoded in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        forms |= {encoded, _ESCAPE.sub(lambda match: match[0].lower(), encoded)}
    forms |= {raw.hex(), raw.hex().upper(), html.escape(value)}
    # As Python's repr shows it, alone or in a text that has a double quote, where every single one is escaped.
    return forms | {repr(value)[1:-1], repr(f'"{value}')[2:-1]}


def _encoded(raw: bytes) -> set[str]:
    """A value's base64 inside a longer one (for example of "Bearer <key>"), where it starts at any of three alignments.

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
