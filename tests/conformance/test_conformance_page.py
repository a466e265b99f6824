"""The table of docs/conformance.md is what the suite proves."""

from conformance_table import HONOURED, IGNORED, PAGE, PARTS, PROVED_IN, REFUSED, ROWS, collect, written_into


def test_the_pages_table_is_the_suites() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == written_into(page), "run docs/make_conformance.py"


def test_every_row_says_something_of_a_runner_and_every_part_has_rows() -> None:
    collect()
    for made in ROWS.values():
        assert {made.process, made.docker} - {None} <= {HONOURED, IGNORED, REFUSED}
        assert made.process or made.docker
    assert set(PROVED_IN.values()) == set(PARTS)
