"""Write the README's table of what each runner honours from the suite that proves it, or with --check fail when the
README has drifted from it.
"""

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "conformance")]

from conformance_table import README, written_into  # noqa: E402  (after the path is set)


def main() -> None:
    page = README.read_text(encoding="utf-8")
    wanted = written_into(page)
    if "--check" not in sys.argv:
        README.write_text(wanted, encoding="utf-8")
    elif page != wanted:
        raise SystemExit("the README's table differs from tests/conformance: run docs/make_conformance.py")


main()
