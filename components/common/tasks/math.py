"""Math problems whose answer is a number."""

from __future__ import annotations

import re
from fractions import Fraction

from common.tasks.base import Row, Task
from common.tasks.text import marked, visible

#: A number with its sign, thousands separators and decimals. A minus behind a digit, letter or bracket is an operator.
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)\]])-\s?)?[$\u20ac\u00a3]?\s?(?P<sign2>(?<![\w)\]\s])-)?"
    r"(?P<whole>[0-9]{1,3}(?:,[0-9]{2,3})+(?![0-9])|[0-9]+)?(?P<part>(?<=[0-9])\.[0-9]+|\.[0-9]+)?"
)
_FRACTION = re.compile(r"\\d?frac\s*\{\s*(-?[0-9]+)\s*\}\s*\{\s*([0-9]+)\s*\}")
_RATIO = re.compile(r"^\W*(-?[0-9]+)\s*/\s*([0-9]+)\W*$")


class Math(Task):
    name = "math"
    aliases = ("gsm8k",)
    metrics = ("accuracy",)
    headline = "accuracy"

    def parse(self, text: str, row: Row | None = None) -> str | None:
        shown = visible(text)
        candidate = marked(shown)
        value = number_in(candidate) if candidate else None
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


def number_in(text: str) -> Fraction | None:
    """The number that ``text`` is, or else the last one in it."""
    text = re.sub("[\u2212\u2013\u2012]", "-", text).replace("\\$", "$").replace("\\,", "").replace("{,}", ",")
    text = _FRACTION.sub(r"\1/\2", text)
    # "x = 18", "24 clips = 18": what stands behind the last equals sign is the result.
    _, equals, tail = text.rpartition("=")
    if equals and re.search(r"[0-9]", tail):
        text = tail
    if (ratio := _RATIO.match(text)) and int(ratio.group(2)):
        return Fraction(int(ratio.group(1)), int(ratio.group(2)))
    found = [match for match in _NUMBER.finditer(text) if match.group("whole") or match.group("part")]
    return _value(found[-1]) if found else None


def _value(match: re.Match[str]) -> Fraction:
    digits = (match.group("whole") or "0").replace(",", "") + (match.group("part") or "")
    return Fraction(digits) * (-1 if match.group("sign") or match.group("sign2") else 1)


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
