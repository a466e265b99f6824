"""Arguments of a parallel step's script: what is between them, and what is none; proven against the real bash."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quoting import PROBE

from azdistill import aml
from azdistill.aml.parallel_components import no_argument, on_one_line

#: What makes a difference to a shell, alone and together.
texts = st.lists(
    st.sampled_from([*"ab \n'\"\\$;&|<>()#`{}[]=!~", "\\\n", "$[[", "]]", "${a}", "$'", "a[", "case ", "<<E\n"]),
    max_size=6,
).map("".join)


def words(text: str) -> list[str] | None:
    """What a program gets when ``text`` stands after its name; None where more runs, or bash refuses it."""
    done = subprocess.run(
        ["/bin/bash", "--norc", "-c", f"{PROBE}probe - {text}\nprobe over"],
        capture_output=True,
        cwd="/proc/self/fd",
        env={"PATH": ""},
        timeout=20,
    )
    first, between, last = done.stdout.decode().rpartition("RUN\0over\0")
    whole = between and not last and not done.stderr and first.startswith("RUN\0-\0") and first.count("RUN\0") == 1
    return first.split("\0")[2:-1] if whole else None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--a 1\n--b 2\n", ["--a", "1", "--b", "2"]),
        ("--a 'b\nc'\n\n\"d\ne\" $'f\ng'\n--h", ["--a", "b\nc", "d\ne", "f\ng", "--h"]),
        ("--a 1 \\\n--b \\\\\n--c", ["--a", "1", "--b", "\\", "--c"]),
        ("a[\nb 'c\nd'", ["a[", "b", "c\nd"]),
        ("case\ncase a in", ["case", "case", "a", "in"]),
        ("A=1\nB=2 it\\'s\n'#' ';' \\; x#y", ["A=1", "B=2", "it's", "#", ";", ";", "x#y"]),
    ],
)
def test_line_breaks_between_arguments_are_blanks(text: str, expected: list[str]) -> None:
    assert words(on_one_line(text)) == expected
    assert no_argument(on_one_line(text)) is None


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("--a # b\n--c", 4, "'#', which starts a comment"),
        ("--a\n# b", 4, "'#', which starts a comment"),
        ("--a 1; b", 5, "';'"),
        ("--a &", 4, "'&'"),
        ("--a 'b' > c", 8, "'>'"),
        ("--a <<E\nb\nE\n", 4, "'<'"),
        ("--a $(b)", 5, "'(' after a '$'"),
        ('--a "$(b)"', 6, "'(' after a '$'"),
        ("--a `b`", 4, "a backtick"),
        ("--a 'b", 6, "a quote that is not closed"),
    ],
)
def test_what_is_no_argument_is_found(text: str, place: int, what: str) -> None:
    assert no_argument(on_one_line(text)) == (place, what)


@given(texts)
@settings(max_examples=150)
def test_what_is_not_found_to_be_anything_else_is_arguments(text: str) -> None:
    line = on_one_line(text)
    assert len(line) == len(text)
    if no_argument(line) is None and "$[[" not in line and not re.search(r"\$\{?[a-z=]?$|\\$", line):
        assert words(line) is not None


@pytest.mark.parametrize("value", ["1\n2", "1; b", "# b", "$(b)"])
def test_a_value_on_a_line_of_its_own_is_held_to_its_place(tmp_path: Path, value: str) -> None:
    (tmp_path / "score.py").write_text("def init(): ...\ndef run(batch): ...\n")
    (tmp_path / "component.yml").write_text(
        "type: parallel\nname: score\ninputs: {texts: {type: uri_folder}, "
        f"note: {{type: string, default: {value!r}}}}}\n".replace("'", '"')
        + "input_data: ${{inputs.texts}}\ntask:\n  type: run_function\n  code: .\n  entry_script: score.py\n"
        "  environment: azureml:e@latest\n  program_arguments: |\n    --a\n    ${{inputs.note}}\n"
    )
    (problem,) = aml.examine(tmp_path / "component.yml")[1]
    assert problem.code == "AZD156"
