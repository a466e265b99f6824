"""What evaluates a value is warned of: proven with what a real bash runs."""

from __future__ import annotations

import random
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest
from test_sieve_in_constructs import HOSTILE, V, hits, rendered

from azdistill import aml
from azdistill.aml import expressions, quoting
from azdistill.aml.evaluation import FIRST, evaluated
from azdistill.errors import UserError

#: Each runs ``hit`` where it is evaluated, in one way or another.
VALUES = [
    *("a[$(hit)]", "a[$(hit)]=1", "$(hit)", "hit", "k; hit", "0; hit #", "a=$(hit)", "k=(a[$(hit)])"),
    *("`hit`", "k || hit", 'k"; hit; "', "k'; hit; '", "HIT", "a[k[$(hit)]]"),
]
START = "export n; export -f hit p; a=(1 2); u=12; declare -A t; "
#: Evaluate what is in M.
SINKS = [
    *('eval "$M"', "eval p $M", "p | eval $M", "k=1 eval $M", "if p; then eval $M; fi", 'eval "p \\"$M\\""'),
    *('trap "$M" EXIT', "trap -- $M EXIT", 'trap "p $M" EXIT', "command eval $M", '"eval" "$M"', "\\eval $M"),
    *("p $(( M + 1 ))", "p $(($M))", "(( M > 1 ))", 'p "$[M]"', "let M+=1", 'let "k = $M + 1"', "p $(( t[k] + M ))"),
    *("for ((k=0;k<M;k++)); do break; done", "while (( M )); do break; done", "k=$((M))", "(( k = M, 1 ))"),
    *(
        "[[ $M -gt 1 ]]",
        "[[ M -eq 1 ]]",
        "[[ -n k && 1 -lt $M ]]",
        '[[ "$M" -ne 0 ]] && p',
        "if [[ $M -ge 2 ]]; then p; fi",
    ),
    *("[[ -v $M ]]", '[ -v "$M" ]', 'test -v "$M"', 'if ! test -v "$M"; then p; fi', "[ -n k -a -v $M ]"),
    *("declare -i k=$M", "declare -i k; k=$M", "f() { local -i k=$1; }; f $M", "typeset -i k; k+=$M"),
    *("declare -i k; for k in $M; do p; done", 'declare -i k; read k <<< "$M"', 'declare -i k; printf -v k %s "$M"'),
    *('declare "$M=1"', 'declare "$M"', 'f() { local "$1"; }; f "$M"', 'declare -a "k=($M)"', 'declare -a k="(1 $M)"'),
    *("declare -n k=$M; p $k", 'declare -n k; k=$M; p "$k"', 'f() { local -n k="$1"; p "$k"; }; f "$M"'),
    *('read "$M" <<< 1', "read -r $M <<< 1", 'printf -v "$M" k', 'unset "a[$M]"', 'p & wait -n -p "$M"'),
    *('mapfile -C "$M" -c 1 k <<< k', "readarray -t -c 1 -C $M k <<< k", 'compgen -W "$M"'),
    *("p ${!M}", 'p "${!M:-k}"', "p ${M@P}", "p ${u:M}", "p ${u:0:M}", "p ${u:$M}", "p ${@:M}", "p ${u:${M}}"),
    *("p ${a[M]}", "p ${a[$M]:-k}", "a[M]=1", "a[$M]+=1", "a=([M]=1)", "p ${#a[M]}", "a=(k [$M]=1)"),
    *(
        "PS4=$M; set -x; p",
        "BASH_ENV=$M /bin/bash -c :",
        "export BASH_ENV=$M; /bin/bash -c :",
        "RANDOM=$M",
        "OPTIND=$M",
    ),
    *('/bin/bash -c "$M"', '/bin/bash -ec "p $M"', "/bin/bash -o pipefail -c $M", '(exec /bin/bash -c "$M")'),
    *("/bin/bash -c 'p $(( $1 ))' _ \"$M\"", '/bin/bash -c \'eval "$1"\' _ "$M"', "/bin/bash -c 'eval \"$*\"' _ $M"),
    *(
        '/bin/bash <<< "$M"',
        'printf %s "$M" | /bin/bash',
        'printf %s "$M" | /bin/bash -s',
        '/bin/bash < <(printf %s "$M")',
    ),
    *('. <(printf %s "$M")', 'source /dev/stdin <<< "$M"', "/bin/bash <<E\np $M\nE", "p <<E |& p\n$M\nE\neval $M"),
    *(
        '/bin/bash <(printf %s "$M")',
        '{ printf %s "$M"; } | /bin/bash',
        "while p; do printf %s $M; break; done | /bin/bash",
    ),
    *(
        'set -- "$M"; p $(( $1 ))',
        'f() { p $(( $1 )); }; f "$M"',
        'function f { eval "$@"; }; f $M',
        'f() (eval "$2"); f k "$M"',
    ),
]
#: Bring what is in N into M.
WAYS = [
    *(
        "M=$N",
        'M="$N"',
        "M=${N}",
        'M="k$N"; M="$N"',
        'export M="$N"',
        "declare M=$N",
        "M=k; M+=$N",
        "M=$(printf %s $N)",
    ),
    *('M=`printf %s "$N"`', 'for M in "$N"; do :; done', 'read -r M <<< "$N"', "k=$N; M=$k", 'k=("$N"); M=${k[0]}'),
    *('printf -v M %s "$N"', ": ${M:=$N}", "M=${N:-k}", "M=${k:-$N}", "mapfile -t M <<< $N", 'set -- "$N"; M=$1'),
    *('f() { M=$1; }; f "$N"', "while IFS= read -r M; do break; done <<< $N", "if M=$N; then p; fi", "readonly M=$N"),
    *("for M; do :; done", "M='k'\"$N\"; M=${M#k}", "read -r -a M <<< $N", "{ M=$N; }", "M=${N%x}", "M=$N p; M=$N"),
]
#: Evaluate nothing of what is in N, or of what stands in the command.
SAFE = [
    *('p "$N"', "p $N '{}'", 'p "$N" "{}" $(( 1 + 2 ))', "k=1; p $(( k + 1 )) '{}' \"$N\"", "eval 'p \"$N\"' # {}"),
    *(
        '[ "$N" = k ]',
        '[[ $N == k ]] && p "{}"',
        '[ "$N" -gt 1 ]',
        "[[ -n $N ]]",
        "[[ -v N ]]",
        'case "$N" in k) p;; esac',
    ),
    *('for k in 1 2; do (( k > 1 )) && p "$N"; done', 'f() { local k="$1"; p "$k"; }; f "$N"', 'M=$(p "$N"); p "$M"'),
    *(
        "trap 'p \"$N\"' EXIT",
        "/bin/bash -c 'p \"$1\"' _ '{}'",
        "export N; /bin/bash -c 'p $N'",
        'p <<< "$N"',
        "p <<E\n$N {}\nE",
    ),
    *(
        "p ${N:-k} ${N#k} ${N%k} ${N/k/j} ${#N} ${N^}",
        'declare -A t; t[$N]=1; p "${t[$N]}"',
        "p ${a[1]} ${a[@]} $N",
        "shift 0; p '{}'",
    ),
    *(
        "set -e -o pipefail; p '{}' | p",
        "p --mode eval '{}' --trap $N",
        "p let \"$N\" read '{}'",
        "p ${@Q} ${N@Q}",
        "k=($N)",
    ),
    *(
        "p `p '{}'`",
        "if p; then p '{}'; else p \"$N\"; fi",
        "p bash -x run.sh '{}'",
        "p ${!a[@]} ${!N@} $N",
        'printf %s "$N"',
    ),
    *(
        "mkdir=1; k=$((mkdir)); p --k=$N",
        "p a[$N]",
        'p k.sh | p -c "$N"',
        "declare -i k=3; p \"$N\" '{}'",
        'M=(k "$N")',
    ),
]


def is_evaluated(command: str) -> bool:
    """Whether the command evaluates a variable N of its environment, or a value in the place of ``{}``."""
    return bool(evaluated(command.replace("{}", chr(FIRST)), {"N": 0}))


def renamed(command: str, **names: str) -> str:
    return re.sub(r"\b[MN]\b", lambda name: names.get(name[0], name[0]), command)


def runs(commands: Sequence[str], values: Sequence[str] = VALUES) -> list[bool]:
    """Whether a value that is in N runs, with each command."""
    pairs = [f'{START}N={shlex.quote(value)}; set -- "$N"\n{command}' for command in commands for value in values]
    ran = hits(pairs)
    return [any(ran[at : at + len(values)]) for at in range(0, len(pairs), len(values))]


def test_each_way_of_bash_to_evaluate_a_variable_is_known() -> None:
    commands = [renamed(sink, M="N") for sink in SINKS]
    assert [command for command, ran in zip(commands, runs(commands), strict=True) if not ran] == []
    assert [command for command in commands if not is_evaluated(command)] == []


@pytest.mark.parametrize(("seed", "tries"), [(0, 100), *(pytest.param(n, 600, marks=pytest.mark.slow) for n in (1, 2))])
def test_a_value_is_followed_through_variables(seed: int, tries: int) -> None:
    source = random.Random(seed)
    commands = []
    for _ in range(tries):
        between = source.choice(("\n", "; ", "\np k\n")).join
        way, sink = source.choice(WAYS), source.choice([*SINKS, *SAFE])
        more = source.choice([""] * 3 + [renamed(way, M="L", N="M") + "; M=$L" for way in WAYS])
        commands.append(between([part for part in (way, more, sink.replace("{}", "k")) if part]))
    commands += [f"{way}\n{source.choice(SINKS)}" for way in WAYS]
    ran = runs(commands, ["a[$(hit)]", "$(hit)", "hit", "k; hit"])
    assert sum(ran) > len(commands) / 3
    unknown = [command for command, hit in zip(commands, ran, strict=True) if hit and "set --" not in command]
    assert [command for command in unknown if not evaluated(f"N='{chr(FIRST)}'; set -- \"$N\"; {command}")] == []


def test_what_evaluates_no_value_is_not_warned_of() -> None:
    assert not any(runs([command.replace("{}", "k") for command in SAFE]))
    assert [command for command in SAFE if is_evaluated(command)] == []


def test_a_value_that_is_accepted_without_a_warning_never_runs() -> None:
    templates = [command.replace("{}", V) for command in SAFE if "{}" in command]
    templates += [f"N='{V}'\n{command.replace('{}', 'k')}" for command in SAFE]
    templates += [sink.replace('"$M"', f"'{V}'").replace("$M", V) for sink in SINKS]
    tried = [(template, value) for template in templates for value in (*VALUES[:8], *HOSTILE[::3])]
    accepted = [(template, text) for template, value in tried if (text := rendered(template, value)) is not None]
    ran = [
        template
        for (template, _), hit in zip(accepted, hits([START + text for _, text in accepted]), strict=True)
        if hit
    ]
    assert len(accepted) > len(tried) / 4
    # Some are plain words, which no check of values could tell from data: they are what the warning is for.
    assert "eval 'hit'".replace("hit", V) in ran
    assert [template for template in ran if not evaluated(template.replace(V, chr(FIRST)))] == []


@pytest.mark.parametrize("unit", ["[[ ", "$(( ", "N=(", "f() { f $N; }; ", "bash -c ", "' ", "`"])
@pytest.mark.parametrize("length", [5000, 100_000])
def test_no_command_takes_long_to_judge_and_a_long_one_counts_as_evaluating(unit: str, length: int) -> None:
    assert evaluated(f"{unit * (length // len(unit))}; eval '{chr(FIRST)}'; eval '{chr(FIRST)}'") != {} or unit in "' `"
    assert evaluated(f"p '{chr(FIRST)}' " + "k " * length) == {}


def test_the_advice_for_a_value_is_not_the_way_to_run_it(tmp_path: Path) -> None:
    spec = "name: c\ntype: command\nenvironment: azureml:e@latest\ninputs: {n: {type: string}}\ncommand: |\n  "
    path = tmp_path / "component.yml"
    for command in (f"echo $(( {V} + 1 ))", f"N='{V}'\n  echo $(( N + 1 ))"):
        path.write_text(spec + command.replace("inputs.x", "inputs.n") + "\n")
        _, problems = aml.examine(path)
        assert [(problem.code, problem.severity) for problem in problems] == [("AZD159", "warning")]
        with pytest.raises(UserError) as caught:
            quoting.render_command(command, lambda reference: "a[$(touch P)]")
        assert "NAME" not in str(caught.value.hint)


@pytest.mark.parametrize("sink", SINKS)
def test_no_hint_leads_to_a_command_that_evaluates(sink: str) -> None:
    for template in (sink.replace('"$M"', V).replace("$M", V), sink.replace("$M", V)):
        if V in template:
            found = quoting.would_break_out(
                expressions.parse(template), expressions.Reference(("inputs", "x"), raw=V), "k; a[$(hit)]"
            )
            assert found is None or "NAME" not in found.hint
            assert found is None or "single quotes" not in found.hint
