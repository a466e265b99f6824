"""Every code has its line in the table, and the table its page."""

from __future__ import annotations

import re
from pathlib import Path

from azdistill.aml.error_codes import CODES

ROOT = Path(__file__).parents[2]


def test_every_code_in_use_is_in_the_table() -> None:
    files = [file for file in (ROOT / "azdistill/aml").rglob("*.py") if file.name != "codes.py"]
    used = {code for file in files for code in re.findall(r'"(AZD\d+)"', file.read_text())}
    assert len(used) > 35
    assert used == set(CODES)


def test_the_page_says_what_the_table_says() -> None:
    page = (ROOT / "docs/errors.md").read_text()
    for code, meaning in CODES.items():
        assert f"| {code} | {meaning} |" in page
