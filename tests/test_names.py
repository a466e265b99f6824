"""Names say what they hold: few are bare participles, and no fillers came in their place."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from vague_names import FILLERS, VAGUE, names_of, share

ROOT = Path(__file__).parents[1]
counted = cache(names_of)
#: folder -> the share of fillers among its names when this was first counted. A vague name that is renamed must not
#: become a filler; a new part that has a `value` or two may, so the share may grow by a tenth.
FILLERS_AT_FIRST = {"azdistill": 433 / 13_003, "components": 119 / 4_264}
#: A module is called by a noun or a verb of the field.
NO_MODULES = {
    *("given", "kept", "wanted", "plain", "bound", "keyed", "linked", "marks", "told", "elsewhere", "handing", "news"),
    *("opening", "moments", "machine_room"),
}


@pytest.mark.parametrize("folder", FILLERS_AT_FIRST)
def test_few_names_are_participles_or_pronouns(folder: str) -> None:
    assert share(counted(ROOT / folder), VAGUE) < 0.02


@pytest.mark.parametrize("folder", FILLERS_AT_FIRST)
def test_names_that_fit_every_thing_are_hardly_more_frequent_than_at_first(folder: str) -> None:
    assert share(counted(ROOT / folder), FILLERS) <= 1.1 * FILLERS_AT_FIRST[folder]


@pytest.mark.parametrize("folder", FILLERS_AT_FIRST)
def test_no_module_is_called_by_a_participle(folder: str) -> None:
    assert NO_MODULES.isdisjoint(path.stem.strip("_") for path in (ROOT / folder).rglob("*.py"))


def test_names_are_counted_where_they_are_assigned_and_where_they_are_parameters(tmp_path: Path) -> None:
    source = "found = 1\n_kept: int = 2\nprint(found)\ndef f(self, given, /, *, told=0):\n    lambda data: data\n"
    (tmp_path / "module.py").write_text(source)
    names = names_of(tmp_path)
    assert names == {"found": 1, "kept": 1, "given": 1, "told": 1, "data": 1}
    assert (share(names, VAGUE), share(names, FILLERS)) == (4 / 5, 1 / 5)
