"""The break-out predicate, proven against the real bash."""

from __future__ import annotations

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from azdistill.spec import expressions, shell

# Written by the probe: how often it ran, and each argument between brackets, NUL-separated.
PROBE = r"""probe() { printf 'RUN\0'; printf '%s\0' "$@"; }; set -f +B; HOME='~'; """
REFERENCE = expressions.Reference(("inputs", "x"), raw="${{inputs.x}}")

# Dense in what bash reads, so that examples hit the corners; any other character stands for itself.
hostile = st.text(alphabet=st.sampled_from("ab $`\"'\\;&|<>()#\n\t{}[]*?!=,1-@_é\u00a0\x07"), max_size=8)
anything = st.text(alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
values = hostile | anything


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
    return shell.would_break_out(expressions.parse(template), REFERENCE, value) is not None


def arguments(template: str, value: str) -> tuple[int, list[str]]:
    return run(expressions.render(expressions.parse(template), lambda reference: value))


def words(value: str) -> list[str] | None:
    """The words that ``value`` is by quotes and escapes of its own alone; None where they do not balance."""
    found: list[str] = []
    word: str | None = None
    at, quote = 0, ""
    while at < len(value):
        char, after = value[at], value[at + 1 : at + 2]
        at += 1
        if not quote and char in " \t":
            found += [] if word is None else [word]
            word = None
            continue
        word = word or ""
        if char == "\\" and quote != "'":
            if not after:
                return None
            word += after if not quote or after in '$`"\\' else char + after
            at += 1
        elif quote:
            quote, word = ("", word) if char == quote else (quote, word + char)
        elif char in "'\"":
            quote = char
        else:
            word += char
    return None if quote else found + ([] if word is None else [word])


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
