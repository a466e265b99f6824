"""Write docs/conformance.md's table from the suite that proves it, or with --check fail when the page has drifted."""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "conformance")]

from conformance_table import PAGE, written_into  # noqa: E402  (after the path is set)


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    updated = written_into(page)
    if "--check" not in sys.argv:
        PAGE.write_text(updated, encoding="utf-8")
    elif page != updated:
        raise SystemExit("docs/conformance.md differs from tests/conformance: run `make docs` and commit it")


main()
