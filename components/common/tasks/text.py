"""Finding the part of a response that is the answer."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

#: Code, which is text whatever tags it holds, or the tag of a thought.
_CODE_OR_TAG = re.compile(r"```.*?```|`[^`\n]*`|<(?P<tag>/?(?:think|thinking|reasoning))>", re.S | re.I)
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
        return first
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
    if "####" in text and (rest := text.rpartition("####")[2].strip()):
        return rest.splitlines()[0].strip()
    found = [match.group("answer") for match in _MARKERS.finditer(re.sub(r"\*\*|__|`+", "", text))]
    return found[-1].strip() if found else None


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


def squash(text: str) -> str:
    """``text`` for comparison: composed, lower case, single spaces, no punctuation at the ends."""
    text = re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).casefold()
    return text.strip(" .,;:!?\"'()[]{}*`")
