"""Math problems whose answer is a number."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from fractions import Fraction

from common.tasks import Row, Task
from common.text import marked, one_width, shown, visible

ALIASES = ("gsm8k",)
SAMPLE = {"strategy": "chain_of_thought", "max_tokens": 512, "max_new_tokens": 32}

#: A number with its sign, thousands separators and decimals. A minus behind a digit, letter or bracket is an operator.
_NUMBER = re.compile(
    r"(?P<sign>(?<![\w)\]])-\s?)?[$\u20ac\u00a3]?\s?(?P<sign2>(?<![\w)\]\s])-)?"
    r"(?P<whole>[0-9]{1,3}(?:,[0-9]{2,3})+(?![0-9])|[0-9]+)?(?P<part>(?<=[0-9])\.[0-9]+|\.[0-9]+)?"
    r"(?P<power>(?<=[0-9])[eE][+-]?[0-9]{1,2}\b)?"
)
_FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*(-?[0-9]+)\s*\}\s*\{\s*([0-9]+)\s*\}")
_RATIO = re.compile(r"^[^\w-]*(-?[0-9]{1,100})\s*/\s*([0-9]{1,100})\W*$")
#: More digits than this are a model that repeats itself, and more than Python turns into a number.
_DIGITS = 100

#: What makes the number before it part of a calculation and not its result.
_OPERATOR = re.compile(r"\s*(?:[-+*/^=\u00d7\u00f7]|x\s*[0-9]|plus|minus|times|divided)")


class Math(Task):
    metrics = ("accuracy",)
    headline = "accuracy"

    def parse(self, text: str, row: Row | None = None) -> str | None:
        answer = visible(text)
        candidate = marked(answer)
        value = stated_number(candidate) if candidate else None
        value = number_in(answer) if value is None else value
        return None if value is None else _written(value)

    def correct(self, answer: str | None, reference: str) -> bool | None:
        gold = gold_number(reference)
        if gold is None:
            return None
        return answer is not None and number_in(answer) == gold

    def reference(self, text: str, row: Row | None = None) -> str | None:
        value = gold_number(text)
        return None if value is None else _written(value)

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
    numbers = list(_numbers(text))
    return _value(numbers[-1]) if numbers else None


#: A gold answer that is a number: sign, currency, digits (thousands in threes, or as in India) or a ratio of two.
_WHOLE = re.compile(
    r"(?P<sign>[-+]?)\s*(?:US)?[$\u20ac\u00a3\u00a5\u20b9]?\s*(?P<sign2>-?)"
    r"(?:(?P<top>[0-9]+)\s*/\s*(?P<bottom>[0-9]+)"
    r"|(?P<digits>(?:[1-9][0-9]{0,2}(?:,[0-9]{3})+|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"
    r"(?P<power>[eE][+-]?[0-9]{1,2})?)"
    r"(?![0-9,./:])(?P<unit>.*)",
    re.S,
)
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox|operatorname)\s*\{([^{}]*)\}")
#: What may stand behind a number: per cent, degrees, currencies; without a blank, units but no product of variables.
_SYMBOL = re.compile(
    r"\s*(?:\\?%|[\u00a2\u20ac\u00a3\u00a5\u20b9](?!\S)|(?:\u00b0|\^?\{?\\circ\}?|\\degree)\s*[CFK]?)"
    r"|(?=(?:mm|cm|km|mg|kg|ml|mL|ft|lbs?|oz|hrs?|mins?|secs?|mph|st|nd|rd|th)\b|[^\x00-\x7f])"
)
_SQUARED = re.compile(r"(?:\^\{?[23]\}?|[\u00b2\u00b3])$")
_UNIT_WORDS = 6
#: Words behind a number that make it another one, or one of several.
_NO_UNIT = re.compile(
    "or|and|to|than|then|plus|minus|divided|multiplied|over|point|squared|cubed|factorial|choose|power|mod|modulo|base|"
    "root|sqrt|pi|hal(?:f|ves)|(?:third|quarter|fourth|fifth|sixth|eighth|tenth|hundredth|thousandth)s?|"
    "(?:hundred|thousand|million|billion|trillion|dozen|lakh|crore|milliard)s?|bn|mn|mio|mrd|score|gross|mil|mille|"
    "millones|milhoes|hundert|tausend|millionen|milliarden|between|from|not|if|when|unless|because|since|but|except|"
    "remainder|infinity",
    re.I,
)
#: The same where numerals are letters: ten, hundred, thousand, ten thousand, ... of Chinese, Japanese and Korean.
_NUMERALS = re.compile("[\u5341\u767e\u5343\u4e07\u842c\u5104\u4ebf\u5146\u534a\ub9cc\uc5b5]")
#: What may surround a number: marks of mathematics and Markdown, brackets, quotes.
_AROUND = (
    *(("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**"), ("*", "*"), ("{", "}"), ("(", ")")),
    *(('"', '"'), ("'", "'"), ("`", "`"), ("\u201c", "\u201d")),
)
#: The left side of "x = 18", "Total = 18", "f(2) = 18", "9 * 2 = 18".
_NAME = re.compile(r"\s*(?:[^\W\d_]+\s*){0,4}(?:_\{?\w+\}?|\(\s*-?\w+\s*\))?\s*")
_ARITHMETIC = re.compile(
    r"(?:[0-9]+(?:,[0-9]{3})*|[\s.$%+\-*/()\u00d7\u00f7\u00b7]|\\(?:times|cdot|div)|(?<=\s)x(?=\s))*"
)


def gold_number(text: str) -> Fraction | None:
    """The number that a gold answer is: all of it, or all that is marked in a worked solution as its answer.

    None where that is anything else (``\\sqrt{2}``, ``x + 3``, ``(1, 2)``, ``5 or 7``), or where several answers are
    marked that differ. A last number is looked for in what a model says, never in what it is judged by.
    """
    if re.search(r"[0-9)]\s*(?:\*\*|__)\s*[-(0-9]", text):
        # A power, not emphasis.
        return None
    if "\\boxed" in text or "\\fbox" in text:
        values = {_whole(box) for box in _boxes(text)}
    elif "####" in text:
        values = {_sentence(part.strip().partition("\n")[0]) for part in text.split("####")[1:]}
    else:
        stated = marked(text)
        content = marked(stated) if stated else None
        # "Final answer: the answer is 18."
        if stated and content and not re.search(r"\d", stated.removesuffix(content)):
            stated = content
        values = {_whole(text) if stated is None else _sentence(stated)}
    return values.pop() if len(values) == 1 else None


def _boxes(text: str) -> list[str]:
    """What stands in each box; an empty text for one that is no pair of braces."""
    boxes: list[str] = []
    after = 0
    while match := re.compile(r"\\f?box(?:ed)?").search(text, after):
        depth, begin = 0, match.end()
        for place in range(begin, len(text)):
            depth += {"{": 1, "}": -1}.get(text[place], 0)
            if depth <= 0:
                break
        is_group = depth == 0 and text[begin : begin + 1] == "{"
        if not is_group:
            return [*boxes, ""]
        boxes.append(text[begin + 1 : place])
        after = place
    return boxes


def _sentence(text: str) -> Fraction | None:
    """The number that a stated answer is; a sentence without numbers may follow ("$18$. I hope it is correct.")."""
    value = _whole(text)
    first, end, tail = re.sub(r"[.;]\s+(?=[^\W\d_])", "\0", text, count=1).partition("\0")
    return _whole(first) if value is None and end and not re.search(r"[\d\\]", tail) else value


def _whole(text: str) -> Fraction | None:
    """The number that all of ``text`` is, or the one that it says a name or a calculation equals."""
    if re.search(r"[0-9}]\s*\\[dt]?frac", text):
        return None
    text = _bare(_TEXT.sub(r" \1", _plain_signs(text)))
    *terms, right = text.split("=")
    if terms:
        named = _NAME.fullmatch(terms[0]) and not any(map(_NO_UNIT.fullmatch, terms[0].split()))
        sides = terms[1:] if named else terms
        if not all(_ARITHMETIC.fullmatch(side) for side in sides):
            return None
    match = _WHOLE.fullmatch(_bare(right))
    if not match or not _is_unit(match.group("unit")):
        return None
    if match.group("sign") and match.group("sign2"):
        return None
    sign = -1 if "-" in (match.group("sign"), match.group("sign2")) else 1
    digits = (match.group("digits") or match.group("top") + match.group("bottom")).replace(",", "")
    if len(digits) > _DIGITS:
        return None
    if match.group("digits"):
        return sign * Fraction(digits + (match.group("power") or ""))
    bottom = int(match.group("bottom"))
    return Fraction(sign * int(match.group("top")), bottom) if bottom else None


def _bare(text: str) -> str:
    """``text`` without what only surrounds it: mathematics' and Markdown's marks, quotes, brackets, a full stop."""
    before = None
    while text != before:
        before = text = text.strip()
        text = text.removesuffix(".").removesuffix("\u3002").rstrip()
        for begin, end in _AROUND:
            content = text.removeprefix(begin).removesuffix(end)
            # Not "(1,200)", which may be a point, nor "(2)(3)".
            if len(content) == len(text) - len(begin) - len(end) and not re.search(
                r"[(){},]", content if begin in "({" else ""
            ):
                text = content
                break
    return text


def _is_unit(text: str) -> bool:
    """Whether what follows a number only says of what it is one."""
    symbol = _SYMBOL.match(text)
    tail = text[symbol.end() :] if symbol else text
    if tail.strip() and not symbol and not tail[0].isspace():
        return False
    names = _bare(tail).split()
    return len(names) <= _UNIT_WORDS and all(map(_is_unit_word, names)) and names[:1] != ["a"]


def _is_unit_word(name: str) -> bool:
    """Whether a word may name a unit: eggs, km/h, cm^2, farmer's. A single letter is a variable, but for a few."""
    letters = _SQUARED.sub("", name)
    if _NO_UNIT.fullmatch(letters) or _NUMERALS.search(letters):
        return False
    if len(letters) == 1 and letters.isascii():
        return letters in "mgshlLa"
    return bool(letters) and all(unicodedata.category(each)[0] in "LM" or each in "-/'\u2019." for each in letters)


def _numbers(text: str) -> Iterator[re.Match[str]]:
    for match in _NUMBER.finditer(text):
        digits = len(match.group("whole") or "") + len(match.group("part") or "")
        if 0 < digits <= _DIGITS:
            yield match


def _plain_signs(text: str) -> str:
    """``text`` with a plain minus and plain digits, and without what LaTeX puts around numbers."""
    text = text if text.isascii() else "".join(map(_plain_digit, one_width(shown(text))))
    for mark, plain in (("\\$", "$"), ("\\,", ""), ("\\!", ""), ("{,}", ",")):
        text = text.replace(mark, plain)
    return _FRACTION.sub(r"\1/\2", text)


#: Minus signs and dashes, and the Arabic signs for decimals, thousands and per cent.
_SIGNS = {"\u2212": "-", "\u2013": "-", "\u2012": "-", "\u066b": ".", "\u066c": ",", "\u066a": "%"}


def _plain_digit(letter: str) -> str:
    """A digit of any script as an ASCII one, a sign as its plain form."""
    return str(unicodedata.decimal(letter)) if letter.isdecimal() else _SIGNS.get(letter, letter)


def _value(match: re.Match[str]) -> Fraction:
    digits = (match.group("whole") or "0").replace(",", "") + (match.group("part") or "")
    return Fraction(digits + (match.group("power") or "")) * (-1 if match.group("sign") or match.group("sign2") else 1)


def _written(value: Fraction) -> str:
    """A number in its shortest exact form: 18, 0.5, 1/3."""
    if value.denominator == 1:
        return str(value.numerator)
    divisor = value.denominator
    places = 0
    for prime in (2, 5):
        count = 0
        while divisor % prime == 0:
            divisor //= prime
            count += 1
        places = max(places, count)
    if divisor != 1:
        return f"{value.numerator}/{value.denominator}"
    sign, scaled = ("-" if value < 0 else ""), abs(value) * 10**places
    digits = str(int(scaled)).rjust(places + 1, "0")
    return f"{sign}{digits[:-places]}.{digits[-places:]}"


TASK = Math()
