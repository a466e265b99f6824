"""Values inside what bash nests: whatever stands around one, it arrives, or is refused, and never runs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from quoting import fed_to

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


HARMLESS = [
    *(f"probe \"$(probe '{V}')\" ", f"probe '{V}' $[1<<2]", f"a[1<<2]=3; probe '{V}'", f"a=([1<<2]=3); probe '{V}'"),
    *(f"(( 1<<2 )); probe '{V}'", f"probe $(case a in a) probe '{V}';; esac)", f"probe $(probe case) '{V}'"),
    *(f"cat <<'A B'\n{V}\nA B", f"cat <<E\n$(probe '{V}')\nE", f"probe <(probe '{V}')", f"probe \"${{H#~}}\" '{V}'"),
    *(f"probe `probe`#'{V}'", f"if p; then case a in (a) probe '{V}';; esac; fi", f"x=`probe '{V}'`"),
    *(f'probe "${{u:-{V}}}"', f"probe \"${{u:-'{V}'}}\"", f'probe "`probe {V}`"', f"cat <<E\n`probe '{V}'`\nE"),
    *(
        f'probe "$(case a in a) probe {V};; esac)"',
        f"cat <<E\n$(probe {V})\n${{u:-{V}}}\nE",
        f"case {V} in (k) p;; esac",
    ),
    *(f"probe ${{a[{V}]}}", f'probe "${{u:0:{V}}}"', f"probe ${{u:{V}}}", f"probe ${{u:-{V}}}", f"i=(k) x={V}"),
    *(f"probe $(( {V} + 1 ))", f"a[{V}]=1", f"p $(p <<E)\nit's\nE\np '{V}'"),
]


@pytest.mark.parametrize("template", HARMLESS)
def test_in_and_after_what_nests_plain_characters_pass_and_no_others(template: str) -> None:
    for value in ("-12.5", "größer-1.5e3,x@y%z=:+", "/a/b_c"):
        assert rendered(template, value) == template.replace(V, value)
    for value in ("a b", "a; b", "$b", "'a'", "*", "~"):
        assert rendered(template, value) is None


@pytest.mark.parametrize(
    "template",
    [
        *(f"x='{V}' probe '{V}'", f"probe a#b '{V}'", f"# it's\nprobe '{V}'", f"probe \\\n  --x '{V}'"),
        *(f"probe $A ${{A}} \"${{A[*]}}\" $? '{V}'", f"if [[ -n \"$A\" ]]; then probe '{V}'; fi"),
        *(
            f"probe &>/dev/null 2>&1 <<< k '{V}'",
            f"pip install r[a,b]==2 && probe '{V}'",
            f"for k in a; do p '{V}'; done",
        ),
        *(f"set -e; {{ probe '{V}'; }} | probe", f"probe --mode eval --use let '{V}'", f"bash run.sh '{V}'"),
    ],
)
def test_between_single_quotes_anything_passes_where_nothing_nests(template: str) -> None:
    value = 'a; $b & (c) # \\d `e` "f" <<g'
    assert rendered(template, value) == template.replace(V, value)


E = "export n; export -f hit p;"
N = f"N='{V}'; "
E = "export n; export -f hit p; "
#: The template itself runs or computes what is in a variable, or in the text that it puts together.
EVALUATING = [
    *(f"{N}p $(( N + 1 ))", f"{N}\np $[N]", f"{N}(( N > 1 ))", f"{N}for ((k=N;k<1;k++)); do p; done", f"{N}let N+=1"),
    *(f"declare -i N='{V}'", f"{N}[[ $N -gt 1 ]]", f"{N}a=(1); p ${{a[N]}}", f"{N}a[N]=1", f"{N}a=(k [N]=1)"),
    *(f"{N}u=12; p ${{u:N}}", f"{N}u=12; p ${{u:0:N}}", f"{N}p ${{!N}}", f'{N}p "${{N@P}}"', f"{N}a=([N]=1)"),
    *(f"eval 'p {V}'", f"k=1 eval p '{V}'", f'{N}eval "p $N"', f"trap 'p {V}' EXIT", f"if p; then eval 'p {V}'; fi"),
    *(f"{E}/bin/bash -c 'p {V}'", f"{E}time -p /bin/bash -o pipefail -ec 'p {V}'", f"case k in k) eval 'p {V}';; esac"),
    *(
        f'{N}test -v "$N"',
        f'{N}a=(1); [ -v "a[$N]" ]',
        f"read -r '{V}' <<< k",
        f"a=(1); unset '{V}'",
        f"printf -v '{V}' k",
    ),
    *(f"declare '{V}=1'", f"declare -n k='{V}'; p $k", f"PS4='{V}'; set -x; p", f"mapfile -C '{V}' -c 1 <<< k"),
    f'{N}readarray -C "$N" -c 1 <<< k',
]


def test_a_command_that_evaluates_gets_no_value_that_could_run() -> None:
    values = [*HOSTILE, "a[$(hit)]", "a[`hit`]", "x; hit", "hit; x", "hit #"]
    tried = [(template, value) for template in EVALUATING for value in values]
    ran = hits([template.replace(V, value) for template, value in tried])
    assert {template for (template, _), hit in zip(tried, ran, strict=True) if hit} == set(EVALUATING)
    assert [pair for pair, hit in zip(tried, ran, strict=True) if hit and rendered(*pair) is not None] == []
    assert [template for template in EVALUATING if rendered(template, "12") is None] == []


def test_no_hint_leads_to_a_command_that_runs_a_value() -> None:
    tried: list[tuple[str, str]] = []
    for template in (*CONSTRUCTS, *HARMLESS, *EVALUATING):
        with pytest.raises(UserError) as caught:
            quoting.render_command(template, lambda reference: "a[$(hit)] b")
        if "$NAME" in (caught.value.hint or ""):
            bare = template.replace(f"'{V}'", V).replace(f'"{V}"', V)
            commands = [f"NAME='{V}'\n{bare.replace(V, name)}" for name in ("$NAME", '"$NAME"')]
            tried += [
                (command, value) for command in commands for value in ("a[$(hit)]", "'; hit; '", "$(hit)", "k; hit")
            ]
    assert len(tried) > 100
    ran = hits([command.replace(V, value) for command, value in tried])
    assert [pair for pair, hit in zip(tried, ran, strict=True) if hit and rendered(*pair) is not None] == []


@pytest.mark.parametrize("name", ["$(( {} + 1 ))", "$[{}]", "${{a[{}]}}", "${{u:{}}}"])
def test_the_hint_for_arithmetic_is_a_number_or_a_file_and_no_variable(name: str) -> None:
    with pytest.raises(UserError) as caught:
        quoting.render_command(f"echo {name.format(V)}", lambda reference: "a[$(hit)]")
    assert "declare the input integer or number" in caught.value.hint
    assert "NAME" not in caught.value.hint


def test_the_hint_for_what_nests_is_a_variable() -> None:
    with pytest.raises(UserError) as caught:
        quoting.render_command(f"p \"${{u:-'{V}'}}\"", lambda reference: "$(hit)")
    assert f"NAME='{V}'" in caught.value.hint


@pytest.mark.parametrize("value", ["$(p <<E\n" * 5000, "`" * 20000, "a[ " * 5000, "a=1 case " * 3000, "( " * 5000])
@pytest.mark.parametrize("template", [f"cat <<E\n{V}\nE", f"p {V}", V])
def test_no_value_takes_long_to_judge_or_ends_the_reader(template: str, value: str) -> None:
    expressions.parse(template)
    rendered(template, value)
