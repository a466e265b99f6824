"""What verbs print: an answer as JSON or as lines."""

from __future__ import annotations

import pytest

from azdistill.cli.text import print_answer


def test_lines_for_people_are_made_only_when_they_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    made: list[str] = []

    def lines() -> list[str]:
        made.append("once")
        return ["a line"]

    print_answer({"a": 1}, lines, as_json=True)
    assert (made, capsys.readouterr().out) == ([], '{"a": 1}\n')
    print_answer({"a": 1}, lines, as_json=False)
    assert (made, capsys.readouterr().out) == (["once"], "a line\n")
