"""Ways to answer word problems without understanding them. A student that does no better has learnt nothing.

Each takes the training rows and the test rows and gives one answer for each test row.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from typing import Any

Row = dict[str, Any]


def question(row: Row) -> str:
    """What is asked."""
    return str(row["messages"][-2]["content"])


def answer(row: Row) -> str:
    """The gold answer's number."""
    return str(row["messages"][-1]["content"]).rpartition("####")[2].strip()


def copy_first(train: list[Row], test: list[Row]) -> list[str]:
    """The first number of the question."""
    return [_numbers(row)[0] for row in test]


def copy_last(train: list[Row], test: list[Row]) -> list[str]:
    """The last number of the question."""
    return [_numbers(row)[-1] for row in test]


def copy_largest(train: list[Row], test: list[Row]) -> list[str]:
    """The largest number of the question."""
    return [max(_numbers(row), key=int) for row in test]


def sum_of_all(train: list[Row], test: list[Row]) -> list[str]:
    """All numbers of the question added up: arithmetic without reading."""
    return [str(sum(map(int, _numbers(row)))) for row in test]


def majority(train: list[Row], test: list[Row]) -> list[str]:
    """The answer that is most frequent in training."""
    [(most, _)] = Counter(map(answer, train)).most_common(1)
    return [most] * len(test)


def nearest_by_words(train: list[Row], test: list[Row]) -> list[str]:
    """The answer of the training question that shares most words and numbers, the rare ones counting more (TF-IDF)."""
    documents = [_tokens(row) for row in train]
    seen = Counter(token for document in documents for token in set(document))
    weight = {token: math.log(len(train) / count) + 1 for token, count in seen.items()}
    index: dict[str, list[tuple[int, float]]] = {}
    for position, document in enumerate(documents):
        for token, value in _direction(document, weight).items():
            index.setdefault(token, []).append((position, value))
    return [answer(train[_nearest(_direction(_tokens(row), weight), index)]) for row in test]


def nearest_by_numbers(train: list[Row], test: list[Row]) -> list[str]:
    """The answer of the training question whose numbers are closest, among those with as many numbers."""
    known = [([int(number) for number in _numbers(row)], answer(row)) for row in train]
    found = []
    for row in test:
        wanted = [int(number) for number in _numbers(row)]
        alike = [entry for entry in known if len(entry[0]) == len(wanted)] or known
        found.append(min(alike, key=lambda entry: sum(abs(a - b) for a, b in zip(entry[0], wanted, strict=False)))[1])
    return found


CONTROLS = {
    "copy the first number": copy_first,
    "copy the last number": copy_last,
    "copy the largest number": copy_largest,
    "add up all numbers": sum_of_all,
    "most frequent answer": majority,
    "nearest neighbour by words": nearest_by_words,
    "nearest neighbour by numbers": nearest_by_numbers,
}


def scores(train: list[Row], test: list[Row]) -> dict[str, float]:
    """The accuracy of each control."""
    gold = list(map(answer, test))
    return {
        name: sum(one == right for one, right in zip(control(train, test), gold, strict=True)) / len(test)
        for name, control in CONTROLS.items()
    }


def _numbers(row: Row) -> list[str]:
    return re.findall(r"\d+", question(row))


def _tokens(row: Row) -> list[str]:
    return re.findall(r"\w+", question(row))


def _direction(document: list[str], weight: dict[str, float]) -> dict[str, float]:
    values = {token: count * weight.get(token, 0.0) for token, count in Counter(document).items()}
    length = math.sqrt(sum(value * value for value in values.values())) or 1.0
    return {token: value / length for token, value in values.items()}


def _nearest(direction: dict[str, float], index: dict[str, list[tuple[int, float]]]) -> int:
    likeness: Counter[int] = Counter()
    for token, value in direction.items():
        for position, other in index.get(token, ()):
            likeness[position] += value * other
    return max(likeness, key=lambda position: (likeness[position], -position), default=0)
