"""Every code that the program uses has one line in the table, and every line is used.

`make check` compares docs/errors.md with the table.
"""

from __future__ import annotations

import re
from pathlib import Path

from azdistill.error_codes import AZURE, CODES, LOCAL_RUNS, PIPELINES, RECIPES

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "azdistill/error_codes.py"
#: The code of an error to which nobody gave one.
UNSPECIFIC = {"AZD000"}


def test_no_code_means_two_things() -> None:
    assert len(CODES) == sum(len(table) for table in (PIPELINES, RECIPES, LOCAL_RUNS, AZURE))
    assert len(CODES) == len(re.findall(r'^    "AZD', TABLE.read_text(encoding="utf-8"), re.MULTILINE))


def test_every_code_in_use_is_in_the_table_and_every_line_is_used() -> None:
    files = [file for file in (ROOT / "azdistill").rglob("*.py") if file != TABLE]
    used = {code for file in files for code in re.findall(r"\bAZD\d{3}\b", file.read_text(encoding="utf-8"))}
    assert used - UNSPECIFIC == set(CODES)
