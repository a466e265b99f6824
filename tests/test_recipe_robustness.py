"""Whatever stands in a file, reading it as a recipe ends in problems with places, never in a traceback."""

from pathlib import Path
from typing import Any

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from azdistill.aml import reader
from azdistill.recipe import microsoft
from azdistill.recipe.keys import every_path
from azdistill.recipe.origin import Origin
from azdistill.recipe.read import interpret

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**20),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["", "${env:X}"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=6,
)
RECIPE_PATHS = [*every_path(), *{path[:1] for path in every_path()}, ("nonsense",), ("tags", "x")]
JOB_PATHS = [*microsoft._MOVES, *microsoft._ELSEWHERE, *{path[:1] for path in microsoft._MOVES}, ("nonsense",)]


def tree(paths: list[Any]) -> st.SearchStrategy[dict[str, Any]]:
    pairs = st.lists(st.tuples(st.sampled_from(sorted(paths)), values), max_size=8)
    return pairs.map(_planted)


def _planted(pairs: list[tuple[tuple[str, ...], Any]]) -> dict[str, Any]:
    root: dict[str, Any] = {}
    for path, value in pairs:
        at = root
        for part in path[:-1]:
            if not isinstance(at.get(part), dict):
                at[part] = {}
            at = at[part]
        at[path[-1]] = value
    return root


def outcome(mapping: dict[str, Any], sets: dict[str, str]) -> None:
    source = reader.read_text(yaml.safe_dump(mapping), "recipe.yml", Path("/nowhere"))
    reading = interpret(Origin(source), sets, strict_env=False)
    errors = [problem for problem in reading.problems if problem.severity == "error"]
    assert errors
    assert all(problem.code.startswith("AZD2") and problem.message for problem in reading.problems)


def given_sets(*names: str) -> st.SearchStrategy[dict[str, str]]:
    return st.dictionaries(st.sampled_from(names), st.text(max_size=5))


@given(tree(RECIPE_PATHS), given_sets("teacher.endpoint", "num_epochs", "data.x"))
@settings(max_examples=80)
def test_any_tree_read_as_a_recipe(mapping: dict[str, Any], sets: dict[str, str]) -> None:
    outcome(mapping, sets)


@given(tree(JOB_PATHS), given_sets("teacher_endpoint", "student.model", "tags.x"))
@settings(max_examples=80)
def test_any_tree_read_as_a_distillation_job(mapping: dict[str, Any], sets: dict[str, str]) -> None:
    outcome({**mapping, "type": "distillation"}, sets)
