"""What a shell really does with a value put into a command as it is, and values dense in what a shell reads."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from azdistill import aml
from azdistill.errors import Problem
from azdistill.local.pipeline_run import Finished, Options, run_pipeline

#: Written by the probe: how often it ran, and each argument, NUL-separated. No file names and no braces are expanded.
PROBE = r"""probe() { printf 'RUN\0'; printf '%s\0' "$@"; }; set -f +B; HOME='~'; """
#: Starts every command that comes on stdin, NUL-separated, in a shell of its own; says what each ended with, when all
#: of it has (a value may put the probe into the background).
_LOOP = r"""
while IFS= read -r -d '' text; do
  ( eval "$text"; code=$?; wait; exit "$code" ) < /dev/null
  printf '\0END %s\0' "$?"
done"""

#: Where a value can stand, as the template of a command.
POSITIONS = {
    "single-quoted": "probe '{}' end",
    "double-quoted": 'probe "{}" end',
    "unquoted": "probe {} end",
}

#: A step's command: appends what the probe is given to the step's output.
TO_OUTPUT = "set -f +B; HOME='~'; probe() {{ printf '%s\\0' RUN \"$@\" >> '${{{{outputs.o}}}}'; }}\n{}"
#: A Python program that writes its arguments there, as JSON.
ARGV = "import json, os, sys; open(os.environ['AZURE_ML_OUTPUT_o'], 'w').write(json.dumps(sys.argv[1:]))"

# Dense in what bash reads, so that examples hit the corners; any other character stands for itself.
hostile = st.text(alphabet=st.sampled_from("ab $`\"'\\;&|<>()#\n\t{}[]*?!=,1-@_é\u00a0\x07"), max_size=8)
anything = st.text(alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
values = hostile | anything
#: Without quotes and control characters.
harmless = st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="'\""), max_size=20)


def fed_to(loop: str, commands: Sequence[str]) -> bytes:
    """What ``loop``, a script of bash that reads ``commands`` from stdin, NUL-separated, writes to stdout."""
    return subprocess.run(
        ["/bin/bash", "--norc", "-c", loop],
        input=b"".join(command.encode() + b"\0" for command in commands),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd="/proc/self/fd",  # nothing can be written here: a redirection cannot leave a file behind
        env={"PATH": ""},
        timeout=300,
        check=True,
    ).stdout


def started(commands: Sequence[str]) -> list[tuple[int, list[str]]]:
    """Exit status and output (split at NUL) of each command, all from one start of bash."""
    output = fed_to(PROBE + _LOOP, commands)
    found: list[tuple[int, list[str]]] = []
    said: list[str] = []
    for piece in output.decode("utf-8", "surrogateescape").split("\0"):
        if piece.startswith("END ") and piece[4:].isdigit():
            # What was said ended with a NUL unless it was none of the probe's.
            found.append((int(piece[4:]), said if said[-1] else said[:-1]))
            said = []
        else:
            said.append(piece)
    assert len(found) == len(commands)
    return found


def stays(position: str, value: str, seen: tuple[int, list[str]]) -> bool:
    """Whether a real shell took ``value`` for nothing but data."""
    own = words(value) if position == "unquoted" else [value]
    return own is not None and seen == (0, ["RUN", *own, "end"])


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


def batch_of(one: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    """Values for one run. In YAML they stay what they are: none is an expression."""
    return st.lists(one.filter(lambda value: "${{" not in value), min_size=20, max_size=60)


def pipeline(
    path: Path, command: str, inputs: Mapping[str, Any], environment: Any = "azureml:any@latest", **own: str
) -> Path:
    """A pipeline of one step, ``a``, whose output ``o`` is a file; ``own`` are the pipeline's inputs."""
    step = {
        **{"type": "command", "command": command, "environment": environment, "inputs": dict(inputs)},
        "outputs": {"o": {"type": "uri_file"}},
    }
    path.write_text(yaml.safe_dump({"type": "pipeline", "inputs": own, "jobs": {"a": step}}), encoding="utf-8")
    return path


def errors(path: Path) -> list[Problem]:
    """What the checks refuse."""
    return [problem for problem in aml.check(aml.load_pipeline(path)) if problem.severity == "error"]


def written(path: Path, options: Options) -> bytes:
    """The output of a pipeline's step, which completes."""
    finished: Finished = run_pipeline(aml.load_pipeline(path), options)
    assert finished.error is None, finished.error
    return Path(finished.state.steps["a"].outputs["o"]).read_bytes()


def payloads(canary: Path) -> list[str]:
    """Values that touch a file as soon as a shell reads more in them than data."""
    touch = f"touch {canary}"
    bodies = [
        *(f"; {touch}; ", f"& {touch} & ", f"&& {touch} ", f"|| {touch} ", f"| {touch} ", f"\n{touch}\n"),
        *(f"$({touch})", f"`{touch}`", f"${{x:=$({touch})}}", f"$(({touch}))", f"$[$({touch})]", f"<({touch})"),
        *(f"> {canary} ", f">> {canary} ", f"2> {canary} ", f"<> {canary} ", f"# \n{touch}"),
        *(f"{{ {touch}; }}", f"( {touch} )", f"x=1 {touch}", f"$'\\n'{touch}", f"<<E\n$({touch})\nE\n"),
    ]
    return [opening + body + closing for body in bodies for opening, closing in _AROUND]


_AROUND = (("", ""), ("'", "'"), ('"', '"'), ("\\", ""), ("\\'", "'"), ("'\"", "\"'"), ("x", "\\"))
