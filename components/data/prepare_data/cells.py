"""The cells of a record, of which each is used or known to be unused.

What is read counts as used. What nobody has read when the row is made is a column that the row is without.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from common.rows import BadRow


class WrittenNumber(float):
    """A number of JSON that knows how it was written: a price of 1.10 is an answer of four characters."""

    text: str

    def __new__(cls, text: str) -> WrittenNumber:
        number = super().__new__(cls, text)
        number.text = text
        return number


class Cells:
    """A record. ``get`` reads a cell; ``unused`` names what was not read and whether it holds anything."""

    def __init__(self, record: dict[str, Any]) -> None:
        self._record = record
        self._read: set[str] = set()
        self._left: list[str] = []

    def __contains__(self, name: str) -> bool:
        return name in self._record

    @property
    def names(self) -> list[str]:
        """The names of all columns."""
        return list(map(str, self._record))

    def get(self, name: str) -> Any:
        """The value of a cell, which is used by this; None where there is none. Raises BadRow for bytes in it."""
        self._read.add(name)
        value = self._record.get(name)
        if _holds_bytes(value):
            raise BadRow("invalid_utf8", f"the column '{name}' holds bytes that are not UTF-8")
        return value

    def peek(self, name: str) -> Any:
        """The value of a cell, which is not used by this."""
        return self._record.get(name)

    def first(self, names: Iterable[str]) -> tuple[str, Any]:
        """Name and value of the first of these cells that is not empty, or ``("", None)``; the others stay unused."""
        for name in names:
            if not is_empty(self._record.get(name)):
                return name, self.get(name)
            if name in self._record:
                self._read.add(name)
        return "", None

    def inside(self, path: str, value: dict[str, Any], used: Iterable[str]) -> None:
        """Note what an object within a cell holds beside the keys that are used."""
        self._left += [f"{path}.{key}" for key in value if key not in used and not is_empty(value[key])]

    def leave(self, name: str) -> None:
        """Note a part of a cell that is not used."""
        self._left.append(name)

    def unused(self) -> dict[str, int]:
        """What is not used: 1 for each that holds something here, 0 for one that is empty."""
        columns = {str(key): int(not is_empty(self._record[key])) for key in self._record if key not in self._read}
        return columns | dict.fromkeys(self._left, 1)


def _holds_bytes(value: Any) -> bool:
    if isinstance(value, (dict, list)):
        return any(map(_holds_bytes, value.values() if isinstance(value, dict) else value))
    return isinstance(value, bytes)


def is_empty(value: Any) -> bool:
    """Whether a cell holds what tables write where there is nothing."""
    if isinstance(value, (dict, list)):
        return all(map(is_empty, value.values() if isinstance(value, dict) else value))
    if isinstance(value, str):
        return not value.strip()
    return value is None or (isinstance(value, float) and math.isnan(value))


def text_of(value: Any, name: str) -> str | None:
    """A cell as text; None where it is empty. Raises BadRow for a list or an object."""
    if is_empty(value):
        return None
    if isinstance(value, (dict, list)):
        kind = "an object" if isinstance(value, dict) else "a list"
        raise BadRow("schema", f"a text is expected in '{name}', not {kind}")
    if isinstance(value, WrittenNumber) and not value.text.endswith(".0"):
        return value.text
    if isinstance(value, float) and value.is_integer():
        # Tables make floats of whole numbers where a cell of their column is empty.
        value = int(value)
    return str(value)
