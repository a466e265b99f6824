"""Commands and values put together at random: what passes runs nothing, and arrives as what it is."""

from __future__ import annotations

import random
import re
import shlex
from collections.abc import Mapping, Sequence

import pytest
from quoting import fed_to
from random_commands import Calls, Commands, V
from test_sieve_in_constructs import HOSTILE, SEVERAL_WORDS, hits, rendered

from azdistill.aml import expressions, quoting
from azdistill.errors import UserError

#: What values are made of: first what passes somewhere, then what must not.
_PIECES = [
    *("a", "b1", "-x", "k=v", "/a.b", "2", "E", "case", "ü", ",", "..", "%", " ", " ", "\t", "'k k'", '"k k"', "''"),
    *("'", '"', "\n", "\\", ";", "&", "|", "(", ")", "<", ">", "#", "[", "]", "{", "}", "$", "`", "*", "~", "!", "^"),
    *("$(hit)", "`hit`", "; hit;", "\nhit\n", "' ; hit; '", '"; hit; "', "${a:-$(hit)}", "\\'", '\\"', "\nE\nhit\n"),
]


def value_of(source: random.Random) -> str:
    if source.random() < 0.2:
        return source.choice(HOSTILE)
    return "".join(source.choices(_PIECES[: source.choice((12, 18, len(_PIECES)))], k=source.randint(0, 4)))


def with_names(template: str) -> tuple[str, list[str]]:
    """The template with a name of its own for each value, and these names."""
    names: list[str] = []

    def name(_: object) -> str:
        names.append(f"v{len(names)}")
        return f"${{{{inputs.{names[-1]}}}}}"

    return re.sub(re.escape(V), name, template), names


def text_of(template: str, values: Mapping[str, str]) -> str | None:
    """The command, or None where a value is refused."""
    try:
        return quoting.render_command(template, lambda reference: values[reference.name])
    except UserError:
        return None


@pytest.mark.parametrize(
    ("seed", "tries"), [(0, 1000), *(pytest.param(seed, 5000, marks=pytest.mark.slow) for seed in range(1, 5))]
)
def test_no_value_runs_from_a_command_put_together_at_random(seed: int, tries: int) -> None:
    source = random.Random(seed)
    commands = Commands(source)
    drawn: list[tuple[str, str]] = []
    while len(drawn) < tries:
        template, names = with_names(commands.any(source.choice((1, 1, 2, 2, 3))))
        values = {name: value_of(source) for name in names}
        if len(template) < 600 and (text := text_of(template, values)) is not None:
            # Escapes may leave a value outside the quotes it was put in, where it is what the template runs.
            drawn.append((text, expressions.render(expressions.parse(template), lambda reference: "hit")))
    ran = hits([text for pair in drawn for text in pair])
    assert [text for (text, _), hit, own in zip(drawn, ran[::2], ran[1::2], strict=True) if hit and not own] == []


@pytest.mark.parametrize(
    ("seed", "tries"), [(0, 600), *(pytest.param(seed, 3000, marks=pytest.mark.slow) for seed in range(1, 3))]
)
def test_no_value_runs_behind_assignments_put_together_at_random(seed: int, tries: int) -> None:
    commands = Commands(random.Random(seed))
    tried: list[tuple[str, str]] = []
    while len(tried) < tries:
        template = commands.some(commands.prefix, 2, " ", 3) + " p"
        if len(template) < 400 and '\\"' not in template:
            tried.append((template, commands.random.choice(SEVERAL_WORDS)))
    ran = hits([template.replace(V, value) for template, value in tried])
    assert sum(ran) > 20
    assert [pair for pair, hit in zip(tried, ran, strict=True) if hit and rendered(*pair) is not None] == []


@pytest.mark.parametrize(
    ("seed", "tries"), [(0, 1000), *(pytest.param(seed, 5000, marks=pytest.mark.slow) for seed in range(1, 5))]
)
def test_what_passes_changes_no_argument_but_those_that_it_is(seed: int, tries: int) -> None:
    source = random.Random(seed)
    calls = Calls(source)
    drawn: list[tuple[str, str, list[tuple[str, str, bool]]]] = []
    for _ in range(tries):
        template, names = with_names(calls.commands())
        where = dict(zip(names, (mode for _, mode in quoting.contexts(expressions.parse(template))), strict=True))
        values = {name: value_of(source) or ("a" if where[name] == quoting.NESTED else "") for name in names}
        text = text_of(template, values)
        if text is None:
            # All but those that are refused.
            values = {name: value if _passes(template, name, value) else "a" for name, value in values.items()}
            text = text_of(template, values)
        if text is not None:
            marks = {name: f"q{name}q" if values[name] else "" for name in names}
            marked = text_of(template, marks)
            assert marked is not None
            drawn.append((text, marked, [(marks[n], values[n], where[n] == quoting.UNQUOTED) for n in names]))
    assert len(drawn) > tries * 0.9
    seen = given([command for text, marked, _ in drawn for command in (text, marked)])
    wrong = [
        (text, marked, arrived, expected)
        for (text, marked, values), arrived, base in zip(drawn, seen[::2], seen[1::2], strict=True)
        if arrived != (expected := [each for word in base for each in put_in(word, values)])
    ]
    assert wrong == []


def _passes(template: str, name: str, value: str) -> bool:
    return quoting.would_break_out(expressions.parse(template), expressions.Reference(("inputs", name)), value) is None


def put_in(word: str, values: Sequence[tuple[str, str, bool]]) -> list[str]:
    """The words that come of ``word`` when values stand in the place of their marks."""
    for mark, value, bare in values:
        if not mark:
            continue
        if word == mark and bare:
            return shlex.split(value)
        word = word.replace(mark, value)
    return [word]


def given(commands: Sequence[str]) -> list[list[str]]:
    """What each command gives to ``p``: arguments, and what comes on stdin; ``HIT`` where it runs ``hit``."""
    loop = r"""exec 9>&1; A=1
    p() { printf 'RUN\0' >&9; [ $# = 0 ] || printf '%s\0' "$@" >&9; IFS= read -rd '' k; printf '%s\0' "$k" >&9; }
    hit() { printf 'HIT\0' >&9; }
    while IFS= read -r -d '' text; do ( eval "$text" ) < /dev/null > /dev/null 2>&1; printf 'END\0' >&9; done"""
    output = fed_to(loop, commands).decode()
    found = [piece.split("\0")[:-1] for piece in re.split(r"(?:(?<=\0)|\A)END\0", output)][:-1]
    assert len(found) == len(commands)
    return found
