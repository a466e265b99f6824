"""Math problems whose answer is a number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from common.tasks.base import Row, Task
from common.tasks.text import marked, visible

#: A number with its sign, thousands separators and decimals. A minus behind a digit, letter or bracket is an operator.
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)\]])-\s?)?[$\u20ac\u00a3]?\s?(?P<sign2>(?<![\w)\]\s])-)?"
    r"(?P<whole>[0-9]{1,3}(?:,[0-9]{2,3})+(?![0-9])|[0-9]+)?(?P<part>(?<=[0-9])\.[0-9]+|\.[0-9]+)?"
    r"(?P<power>(?<=[0-9])[eE][+-]?[0-9]{1,2}\b)?"
)
_FRACTION = re.compile(r"\\d?frac\s*\{\s*(-?[0-9]+)\s*\}\s*\{\s*([0-9]+)\s*\}")
_RATIO = re.compile(r"^[^\w-]*(-?[0-9]{1,100})\s*/\s*([0-9]{1,100})\W*$")
#: More digits than this are a model that repeats itself, and more than Python turns into a number.
_DIGITS = 100

#: What makes the number before it part of a calculation and not its result.
_OPERATOR = re.compile(r"\s*(?:[-+*/^=\u00d7\u00f7]|x\s*[0-9]|plus|minus|times|divided)")


class Math(Task):
    name = "math"
    aliases = ("gsm8k",)
    metrics = ("accuracy",)
    headline = "accuracy"

    def parse(self, text: str, row: Row | None = None) -> str | None:
        shown = visible(text)
        candidate = marked(shown)
        value = stated_number(candidate) if candidate else None
        value = number_in(shown) if value is None else value
        return None if value is None else _written(value)

    def correct(self, answer: str | None, reference: str) -> bool | None:
        gold = number_in(marked(reference) or reference)
        given = number_in(answer) if answer else None
        return gold is not None and given == gold

    def reference(self, text: str, row: Row | None = None) -> str | None:
        return self.parse(text)

    def _rule(self, row: Row, text: str) -> str | None:
        return None if self.parse(text, row) is not None else "unparsable"


def stated_number(text: str) -> Fraction | None:
    """The number of a final answer: the one it begins with ("18, because 9 are left"), or else as :func:`number_in`."""
    text = _plain_signs(text)
    first = next(_numbers(text), None)
    begins = first is not None and not re.search(r"\w", text[: first.start()])
    if first is not None and begins and not _OPERATOR.match(text, first.end()):
        return _value(first)
    return number_in(text)


def number_in(text: str) -> Fraction | None:
    """The number that ``text`` is, or else the last one in it."""
    text = _plain_signs(text)
    # "x = 18", "24 clips = 18": what stands behind the last equals sign is the result.
    _, equals, tail = text.rpartition("=")
    if equals and re.search(r"[0-9]", tail):
        text = tail
    if (ratio := _RATIO.match(text)) and int(ratio.group(2)):
        return Fraction(int(ratio.group(1)), int(ratio.group(2)))
    found = list(_numbers(text))
    return _value(found[-1]) if found else None


def _numbers(text: str) -> Iterator[re.Match[str]]:
    for match in _NUMBER.finditer(text):
        digits = len(match.group("whole") or "") + len(match.group("part") or "")
        if 0 < digits <= _DIGITS:
            yield match


def _plain_signs(text: str) -> str:
    """``text`` with a plain minus, and without what LaTeX puts around numbers."""
    text = re.sub("[\u2212\u2013\u2012]", "-", text).replace("\\$", "$").replace("\\,", "").replace("{,}", ",")
    return _FRACTION.sub(r"\1/\2", text)


def _value(match: re.Match[str]) -> Fraction:
    digits = (match.group("whole") or "0").replace(",", "") + (match.group("part") or "")
    return Fraction(digits + (match.group("power") or "")) * (-1 if match.group("sign") or match.group("sign2") else 1)


def _written(value: Fraction) -> str:
    """A number in its shortest exact form: 18, 0.5, 1/3."""
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    places = 0
    for prime in (2, 5):
        count = 0
        while rest % prime == 0:
            rest //= prime
            count += 1
        places = max(places, count)
    if rest != 1:
        return f"{value.numerator}/{value.denominator}"
    sign, scaled = ("-" if value < 0 else ""), abs(value) * 10**places
    digits = str(int(scaled)).rjust(places + 1, "0")
    return f"{sign}{digits[:-places]}.{digits[-places:]}"


TASK = Math()
