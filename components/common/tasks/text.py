"""Finding the part of a response that is the answer."""

from __future__ import annotations

import re
import unicodedata

_THINK = re.compile(r"<(think|thinking|reasoning)>.*?</\1>", re.S | re.I)
_MARKERS = re.compile(
    r"(?:^|[\s*_>(])(?:(?:the|my|so,? the)\s+)?(?:final\s+|correct\s+|best\s+)?"
    r"(?:answer|label|choice|option|relationship|solution|result)(?:\s+is)?\s*(?:[:=]|(?<=is)\s)\s*"
    r"(?P<answer>[^\n]+)",
    re.I,
)


def visible(text: str) -> str:
    """A response without the thoughts that reasoning models show, and without spaces around it."""
    text = _THINK.sub("", text)
    # Templates that open the block in the prompt leave only its end in the response.
    for end in ("</think>", "</thinking>", "</reasoning>"):
        text = text.rpartition(end)[2]
    return text.strip()


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
            return text[begin:position].strip()
    return None


def squash(text: str) -> str:
    """``text`` for comparison: composed, lower case, single spaces, no punctuation at the ends."""
    text = re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).casefold()
    return text.strip(" .,;:!?\"'()[]{}*`")
