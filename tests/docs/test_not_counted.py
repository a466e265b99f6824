"""What does not count in the cache key is said in the documentation, as the program has it."""

from __future__ import annotations

from pathlib import Path

from azdistill.local.run.environment import COUNTED, NOT_COUNTED

PAGE = Path(__file__).parents[2] / "docs" / "local.md"
HEAD = "| a step can see, and it does not count | because |\n|---|---|\n"


def test_the_documentation_lists_exactly_what_does_not_count() -> None:
    table = PAGE.read_text(encoding="utf-8").partition(HEAD)[2].partition("\n\n")[0]
    assert table.splitlines() == [f"| {each.what} | {each.why} |" for each in NOT_COUNTED]


def test_the_documentation_names_the_variables_that_count() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in COUNTED if f"`{name}`" not in text] == []
