"""Expressions are parsed once; a value is never scanned again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from azdistill.aml import expressions
from azdistill.aml.expressions import Optional, Reference, Text, parse, pieces, render

names = st.from_regex(r"[a-z_][a-z0-9_]{0,5}", fullmatch=True)
paths = st.lists(names, min_size=1, max_size=4).map(tuple)
literal = st.text(alphabet=st.sampled_from("ab ${}[]'\"\\\n"), max_size=12).filter(
    lambda text: "${{" not in text and "$[[" not in text
)


def by_name(values: dict[str, str | None]) -> expressions.Lookup:
    return lambda reference: values.get(reference.name)


def test_parts() -> None:
    assert parse("run ${{ inputs.a }} $[[--b ${{inputs.b}}]] end") == (
        Text("run ", 0),
        Reference(("inputs", "a"), 4, "${{ inputs.a }}"),
        Text(" ", 19),
        Optional((Text("--b ", 23), Reference(("inputs", "b"), 27, "${{inputs.b}}")), 20),
        Text(" end", 42),
    )


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"a": "1", "b": "2"}, "run 1 --b 2 end"),
        ({"a": "1"}, "run 1  end"),
        ({"b": ""}, "run  --b  end"),
    ],
)
def test_a_block_goes_when_its_value_does(values: dict[str, str | None], text: str) -> None:
    assert render(parse("run ${{inputs.a}} $[[--b ${{inputs.b}}]] end"), by_name(values)) == text


def test_a_block_without_references_stays() -> None:
    assert render(parse("run $[[--fast]]"), by_name({})) == "run --fast"


def test_a_value_is_never_scanned_again() -> None:
    values = {"a": "${{inputs.b}} $[[ ${{inputs.b}} ]]", "b": "secret"}
    assert render(parse("x ${{inputs.a}} y"), by_name(values)) == "x ${{inputs.b}} $[[ ${{inputs.b}} ]] y"


@pytest.mark.parametrize("text", ["${{inputs.a", "${{}}", "${{ a b }}", "$[[ x", "${inputs.a}", "$$", "]]", "}}"])
def test_what_is_no_expression_stays_text(text: str) -> None:
    assert render(parse(text), by_name({})) == text


@pytest.mark.parametrize(
    ("text", "offsets"),
    [
        ("${{inputs.a", [0]),
        ("a ${{ b c }} $[[ x", [2, 13]),
        ("$[[ ${{ ]]", [4]),
        ("${{inputs.a}} $[[ b ]]", []),
        ("$[[ a $[[ b ]] ]]", [6]),
    ],
)
def test_unclosed(text: str, offsets: list[int]) -> None:
    assert list(expressions.unclosed(parse(text))) == offsets


def test_name_of_a_grouped_input() -> None:
    assert Reference(("inputs", "group", "x")).name == "group.x"


@pytest.mark.parametrize(("text", "path"), [("${{parent.inputs.a}}", "parent.inputs.a"), (" ${{ a.b }} ", "a.b")])
def test_sole_reference(text: str, path: str) -> None:
    found = expressions.sole_reference(text)
    assert found is not None
    assert ".".join(found.path) == path


@pytest.mark.parametrize("text", ["x${{a.b}}", "${{a.b}}${{a.b}}", "", None, 3, "$[[${{a.b}}]]"])
def test_no_sole_reference(text: object) -> None:
    assert expressions.sole_reference(text) is None


@given(st.text())
def test_text_without_expressions_is_unchanged(text: str) -> None:
    if "${{" not in text and "$[[" not in text:
        assert render(parse(text), by_name({})) == text


@given(st.lists(st.tuples(literal, paths), max_size=5), literal)
def test_references_are_found_where_they_stand(items: list[tuple[str, tuple[str, ...]]], tail: str) -> None:
    text = "".join(f"{before}${{{{{'.'.join(path)}}}}}" for before, path in items) + tail
    found = [reference for reference, _ in expressions.references(parse(text))]
    assert [reference.path for reference in found] == [path for _, path in items]
    assert all(text.startswith(reference.raw, reference.position) for reference in found)


@given(st.lists(st.tuples(literal, names), max_size=4), st.dictionaries(names, st.text(max_size=12)))
def test_every_value_arrives_whole(items: list[tuple[str, str]], values: dict[str, str]) -> None:
    text = "".join(f"{before}${{{{inputs.{name}}}}}" for before, name in items)
    expected = "".join(before + values.get(name, "") for before, name in items)
    assert render(parse(text), by_name(values)) == expected


@given(st.text(alphabet=st.sampled_from("${}[]ab. "), max_size=40))
def test_rendering_with_its_own_source_gives_the_text_back(text: str) -> None:
    parts = parse(text)
    if not any(isinstance(part, Optional) for part in parts):
        assert render(parts, lambda reference: reference.raw) == text
    assert "".join(t for t, _ in pieces(parts, lambda reference: "")) == render(parts, lambda reference: "")
