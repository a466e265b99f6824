"""What text a value becomes on the command line, as azure-ai-ml sends it."""

from __future__ import annotations

from typing import Any

import pytest

from azdistill.aml import values


@pytest.mark.parametrize(
    ("kind", "value", "parsed"),
    [
        ("integer", "10.0", 10),
        ("integer", 10**20, 10**20),
        ("number", "1e-5", 1e-5),
        ("number", 3, 3.0),
        ("boolean", "TRUE", True),
        ("boolean", False, False),
        ("string", 3, "3"),
        ("string", True, "True"),
    ],
)
def test_parse(kind: str, value: Any, parsed: Any) -> None:
    found = values.parse(kind, value)
    assert found == parsed
    assert type(found) is type(parsed)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("integer", "ten"), ("integer", 0.5), ("integer", True), ("integer", "nan"), ("integer", "inf"),
        ("number", "fast"), ("number", []), ("number", False), ("boolean", 1), ("boolean", "yes"), ("string", {}),
    ],
)  # fmt: skip
def test_refused(kind: str, value: Any) -> None:
    with pytest.raises(ValueError, match="not"):
        values.parse(kind, value)


@pytest.mark.parametrize(
    ("kind", "default", "text"),
    [
        ("integer", 10.0, "10"),
        ("number", "1e-5", "1e-05"),
        ("number", 2, "2.0"),
        ("boolean", "true", "True"),
        ("string", True, "True"),
        ("string", None, None),
        ("number", float("nan"), None),
    ],
)
def test_default_text(kind: str, default: Any, text: str | None) -> None:
    assert values.default_text(kind, default) == text


def test_literals_are_sent_as_python_writes_them() -> None:
    assert [values.text(value) for value in (True, 0.1, 10, "x")] == ["True", "0.1", "10", "x"]
