"""Every code in the program has its line in a table, and every table its page."""

from __future__ import annotations

import re
from pathlib import Path

from azdistill.aml.error_codes import CODES as SPEC
from azdistill.cloud.error_codes import CODES as CLOUD
from azdistill.local.error_codes import CODES as LOCAL
from azdistill.recipe.codes import CODES as RECIPE

ROOT = Path(__file__).parents[1]
#: The code of an error to which nobody gave one.
UNSPECIFIC = {"AZD000"}
TABLES = (SPEC, RECIPE, LOCAL, CLOUD)
ALL = {code: meaning for table in TABLES for code, meaning in table.items()}


def test_no_code_means_two_things() -> None:
    assert len(ALL) == sum(len(table) for table in TABLES)


def test_every_code_that_the_program_uses_is_in_a_table_and_every_line_is_used() -> None:
    files = [file for file in (ROOT / "azdistill").rglob("*.py") if file.name != "codes.py"]
    used = {code for file in files for code in re.findall(r"\bAZD\d{3}\b", file.read_text(encoding="utf-8"))}
    assert used - UNSPECIFIC == set(ALL)


def test_the_page_says_what_the_tables_say() -> None:
    page = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    for code, meaning in ALL.items():
        assert f"| {code} | {meaning} |" in page
