"""The break-out predicate, proven against the real bash."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quoting import PROBE, values, words

from azdistill.aml import expressions, quoting
from azdistill.errors import UserError

REFERENCE = expressions.Reference(("inputs", "x"), raw="${{inputs.x}}")


def run(command: str) -> tuple[int, list[str]]:
    """The exit status and the probe's arguments; a second run or other output shows up among them."""
    done = subprocess.run(
        ["/bin/bash", "--norc", "-c", PROBE + command],
        capture_output=True,
        cwd="/proc/self/fd",  # nothing can be written here: a redirection cannot leave a file behind
        env={"PATH": ""},
        timeout=20,
        check=False,
    )
    return done.returncode, done.stdout.decode("utf-8", "surrogateescape").split("\0")


def broken(template: str, value: str) -> bool:
    return quoting.would_break_out(expressions.parse(template), REFERENCE, value) is not None


def arguments(template: str, value: str) -> tuple[int, list[str]]:
    return run(expressions.render(expressions.parse(template), lambda reference: value))


@given(values)
@settings(max_examples=300, deadline=None)
def test_single_quoted_value_arrives_unchanged_or_is_refused(value: str) -> None:
    status, seen = arguments("probe '${{inputs.x}}' end", value)
    assert (status == 0 and seen == ["RUN", value, "end", ""]) is not broken("probe '${{inputs.x}}' end", value)
    assert broken("probe '${{inputs.x}}' end", value) is ("'" in value)


@given(values)
@settings(max_examples=400, deadline=None)
def test_double_quoted_value_arrives_unchanged_or_is_refused(value: str) -> None:
    template = 'probe "${{inputs.x}}" end'
    status, seen = arguments(template, value)
    assert (status == 0 and seen == ["RUN", value, "end", ""]) is not broken(template, value)


@given(values)
@settings(max_examples=400, deadline=None)
def test_unquoted_value_arrives_as_its_own_words_or_is_refused(value: str) -> None:
    template = "probe ${{inputs.x}} end"
    status, seen = arguments(template, value)
    own = words(value)
    arrived = status == 0 and own is not None and seen == ["RUN", *own, "end", ""]
    assert arrived is not broken(template, value)


@given(values, st.sampled_from(["HOME", "(echo pwned)", "`", '"', "\\", "x"]))
@settings(max_examples=200, deadline=None)
def test_text_after_a_value_counts(value: str, tail: str) -> None:
    template = f"probe '${{{{inputs.x}}}}'\"${{{{inputs.x}}}}x\" {'a' if tail == 'x' else 'b'}"
    if not broken(template, value):
        status, seen = arguments(template, value)
        assert status == 0
        assert seen == ["RUN", f"{value}{value}x", "a" if tail == "x" else "b", ""]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("a ${{inputs.x}}", [quoting.UNQUOTED]),
        ("a '${{inputs.x}}' \"${{inputs.x}}\"", [quoting.SINGLE, quoting.DOUBLE]),
        ('a "it\'s ${{inputs.x}}"', [quoting.DOUBLE]),
        ("a 'say \"${{inputs.x}}\"'", [quoting.SINGLE]),
        ("a \\' ${{inputs.x}}", [quoting.UNQUOTED]),
        ('a "$(cat ${{inputs.x}})" "${{inputs.x}}"', [quoting.UNQUOTED, quoting.DOUBLE]),
        ('a "`cat ${{inputs.x}}` ${{inputs.x}}"', [quoting.UNQUOTED, quoting.DOUBLE]),
        ('a "${Y:-${{inputs.x}}}"', [quoting.NESTED]),
        ("a # it's ${{inputs.x}}\nb '${{inputs.x}}'", [quoting.COMMENT, quoting.SINGLE]),
        ("a#'${{inputs.x}}'", [quoting.SINGLE]),
        ("cat <<EOF\nit's ${{inputs.x}}\nEOF\na ${{inputs.x}}", [quoting.HEREDOC, quoting.UNQUOTED]),
        ("a <<< '${{inputs.x}}'", [quoting.SINGLE]),
        ("a $((1 << 2)) '${{inputs.x}}'", [quoting.SINGLE]),
        ("a $[[--b '${{inputs.x}}']]", [quoting.SINGLE]),
        ("a $'it\\'s ${{inputs.x}}'", [quoting.SINGLE]),
    ],
)
def test_where_a_reference_stands(command: str, expected: list[str]) -> None:
    assert [context for _, context in quoting.contexts(expressions.parse(command))] == expected


@pytest.mark.parametrize(
    ("template", "value", "refused"),
    [
        ("cat <<EOF\n${{inputs.x}}\nEOF", "$(reboot)", True),
        ("cat <<EOF\n${{inputs.x}}\nEOF", 'it\'s "fine"', False),
        ("cat <<EOF\n${{inputs.x}}\nEOF", "EOF", True),
        ("cat <<EOF\n${{inputs.x}}\nEOF", "a\nEOF\nreboot", True),
        ("cat <<'EOF'\n${{inputs.x}}\nEOF", "$(echo)", False),
        ("a # ${{inputs.x}}", "x\nreboot", True),
        ("a # ${{inputs.x}}", "$(reboot)", False),
        ('a "${Y:-${{inputs.x}}}"', "a}b", True),
        ('a "$(cat ${{inputs.x}})"', "a) reboot", True),
        ('a "$(cat ${{inputs.x}})"', "a b", False),
        ("a $'${{inputs.x}}'", "\\x27", True),
        ("a '${{inputs.x}}'", "x\0", True),
        ("a '${{inputs.x}}'", "\ud800", True),
        ('a "${{inputs.x}}HOME"', "$", True),
        ('a "${{inputs.x}}"', "$", False),
    ],
)
def test_refused_where_it_would_break_out(template: str, value: str, refused: bool) -> None:
    assert broken(template, value) is refused


def test_two_harmless_values_side_by_side_can_break_out() -> None:
    values = {"x": "$", "y": "HOME"}
    with pytest.raises(UserError, match="would break out") as caught:
        quoting.render_command('a "${{inputs.x}}${{inputs.y}}"', lambda reference: values[reference.name])
    assert caught.value.code == "AZD156"


def test_a_command_is_rendered_as_azure_would() -> None:
    values = {"x": "two words", "y": None}
    command = "a '${{inputs.x}}' $[[--y ${{inputs.y}}]] b"
    assert quoting.render_command(command, lambda reference: values[reference.name]) == "a 'two words'  b"


def test_the_refusal_does_not_hold_the_value() -> None:
    with pytest.raises(UserError) as caught:
        quoting.render_command("a '${{inputs.x}}'", lambda reference: "hush'")
    assert "hush" not in str(caught.value)
