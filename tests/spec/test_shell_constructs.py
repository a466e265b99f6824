"""Values inside what bash nests: whatever stands around one, it arrives, or is refused, and never runs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest
from quoting import fed_to, started

from azdistill.aml import expressions, quoting
from azdistill.errors import UserError

V = "${{inputs.x}}"
#: Each runs ``hit`` as soon as bash reads more in it than data.
HOSTILE = [
    *("'; hit; '", '"; hit; "', "a; hit", "$(hit)", "`hit`", "a\nhit\n", "a) ; hit; (", "a }; hit; ", "a;; esac; hit"),
    *("]; hit;", ")); hit; ((", "\\'; hit; \\'", '\\"; hit; \\"', "\\`hit\\`", "\\\\`hit\\\\`", "\\$(hit)", "'$(hit)'"),
    *('"$(hit)"', "' ; hit ; \"", "& hit &", "| hit", "<(hit)", "'`hit`'", "$'\\'; hit; #'", "'\\'; hit; #", "| hit"),
    *("x\nE\nhit\n", "x\nA B\nhit\n", "'\nhit\n'", '"\nhit\n"', "'\nE\nhit\n'", "E)\nhit", "a\\", "'", '"', "E", "# '"),
]
#: Each runs ``hit`` where a command may begin after the first word.
SEVERAL_WORDS = [
    *(
        "k hit",
        "k  hit",
        " \thit",
        "k \t\\\n hit",
        "'k;(' hit",
        '"k|k" hit k',
        "k\\;k hit",
        "j=k hit",
        "k j[1]+='k k' hit",
    ),
]
CONSTRUCTS = [
    *(f"a=(1 2); p ${{a[{V}]}}", f"p ${{a['{V}']:-k}}", f"p ${{!a[{V}]}} ${{#a[k]:-k}}", f'p "${{a[{V}]#k}}"'),
    *(f"a=(1 2); p ${{a[<(p '{V}')]}}", f"p \"${{u:-<(p '{V}')}}\""),
    *(f"u=12; p ${{u:{V}}}", f"u=12; p ${{u:0:{V}}}", f"u=12; p ${{@:'{V}'}}", f"a=(1 2); p ${{a[@]: {V}:1}}"),
    *(f"u=12; p ${{v:-${{u:{V}}}k}}", f"a=(1 2); p ${{a[0]:{V}}}", f'a=(1 2); p "${{a[@]:0:"{V}"}}"'),
    *(f"p \"${{u:-'{V}'}}\"", f'p "${{u:-{V}}}"', f'p "${{u:-"{V}"}}"', f"p ${{u:-'{V}'}}", f"p \"${{u#'{V}'}}\""),
    *(
        f"p `p '{V}'`",
        f"p `p {V}`",
        f"p \"`p '{V}'`\"",
        f'p "`p \\"{V}\\"`"',
        f"p `p \\`p '{V}'\\``",
        f"p `p \\\\'{V}`",
    ),
    *(f"p <<E\n$(p {V})\nE", f"p <<E\n$(p '{V}')\nE", f"p <<E\n`p '{V}'`\nE", f"p <<E\n${{u:-'{V}'}}\nE"),
    *(
        f'p "$(case a in a) p {V};; esac)"',
        f'p "$(case a in (b) p;; a) p "{V}" ;; esac)" \'{V}\'',
        f"p $(p case) '{V}'",
    ),
    *(f"p <<'A B'\n{V}\nA B\np '{V}'", f'p <<A" "B\n{V}\nA B\np "{V}"', f"p <<E\nit's \\\nE\n{V}\nE\np '{V}'"),
    *(f"p $[1<<2]; p '{V}'", f"a[1<<2]=3; p '{V}'", f"a=([1<<2]=3); p '{V}'", f"(( a[1<<2] )); p '{V}'"),
    *(
        f"p $(( '{V}' + 1 ))",
        f"a['{V}']=3",
        f"(( '{V}' ))",
        f"p $['{V}']",
        f"p $(p)#{V}",
        f"p `p`#{V}",
        f"p ${{u:-(}} '{V}'",
    ),
    *(
        f"p <(p '{V}')",
        f"( (p <<E\n{V}\nE\n) )",
        f"x=$(p <<E\n{V}\nE)\np '{V}'",
        f"u={V} p",
        f"p \"$(p '{V}' # it's)\n)\"",
    ),
]

A = f"i={V} p"
#: Assignments and redirections, before the name of a command.
BEFORE_NAME = [
    *(f"i={V} j={V} p", f"j=k  {A}", f"j='k k' {A}", f"j=$(p k) {A}", f"j=`p k` {A}", f"j=(k k) {A}", f"j=() {A}"),
    *(f"j=$((1)) {A}", f"j=${{u:-k}} i+={V} p", f'j[1]="k k" i[1]={V} p', f"j=\\; \\\n {A}", f"! time -p {A}"),
    *(f"2>&1 > /dev/null {A}", f"<<< k {A}", f"p && <<E {A}\nk\nE", f"{{m}}>&1 {A}", f"p; <(p k)\n{A}", f"p & {A}"),
    *(
        f"p k &> /dev/null; i={V} > /dev/null p",
        f"p k>|/dev/null; i=1 </dev/null{V} p",
        f"p > >(p k) | {A}",
        f"( {A} )",
    ),
    *(f"if {A}; then p; fi", f"for k in k; do {A}; done", f"for ((k=0;k<1;k++)) {{ {A}; }}", f"[[ k ]]&& {A}"),
    *(f"case k in (k) {A}; esac", f"case k in j|k) {A};; esac", f"f ( ) {{ {A}; }}; f", f"f() ( {A} ); f"),
    *(f"function f {{ {A}; }}; f", f"p $({A})", f"p `{A}`", f"set k; for k do {A}; done", f"coproc f {{ {A}; }}; wait"),
]


def hits(commands: Sequence[str]) -> list[bool]:
    """Whether each command runs ``hit``, all from one start of bash."""
    # What a process substitution runs may come late, so each says whose it is.
    loop = r"""p() { :; }; hit() { printf '%s\n' "$n" >&9; }; exec 9>&1; n=0
    while IFS= read -r -d '' text; do ( eval "$text" ) < /dev/null > /dev/null 2>&1; n=$((n + 1)); done"""
    ran = {int(number) for number in fed_to(loop, commands).split()}
    return [number in ran for number in range(len(commands))]


def rendered(template: str, value: str) -> str | None:
    """The command, or None where the value is refused."""
    try:
        return quoting.render_command(template, lambda reference: value)
    except UserError:
        return None


@pytest.mark.parametrize(("templates", "values"), [(CONSTRUCTS, HOSTILE), (BEFORE_NAME, SEVERAL_WORDS)])
def test_no_value_runs_from_within_a_construct(templates: list[str], values: list[str]) -> None:
    tried = [(template, value) for template in templates for value in values]
    dangerous = hits([template.replace(V, value) for template, value in tried])
    # Bash does run some from within nearly each of them, so there is something to refuse.
    assert len({template for (template, _), ran in zip(tried, dangerous, strict=True) if ran}) > len(templates) * 0.9
    holes = [pair for pair, ran in zip(tried, dangerous, strict=True) if ran and rendered(*pair) is not None]
    assert holes == []


@pytest.mark.parametrize(
    ("template", "value"),
    [
        *(
            (template, 'a; $b & (c) # \\d `e` "f" <<g')
            for template in (
                *(
                    f"probe \"$(probe '{V}')\" ",
                    f"probe '{V}' $[1<<2]",
                    f"a[1<<2]=3; probe '{V}'",
                    f"a=([1<<2]=3); probe '{V}'",
                ),
                *(
                    f"(( 1<<2 )); probe '{V}'",
                    f"probe $(case a in a) probe '{V}';; esac)",
                    f"probe $(probe case) '{V}'",
                ),
                *(
                    f"cat <<'A B'\n{V}\nA B",
                    f"cat <<E\n$(probe '{V}')\nE",
                    f"probe <(probe '{V}')",
                    f"probe \"${{HOME#~}}\" '{V}'",
                ),
                *(
                    f"probe `probe`#'{V}'",
                    f"if probe; then case a in (a) probe '{V}';; esac; fi",
                    f"x='{V}' probe '{V}'",
                ),
            )
        ),
        *((template, 'a; $b & (c) # "f" <<g') for template in (f"x=`probe '{V}'`", f"cat <<E\n`probe '{V}'`\nE")),
        *(
            (template, "a b/größer-1.5e3,x@y%z=:+?*~^")
            for template in (
                *(
                    f'probe "${{u:-{V}}}"',
                    f"probe \"${{u:-'{V}'}}\"",
                    f'probe "`probe {V}`"',
                    f'probe "$(case a in a) probe {V};; esac)"',
                ),
                *(f"cat <<E\n$(probe {V})\n${{u:-{V}}}\nE", f"probe --x={V}", f"export x={V}"),
                *(
                    f"probe ${{a[{V}]}}",
                    f'probe "${{u:0:{V}}}"',
                    f"probe ${{u:{V}}}",
                    f"probe >&2 x={V}",
                    f"probe 2>&1 x={V}",
                ),
                *(
                    f"i=1 probe x={V}",
                    f"probe &>/dev/null x={V}",
                    f"case {V} in (k) probe x={V};; esac",
                    f"time probe x={V}",
                ),
            )
        ),
        *(
            (template, "'a b'$")
            for template in (f"probe ${{u:-{V}}}", f"probe ${{a[0]:-{V}}}", f"i={V} probe", f"i=(k) x={V}")
        ),
        *((template, "-12.5") for template in (f"probe $(( {V} + 1 ))", f"x={V} probe", f"a[{V}]=1")),
    ],
)
def test_what_stays_data_is_not_refused(template: str, value: str) -> None:
    assert rendered(template, value) == template.replace(V, value)


@pytest.mark.parametrize(
    ("template", "value", "arrives"),
    [
        (f"x=`probe '{V}'`; printf %s \"$x\"", 'a; $b & (c) "d" it', True),
        (f"x=`probe '{V}'`; printf %s \"$x\"", "a\\\\b", False),
        (f'x="`probe \'{V}\'`"; printf %s "$x"', 'a\\"b', False),
        (f"x=`probe '{V}'`; printf %s \"$x\"", "a\\nb", True),
        (f"probe \"$(case a in a) probe '{V}';; esac)\"", "a) (b ;;", True),
        (f"a[1<<2]=3; probe '{V}'", "a; b", True),
    ],
)
def test_between_single_quotes_a_value_arrives_unchanged_or_is_refused(
    template: str, value: str, arrives: bool
) -> None:
    assert (rendered(template, value) is not None) is arrives
    ((_, seen),) = started([template.replace(V, value)])
    assert any(value in said for said in seen) is arrives


def test_what_cannot_be_told_holds_every_value_after_it_to_plain_characters() -> None:
    # Bash itself does not know whether the text belongs to the substitution, and versions of it differ.
    template = f"p $(p <<E)\nit's\nE\np '{V}'"
    assert rendered(template, "a; b") is None
    assert rendered(template, "a b") is not None


def test_blanks_that_end_an_assignment_break_out() -> None:
    assert rendered(f"rate={V} python train.py", "0.1 rm x") is None
    assert rendered(f"rate={V} python train.py", "0.1 ") is not None
    assert rendered(f"python train.py rate={V}", "0.1 x=2") is not None


def test_the_hint_for_a_nested_value_is_not_to_quote_it() -> None:
    with pytest.raises(UserError) as caught:
        quoting.render_command(f"p \"${{u:-'{V}'}}\"", lambda reference: "$(hit)")
    assert caught.value.hint is not None
    assert f"NAME='{V}'" in caught.value.hint


@pytest.mark.parametrize("value", ["$(p <<E\n" * 5000, "`" * 20000, "a[ " * 5000, "a=1 case " * 3000, "( " * 5000])
@pytest.mark.parametrize("template", [f"cat <<E\n{V}\nE", f"p {V}", V])
def test_no_value_takes_long_to_judge_or_ends_the_reader(template: str, value: str) -> None:
    expressions.parse(template)
    rendered(template, value)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_no_value_runs_from_a_command_put_together_at_random(seed: int) -> None:
    commands = _Commands(random.Random(seed))
    kept: list[tuple[str, str]] = []
    while len(kept) < 2000:
        template, value = (
            commands.any(commands.random.choice((1, 2, 2, 3))),
            commands.random.choice(HOSTILE),
        )
        if len(template) < 400 and rendered(template, value) is not None:
            kept.append((template, value))
    ran = hits([template.replace(V, value) for template, value in kept])
    assert [pair for pair, hit in zip(kept, ran, strict=True) if hit] == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_no_value_runs_behind_assignments_put_together_at_random(seed: int) -> None:
    commands = _Commands(random.Random(seed))
    tried: list[tuple[str, str]] = []
    while len(tried) < 1500:
        template = commands.some(commands.prefix, 2, " ", 3) + " p"
        # Escaped quotes may leave a value outside of those it was put in, where it is what the template runs.
        if len(template) < 400 and '\\"' not in template:
            tried.append((template, commands.random.choice(SEVERAL_WORDS)))
    ran = hits([template.replace(V, value) for template, value in tried])
    assert sum(ran) > 50
    assert [pair for pair, hit in zip(tried, ran, strict=True) if hit and rendered(*pair) is not None] == []


class _Commands:
    """Commands of every construct that the reader knows, in one another, with values anywhere but as what is run."""

    def __init__(self, source: random.Random) -> None:
        self.random = source

    def any(self, depth: int) -> str:
        last = self.random.choice(("", f"\np '{V}'", f'\np "{V}"', f"; p {V}"))
        return self.commands(depth) + last

    def commands(self, depth: int) -> str:
        return self.some(self.command, depth, self.random.choice(("; ", "\n", " && ")), 2)

    def some(self, make: Callable[[int], str], depth: int, between: str, most: int) -> str:
        return between.join(make(depth) for _ in range(self.random.randint(1, most)))

    def _plain(self) -> str:
        return self.random.choice((V, f"'{V}'", f'"{V}"', "k", f"k{V}", "it\\'s", "'q q'", '"d d"', "\\\\", '\\"'))

    def _backticks(self, depth: int, quoted: bool = False) -> str:
        inner = self.commands(depth)
        if self.random.random() < 0.5:
            return "`" + inner.replace("`", "") + "`"
        escaped = inner.replace("\\", "\\\\").replace("`", "\\`")
        return "`" + (escaped.replace('"', '\\"') if quoted else escaped) + "`"

    def word(self, depth: int) -> str:
        if depth <= 0:
            return self._plain()
        less = depth - 1
        makers: list[Callable[[], str]] = [
            self._plain,
            lambda: f'"{self.some(self.quoted, less, "", 3)}"',
            lambda: f"$({self.commands(less)})",
            lambda: self._backticks(less),
            lambda: (
                self.random.choice(("${a[%s]}", "${a[%s]:-k}", "${u:%s}", "${u:0:%s}", "${@:%s}")) % self.word(less)
            ),
            lambda: "${u" + self.random.choice(("#", "%", ":-", "-", "+")) + self.word(less) + "}",
            lambda: self.random.choice(("$(( {} ))", "$[{}]", "\\{}", "$'e\\'k'{}")).format(self.word(less)),
            lambda: f"<({self.commands(less)})",
            lambda: f"{self.word(less)}#{self.word(less)}",
        ]
        return self.random.choice(makers)()

    def quoted(self, depth: int) -> str:
        parts = (V, "k ", "it's ", f"${{u:-'{V}'}}", f'${{u:-"{V}"}}', f"$((1+{V}))", f"$[{V}]", '\\"', "\\\\")
        if depth <= 0 or self.random.random() < 0.5:
            return self.random.choice(parts)
        less = depth - 1
        makers: list[Callable[[], str]] = [
            lambda: "${u:-" + self.quoted(less) + "}",
            lambda: "${u#" + self.word(less) + "}",
            lambda: self.random.choice(("${a[%s]}", "${u: %s:1}")) % self.word(less),
            lambda: f"$({self.commands(less)})",
            lambda: f"$(case a in a) {self.commands(less)};; esac)",
            lambda: self._backticks(less, quoted=True),
        ]
        return self.random.choice(makers)()

    def body(self, depth: int) -> str:
        parts = (V, "it's", '"', f"${{u:-{V}}}", f"${{u:-'{V}'}}", "k \\", "\\$(k)", f"E{V}", f"{V}E", f"$(({V}))")
        if depth <= 0 or self.random.random() < 0.5:
            return self.random.choice(parts)
        return self._backticks(depth - 1) if self.random.random() < 0.5 else f"$({self.commands(depth - 1)})"

    def prefix(self, depth: int) -> str:
        return self.random.choice(("i={}", "i+={}", "i[1]={}", "i=({})", "2>&1 <<<{}")).format(self.word(depth))

    def command(self, depth: int) -> str:
        if depth <= 0 or self.random.random() < 0.3:
            return "p " + self.some(self.word, depth, " ", 3)
        less, plain = depth - 1, self._plain()
        body = self.some(self.body, less, "\n", 3)
        makers: list[Callable[[], str]] = [
            lambda: self.random.choice(
                ("( {} )", "{{ {}; }}", "if p; then {}; fi", "for ((i=0;i<1;i++)); do {}; done")
            ).format(self.commands(less)),
            lambda: f"case {plain} in k|a) {self.commands(less)};; (b) {self.commands(less)} ;; esac",
            lambda: f"{self.some(self.prefix, less, ' ', 3)} p {plain}",
            lambda: self.random.choice(("f() {{ {}; }}; f", "function f {{ {}; }}; f", "f() ( {} ); f")).format(
                self.commands(less)
            ),
            lambda: f"p <<E {self.word(less)}\n{body}\nE\n",
            lambda: self.random.choice(
                ("p <<E\n{}\nE\n", "p <<'A B'\n{}\nA B\n", 'p <<-"E"\n{}\n\tE\n', "p a[1<<E\n{}\nE\n")
            ).format(body),
            lambda: f"p k # {self.random.choice(('it is ', V))}\n{self.commands(less)}",
            lambda: self.random.choice(
                ("a[1<<2]={}", "a=([1<<2]=x {})", "p <<<{}", "p @(a|b){}", "p $[1<<2] {}")
            ).format(self.word(less)),
            lambda: self.random.choice(
                ("(( 1<<2 + {} ))", "a[{}]=3", "((p) ; (p {}) )", "[[ ( a == b ) || -n {} ]]", "p case x {}")
            ).format(plain),
        ]
        return self.random.choice(makers)()
