"""Finding the part of a response that is the answer, and the words of a text in any script."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

#: Code, which is text whatever tags it holds, or the tag of a thought.
_CODE_OR_TAG = re.compile(
    r"```.*?```|~~~.*?~~~|\"\"\".*?\"\"\"|'''.*?'''|`[^`\n]*`|<(?P<tag>/?(?:think|thinking|reasoning))>",
    re.S | re.I,
)
#: A quotation that is open where a line is cut off, and what begins a point of a list.
_QUOTING = re.compile(r"(?:^|[\s(\[{=,:+])(?P<mark>[\"\'])(?:(?!(?P=mark)).)*$")
_POINT = re.compile(r"\s*(?:[-*+]|\d+[.)])\s*")
_OPENING = re.compile(r"\s*<(think|thinking|reasoning)>", re.I)
#: What stands between a thought and the answer: blank lines, or spaces on the same line.
_GAP = re.compile(r"(?:[ \t\r]*\n)+|[ \t]*")
_MARKERS = re.compile(
    r"(?:^|[\s*_>(])(?:(?:the|my|so,? the)\s+)?(?:final\s+|correct\s+|best\s+)?"
    r"(?:answer|label|choice|option|relationship|solution|result)(?:\s+is)?\s*(?:[:=]|(?<=is)\s)\s*"
    r"(?P<answer>[^\n]+)",
    re.I,
)


def split_thoughts(text: str, *, lone: bool = True) -> tuple[str, str]:
    """The thought that opens a response, and the answer behind it; ``("", text)`` where no thought opens it.

    A thought is a closed block at the very start, or what stands before a lone ``</think>``: templates that open the
    block in the prompt leave only its end in the response. A block without an end is all thought: it was cut short.
    The answer is what was said, character by character: tags further on are its own. ``lone=False``: so is a lone end.
    """
    if opened := _OPENING.match(text):
        end = _end_of_thought(text, opened.group(1).lower(), opened.end())
        return (text[opened.end() :].strip(), "") if end is None else _parted(text, opened.end(), end)
    end = _lone_end(text) if lone else None
    return ("", text) if end is None else _parted(text, 0, end)


def _parted(text: str, start: int, tag: re.Match[str]) -> tuple[str, str]:
    gap = _GAP.match(text, tag.end())
    return text[start : tag.start()].strip(), text[gap.end() if gap else tag.end() :]


def _tags(text: str, start: int = 0) -> Iterator[re.Match[str]]:
    return (match for match in _CODE_OR_TAG.finditer(text, start) if match.group("tag"))


def _end_of_thought(text: str, name: str, start: int) -> re.Match[str] | None:
    """The end of the thought that begins at ``start``: the first one outside code, or else the first of all."""
    ends = (tag for tag in _tags(text, start) if tag.group("tag").lower() == f"/{name}")
    return next(ends, None) or re.compile(f"</{name}>", re.I).search(text, start)


def _lone_end(text: str) -> re.Match[str] | None:
    """The ``</think>`` that ends a thought whose beginning stood in the prompt; None where the tag is only mentioned.

    Models write it at the beginning of a line, or right behind their last word. In a sentence it is spoken of.
    """
    if "</think>" not in text.lower():
        return None
    tags = list(_tags(text))
    if not tags or tags[0].group("tag").lower() != "/think" or any(tag.group("tag")[0] != "/" for tag in tags):
        return None
    first = tags[0]
    before = text[text.rfind("\n", 0, first.start()) + 1 : first.start()]
    after = text[first.end() :].partition("\n")[0]
    if not before.strip():
        # Four blanks make a line code, in Markdown as in most programs.
        return first if len(before.expandtabs(4)) < 4 else None
    quoting = _QUOTING.search(before)
    if _POINT.fullmatch(before) or (quoting and re.search(quoting.group("mark") + r"(?!\w)", after)):
        return None
    if before[-1].isspace():
        return first if before.rstrip()[-1] in ".!?" and not after.strip() else None
    spoken_of = re.match(r"[ \t]+[a-z]|[.,;:!?)'\"]", after)
    return first if (before[-1].isalnum() or before[-1] in ".!?:;,)]}*") and not spoken_of else None


def only_thought(text: str) -> bool:
    """Whether ``text`` is a closed block of thoughts with nothing behind it."""
    opened = _OPENING.match(text)
    end = _end_of_thought(text, opened.group(1).lower(), opened.end()) if opened else None
    return end is not None and not text[end.end() :].strip()


def visible(text: str) -> str:
    """A response as it is scored: without the thought that opens it, and without spaces around it."""
    return split_thoughts(text)[1].strip()


def plain(text: str) -> str:
    """``text`` without Markdown's emphasis and code marks, and without quotes around it."""
    text = re.sub(r"\*\*|__|`+", "", text).strip()
    return text.strip("\"'\u201c\u201d\u2018\u2019 ")


def marked(text: str) -> str | None:
    """What follows the last sign of a final answer: ``\\boxed{..}``, ``#### ..``, ``Answer: ..``, ``the answer is``."""
    if boxed := _last_boxed(text):
        return boxed
    if "####" in text and (final := text.rpartition("####")[2].strip()):
        return final.splitlines()[0].strip()
    answers = [match.group("answer") for match in _MARKERS.finditer(re.sub(r"\*\*|__|`+", "", text))]
    return answers[-1].strip() if answers else None


def _last_boxed(text: str) -> str | None:
    start = text.rfind("\\boxed{")
    if start < 0:
        return None
    depth, begin = 1, start + len("\\boxed{")
    for position in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return re.sub(r"\\(?:text|mathrm|mathbf|textbf)\{([^{}]*)\}", r"\1", text[begin:position]).strip()
    return None


#: Punctuation that parts words as a blank does: of Tibetan and Ethiopic, and of scripts of old.
_DIVIDERS = dict.fromkeys(
    map(ord, "\u0f0b\u0f0c\u1361\u16eb\u16ec\u2e31\U00010100\U00010101\U0001039f\U000103d0\U0001091f\U00012470"), " "
)


def shown(text: str) -> str:
    """``text`` composed, and without what nobody sees: joiners, marks of direction, byte order marks."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", "".join(letter for letter in text if _kind(letter) != "x"))


def spaced(text: str) -> str:
    """``text`` with blanks where its script parts words by a mark of its own."""
    return text if text.isascii() else text.translate(_DIVIDERS)


def one_width(text: str) -> str:
    """``text`` with the letters, digits and marks of East Asian typing in their common width."""
    return text if text.isascii() else unicodedata.normalize("NFC", "".join(map(_common_width, text)))


@lru_cache(maxsize=1 << 12)
def _common_width(letter: str) -> str:
    wide = unicodedata.decomposition(letter).startswith(("<wide>", "<narrow>"))
    return unicodedata.normalize("NFKC", letter) if wide else letter


def squash(text: str) -> str:
    """``text`` for comparison: what is shown, in one width, lower case, single spaces, no punctuation at the ends.

    A text of nothing but punctuation stays as it is: two of them are not the same for having no letters.
    """
    text = re.sub(r"\s+", " ", one_width(shown(text))).casefold().strip()
    begin, end = 0, len(text)
    while begin < end and _is_edge(text[begin]):
        begin += 1
    while end > begin and _is_edge(text[end - 1]):
        end -= 1
    return text[begin:end] or text


@lru_cache(maxsize=1 << 12)
def _is_edge(letter: str) -> bool:
    """Whether a character at the end of an answer is no part of it. A per mille sign, or a prime for feet, is."""
    if letter.isascii():
        return letter in " .,;:!?\"'()[]{}*`"
    kind = unicodedata.category(letter)
    return kind in ("Cf", "Zs", "Ps", "Pe", "Pi", "Pf") or (kind == "Po" and letter not in "\u2030\u2031\u2032\u2033")


#: Scripts that put no blanks between words, by how Unicode's names of their letters begin ("NEW" is New Tai Lue).
UNSPACED = (
    *("CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "BOPOMOFO", "YI"),
    *("THAI", "LAO", "KHMER", "MYANMAR", "TAI", "NEW", "BALINESE", "JAVANESE", "TANGUT", "NUSHU", "KHITAN"),
)


@lru_cache(maxsize=1 << 16)
def script(letter: str) -> str:
    """The script of a letter, as the first word of its name says: LATIN, CJK, HIRAGANA, ...; empty for no letter."""
    return unicodedata.name(letter, "").partition(" ")[0] if letter.isalpha() else ""


def words(text: str) -> list[str]:
    """The words of a text in any script, for counting what two texts share.

    A word is a run of letters, combining marks and digits (Unicode's categories L, M and N), after NFKC and case
    folding. Where a script puts no blanks between words, each letter with its marks is one; so is a pictograph. A text
    without any word has its visible characters instead: a row of dots is equal to a row of dots, and to nothing else.
    """
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    if text.isascii():
        return re.findall(r"[a-z0-9]+", text) or re.findall(r"\S", text)
    return _parts(text, r"um*|sm*|[wm]+") or _parts(text, r"\S")


def pieces(text: str) -> list[str]:
    """What blanks part, and the letters of scripts that put none between words."""
    return text.split() if text.isascii() else _parts(spaced(text), r"um*|[^u ]+")


def _parts(text: str, pattern: str) -> list[str]:
    """The parts of a text whose kinds of characters match ``pattern``."""
    kinds = [(letter, kind) for letter in text if (kind := _kind(letter)) != "x"]
    letters = "".join(letter for letter, _ in kinds)
    return [letters[match.start() : match.end()] for match in re.finditer(pattern, "".join(kind for _, kind in kinds))]


@lru_cache(maxsize=1 << 16)
def _kind(letter: str) -> str:
    """u: of a script without blanks, w: another letter or digit, m: a mark, s: a pictograph, x: invisible; blank; p."""
    kind = unicodedata.category(letter)
    if kind[0] in "LN":
        return "u" if script(letter) in UNSPACED else "w"
    if letter.isspace() or kind in ("Cc", "Zs", "Zl", "Zp"):
        return " "
    # Joiners, marks of direction, and what chooses between the two looks of a pictograph.
    if kind == "Cf" or "\ufe00" <= letter <= "\ufe0f":
        return "x"
    return {"M": "m", "S": "s" if kind == "So" else "p"}.get(kind[0], "p")
