"""The break-out predicate, proven against the real bash."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quoting import PROBE, values

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
@settings(max_examples=300)
def test_single_quoted_value_arrives_unchanged_or_is_refused(value: str) -> None:
    status, seen = arguments("probe '${{inputs.x}}' end", value)
    assert (status == 0 and seen == ["RUN", value, "end", ""]) is not broken("probe '${{inputs.x}}' end", value)
    assert broken("probe '${{inputs.x}}' end", value) is ("'" in value)


@given(values)
@settings(max_examples=300)
def test_double_quoted_value_arrives_unchanged_or_is_refused(value: str) -> None:
    template = 'probe "${{inputs.x}}" end'
    assert broken(template, value) is bool(re.search(r'[$`"]|\\(?:\\|\n|\Z)', value))
    if not broken(template, value):
        assert arguments(template, value) == (0, ["RUN", value, "end", ""])


@given(values | st.text(alphabet="ab1- \t'\"=", max_size=12))
@settings(max_examples=400)
def test_a_value_that_is_a_word_of_its_own_arrives_as_the_words_that_it_is_or_is_refused(value: str) -> None:
    template = "probe ${{inputs.x}} end"
    if not broken(template, value):
        assert arguments(template, value) == (0, ["RUN", *shlex.split(value), "end", ""])


@given(values)
@settings(max_examples=200)
@pytest.mark.parametrize("template", ["--x=${{inputs.x}}", "a${{inputs.x}}'b'", "'a'${{inputs.x}}", "x=${{inputs.x}}"])
def test_a_value_that_is_part_of_a_word_arrives_unchanged_or_is_refused(template: str, value: str) -> None:
    if not broken(f"probe {template} end", value):
        word = template.replace("${{inputs.x}}", value).replace("'", "")
        assert arguments(f"probe {template} end", value) == (0, ["RUN", word, "end", ""])


@given(st.text(alphabet=st.characters(categories=("L", "N")) | st.sampled_from("@%+=:,./-_"), max_size=20))
@settings(max_examples=200)
def test_plain_characters_pass_everywhere(value: str) -> None:
    for template in (
        "p ${{inputs.x}}",
        "p a${{inputs.x}}b",
        "p '${{inputs.x}}'",
        'p "${{inputs.x}}"',
        "p $(p ${{inputs.x}})",
    ):
        assert not broken(template, value)


@given(values, st.sampled_from(["HOME", "(echo pwned)", "`", '"', "\\", "x"]))
@settings(max_examples=200)
def test_text_after_a_value_counts(value: str, tail: str) -> None:
    template = f"probe '${{{{inputs.x}}}}'\"${{{{inputs.x}}}}x\" {'a' if tail == 'x' else 'b'}"
    if not broken(template, value):
        status, seen = arguments(template, value)
        assert status == 0
        assert seen == ["RUN", f"{value}{value}x", "a" if tail == "x" else "b", ""]


N = quoting.NESTED
X = "${{inputs.x}}"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (f"a {X}", [quoting.UNQUOTED]),
        (f"a '{X}' \"{X}\"", [quoting.SINGLE, quoting.DOUBLE]),
        (f'a "it\'s {X}"', [quoting.DOUBLE]),
        (f"a 'say \"{X}\"'", [quoting.SINGLE]),
        (f"a \\' {X}", [quoting.UNQUOTED]),
        (f"a $[[--b '{X}']]", [quoting.SINGLE]),
        (f"a # it's {X}\nb '{X}'", [quoting.COMMENT, quoting.SINGLE]),
        (f"a \\\n# it's\nb\\ \\\n#'{X}'", [quoting.SINGLE]),
        (f"a#'{X}'", [quoting.SINGLE]),
        (f"a \\ #'{X}'", [quoting.SINGLE]),
        (f"a <<< '{X}' &>> b >& c 2>| d '{X}'", [quoting.SINGLE, quoting.SINGLE]),
        (f"a $A ${{A}} \"${{A[@]}}$? $\" $ '{X}'", [quoting.SINGLE]),
        (f"if [[ -n \"$a\" ]]; then b; fi; pip install r[a,b]==2 [c]; d '{X}'", [quoting.SINGLE]),
        (f'a "$(cat {X})" "{X}"', [N, N]),
        (f'a "`cat {X}` {X}"', [N, N]),
        (f'a "${{Y:-{X}}}"', [N]),
        (f"cat <<EOF\nit's {X}\nEOF\na {X}", [N, N]),
        (f"a $'it\\'s {X}'", [N]),
        (f"a \\{X} '{X}'", [N, N]),
        (f"a \"${X}\" '{X}'", [N, N]),
        (f"a 'b'\\\nc '{X}'", [N]),
        (f'a "$\\\n(b {X})"', [N]),
        (f"a $\\\n(b '{X}')", [N]),
        (f"a <\\\n<b '{X}'", [N]),
        (f"a {X} ( '{X}' )", [quoting.UNQUOTED, N]),
        (f"case {X} in a) b '{X}';; esac", [N, N]),
        (f"a {X} $((1 << 2)) '{X}'", [N, N]),
        (f"a '{X}'; eval b", [N]),
        (f"[[ '{X}' == b ]]", [N]),
        (f"f() {{ a '{X}'; }}; b=() c '{X}'", [quoting.SINGLE, quoting.SINGLE]),
        (f"a=()#'{X}'", [N]),
        (f"2>&1 a['{X}']=3", [N]),
    ],
)
def test_where_a_reference_stands(command: str, expected: list[str]) -> None:
    assert [context for _, context in quoting.contexts(expressions.parse(command))] == expected


@pytest.mark.parametrize(
    ("template", "value", "refused"),
    [
        (f"cat <<EOF\n{X}\nEOF", "$(reboot)", True),
        (f"cat <<EOF\n{X}\nEOF", "fine", False),
        (f"cat <<EOF\n{X}\nEOF", "EOF", True),
        (f"cat <<EOF\nE{X}\nEOF", "OF", True),
        (f"cat <<EOF\nE\\\n{X}\nEOF", "OF", True),
        (f"cat <<EOF\nx={X}\n{X} x\nEOF", "EOF", False),
        (f"cat <<'A B'\nA {X}\nA B", "B", True),
        (f"cat <<-'EOF'\n\t{X}\nEOF", "EOF", True),
        (f"x=$(cat <<EOF\n{X})", "EOF", True),
        (f"cat <<{X}\na\nb", "a", True),
        (f"cat <<'EOF'\n{X}\nEOF", "$(echo)", True),
        (f"a # {X}", "x\nreboot", True),
        (f"a # {X}", "$(reboot)", False),
        (f'a "${{Y:-{X}}}"', "a}b", True),
        (f'a "$(cat {X})"', "a) reboot", True),
        (f"a $'{X}'", "\\x27", True),
        (f"a '{X}'", "x\0", True),
        (f"a '{X}'", "\ud800", True),
        (f'a "{X}HOME"', "$", True),
        (f'a "b\\{X}"', "\\.c", True),
        (f'a "{X}"', "(.*)\\.jpg", False),
        *((f'a "{X}"', f"b{value}", True) for value in ("\\", "\\\\", "\\$", '\\"', "\\`", "\\\n")),
        (f"a {X}>b", "2", True),
        (f"a x{X}>b", "2", False),
        (f"a {X}>b", "c 2", True),
        (f"a {X}>b", "2 c", False),
        (f"a {X} >b", "2", False),
        (f"a {{b,{X}}}", "c,d", True),
        (f"a {{1..{X}}}", "3", False),
        (f"a {{'b',{X}}}", "c,d", True),
        (f"a '{{\"b\":'{X}'}}'", "c,d", False),
        (f"a $((1<<{X}))", "3", False),
        (f"a ${{A}}/{X}", "c,d", False),
        (f"a <{X} b", "", True),
        (f"a > {X} b", "c d", True),
        (f"A={X} b", "c d", True),
        (f"a --b={X}", "c d", True),
        (f"a {X}", "'c d' \"e f\"g", False),
        (f"a {X}", "'c;d'", True),
        (f"a {X}", "'c", True),
        (f"a {X};b {X}|c {X}&", "c d", False),
        *((f"a {X}", value, True) for value in ("*", "~", "{a,b}", "a?", "!", "#", "a\nb", "\\a", "$", "^")),
        *((f"a {X}", value, False) for value in ("-rf", "a=b", "größe", "", "x@y:1/2%,+_.")),
    ],
)
def test_refused_where_it_would_break_out(template: str, value: str, refused: bool) -> None:
    assert broken(template, value) is refused


@pytest.mark.parametrize(
    ("template", "value", "hint"),
    [
        (f"a {X}", "b; c", f"write '{X}' between single quotes in the command"),
        (f"a --b={X}", "b c", f"write '{X}' between single quotes in the command"),
        (f"a {X}", "it's; c", "pass free text in a file (uri_file), not on the command line"),
        (f"a '{X}'", "it's", "pass free text in a file (uri_file), not on the command line"),
        (f'a "{X}"', "$b", "pass free text in a file (uri_file), not on the command line"),
        (f"cat <<E\n{X}\nE", "b c", f"write it without a here-document: printf '%s\\n' '{X}'"),
    ],
)
def test_the_hint_says_how_the_value_can_be_given(template: str, value: str, hint: str) -> None:
    found = quoting.would_break_out(expressions.parse(template), REFERENCE, value)
    assert found is not None
    assert found.hint == hint


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
