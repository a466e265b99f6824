"""Which lines of a log say what went wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from azdistill.cli.run_view import error_lines

TRACEBACK = 'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: no rows\nlast words\n'


@pytest.mark.parametrize(
    ("log", "lines"),
    [
        ("start\nerror[BAD]: this\n  rows.jsonl:3\n", ["error[BAD]: this", "  rows.jsonl:3"]),
        (TRACEBACK, ["ValueError: no rows"]),
        ("ValueErrors are counted\nx\n", ["ValueErrors are counted", "x"]),
        ("\n".join(map(str, range(9))), ["4", "5", "6", "7", "8"]),
        ("x\n[azdistill] the command ended with exit code 1\n", ["x"]),
        ("\x1b[31merror: red\x1b[0m\n", ["error: red"]),
        ("", []),
    ],
)
def test_the_lines_that_say_it(tmp_path: Path, log: str, lines: list[str]) -> None:
    (tmp_path / "log.txt").write_text(log)
    assert error_lines(tmp_path / "log.txt") == lines


def test_a_log_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert error_lines(tmp_path / "log.txt") == []
