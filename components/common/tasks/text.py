"""Finding the part of a response that is the answer."""

from __future__ import annotations

import re
import unicodedata

_THOUGHTS = ("think", "thinking", "reasoning")
_MARKERS = re.compile(
    r"(?:^|[\s*_>(])(?:(?:the|my|so,? the)\s+)?(?:final\s+|correct\s+|best\s+)?"
    r"(?:answer|label|choice|option|relationship|solution|result)(?:\s+is)?\s*(?:[:=]|(?<=is)\s)\s*"
    r"(?P<answer>[^\n]+)",
    re.I,
)


def visible(text: str) -> str:
    """A response without the thoughts that reasoning models show, and without spaces around it."""
    for name in _THOUGHTS:
        closes = [match.end() for match in re.finditer(f"</{name}>", text, re.I)]
        if closes:
            # Searched up to the last end only, so that beginnings without an end cost no time.
            head, tail = text[: closes[-1]], text[closes[-1] :]
            head = re.sub(f"<{name}>.*?</{name}>", "", head, flags=re.S | re.I)
            # Templates that open the block in the prompt leave only its end in the response.
            text = re.split(f"</{name}>", head, flags=re.I)[-1] + tail
        elif re.match(rf"\s*<{name}>", text, re.I):
            # Cut short while it was still thinking: nothing was said.
            return ""
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
            return re.sub(r"\\(?:text|mathrm|mathbf|textbf)\{([^{}]*)\}", r"\1", text[begin:position]).strip()
    return None


def squash(text: str) -> str:
    """``text`` for comparison: composed, lower case, single spaces, no punctuation at the ends."""
    text = re.sub(r"\s+", " ", unicodedata.normalize("NFC", text)).casefold()
    return text.strip(" .,;:!?\"'()[]{}*`")
