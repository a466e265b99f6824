"""Reading YAML: every value keeps its place; what no spec needs is refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from azdistill import aml
from azdistill.aml import reader
from azdistill.aml.source import Source
from azdistill.errors import Problem, SpecError

GOOD = """\
# a comment
type: pipeline
inputs:
  rate: 0.1
  text: >-
    folded
    text
jobs:
  train: {type: command, inputs: {a: [1, "two", yes]}}
"""


def read(text: str) -> Source:
    return reader.read_text(text, "spec.yml", Path("/"))


def outcome(text: str) -> tuple[object, list[Problem]]:
    try:
        return read(text).data, []
    except SpecError as error:
        return None, error.problems


def failure(text: str | bytes, tmp_path: Path) -> Problem:
    file = tmp_path / "spec.yml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SpecError) as caught:
        aml.load(file)
    assert len(caught.value.problems) == 1, caught.value
    return caught.value.problems[0]


def test_every_value_has_its_place() -> None:
    source = read(GOOD)
    places = {steps: (place.line, place.column) for steps, place in source.values.items()}
    assert places[("inputs", "rate")] == (4, 9)
    assert places[("inputs", "text")] == (5, 9)
    assert places[("jobs", "train", "inputs", "a", 1)] == (9, 42)
    assert {steps: (p.line, p.column) for steps, p in source.keys.items()}[("jobs", "train", "type")] == (9, 11)


def test_data_is_what_pyyaml_reads() -> None:
    assert read(GOOD).data == yaml.safe_load(GOOD)


def test_a_byte_order_mark_and_windows_line_ends_change_nothing(tmp_path: Path) -> None:
    file = tmp_path / "spec.yml"
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    source = reader.read(file)
    assert source.data == read(GOOD).data
    assert source.values == read(GOOD).values


def test_text_inside_folded_text_is_found() -> None:
    source = read("command: >-\n  one ${{inputs.a}}\n  two ${{inputs.a}}\n")
    place = source.within(("command",), "${{inputs.a}}", 1)
    assert place is not None
    assert (place.line, place.column) == (3, 7)


def test_merge_keys_and_aliases_keep_the_place_of_the_original() -> None:
    source = read("base: &b {x: 1, y: 2}\nuse: {<<: *b, y: 3}\nagain: *b\n")
    assert source.data == {"base": {"x": 1, "y": 2}, "use": {"x": 1, "y": 3}, "again": {"x": 1, "y": 2}}
    for steps in (("use", "x"), ("again", "x")):
        place = source.place(steps)
        assert place is not None
        assert (place.line, place.column) == (1, 14)


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        ("a: 1\nb: 2\na: 3\n", "AZD104", 3, 1),
        ("a: {b: 1, b: 2}\n", "AZD104", 1, 11),
        ("a: !!python/object/apply:os.system [ls]\n", "AZD105", 1, 4),
        ("a: !secret x\n", "AZD105", 1, 4),
        ("a: *nothing\n", "AZD103", 1, 4),
        ("a: &a {b: *a}\n", "AZD103", 1, 11),
        ("? [a, b]\n: 1\n", "AZD103", 1, 3),
        ("a: 1\n---\nb: 2\n", "AZD103", 2, 1),
        ("a: [1, 2\n", "AZD103", 2, 1),
        ("a: 'text\n", "AZD103", 2, 1),
        ("a:\n\tb: 1\n", "AZD103", 2, 1),
        ("a: " + "[" * 101 + "]" * 101 + "\n", "AZD106", 1, 104),
        ("a: " + "[" * 100_000 + "\n", "AZD106", 1, 104),
        ('a: "x\\0y"\n', "AZD103", 1, 4),
        ('"a\\0": 1\n', "AZD103", 1, 1),
        ("- " * 50_000 + "\n", "AZD106", 1, 203),
    ],
)
def test_refused(text: str, code: str, line: int, column: int, tmp_path: Path) -> None:
    problem = failure(text, tmp_path)
    assert (problem.code, problem.line, problem.column) == (code, line, column), problem


def test_alias_bomb(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    assert failure("\n".join(lines), tmp_path).code == "AZD106"


def test_too_many_bytes(tmp_path: Path) -> None:
    assert failure("# " + "x" * reader.MAX_BYTES, tmp_path).code == "AZD106"


def test_not_utf8_says_where(tmp_path: Path) -> None:
    problem = failure(b"a: 1\nb: caf\xe9\n", tmp_path)
    assert (problem.code, problem.line, problem.column) == ("AZD102", 2, 7)


def test_utf16_is_named(tmp_path: Path) -> None:
    assert "UTF-16" in failure("a: 1".encode("utf-16"), tmp_path).hint


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        aml.load(tmp_path / "nothing.yml")
    assert caught.value.code == "AZD101"
    assert caught.value.exit_code == 2


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="cannot read"):
        aml.load(tmp_path)


def test_an_empty_file_is_nothing_of_ours(tmp_path: Path) -> None:
    assert failure("", tmp_path).code == "AZD107"


@given(st.integers(0, len(GOOD)))
@settings(max_examples=len(GOOD))
def test_a_file_cut_off_anywhere_is_read_or_refused(length: int) -> None:
    torn = GOOD[:length]
    data, problems = outcome(torn)
    assert data == yaml.safe_load(torn) if not problems else all(p.code == "AZD103" and p.line for p in problems)


def has_word_keys(data: object) -> bool:
    """Whether all keys are text: others become text here, and objects in PyYAML."""
    if isinstance(data, dict):
        return all(isinstance(key, str) and has_word_keys(value) for key, value in data.items())
    return not isinstance(data, list) or all(has_word_keys(item) for item in data)


@given(st.text(alphabet=st.sampled_from("ab: \n-[]{}'\"&*!#|>%@`,?\t\\é\u2028\x07\x85"), max_size=30))
@settings(max_examples=500)
def test_any_text_is_read_or_refused(text: str) -> None:
    data, problems = outcome(text)
    try:
        known = yaml.load(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError):
        assert problems
    else:
        assert problems or not has_word_keys(known) or data == known


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abcxyz_", min_size=1, max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=4), plain, max_size=4))
@settings(max_examples=200)
def test_what_was_dumped_is_read_again(data: dict[str, object]) -> None:
    assert read(yaml.safe_dump(data)).data == (data or {})
