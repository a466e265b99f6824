"""What a step observes of variables, and whether somebody has decided if it counts in its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from azdistill.local.cache.key import read_key
from azdistill.local.pipeline_run import Finished
from azdistill.local.plan.order import VARIABLE as THREADS
from azdistill.local.run.environment import CONSTANT, COUNTED, PASSED, is_left_out
from azdistill.local.store.home import find_home

ASKED_FOR = ("MODE", "TEACHER_API_KEY")
OF_THE_STEP = {"SETTING": "on"}


def callers(value: str) -> dict[str, str]:
    """The caller's variables: one for each pattern of those that are passed on, and a few others."""
    names = [pattern.replace("*", "X") for pattern in PASSED if pattern not in ("LC_*", "LANG")]
    # What is asked to count processors or to find libraries has to make sense.
    special = {
        "OMP_X": "1",
        "LD_LIBRARY_PATH": f"/{value}",
        "LC_X": value,
        "LANG": "C.UTF-8",
        "PYTHONUSERBASE": f"/{value}",
    }
    others = dict.fromkeys((*ASKED_FOR, "HF_TOKEN", "HOME", "USER", "LOGNAME", "TMPDIR", "UNHEARD_OF"), value)
    return {**dict.fromkeys(names, value), **others, **special, "TMPDIR": "/tmp", "HOME": f"/{value}"}


def variables_in(path: Path) -> dict[str, str]:
    """What ``env -0`` wrote."""
    pairs = path.read_bytes().decode("utf-8", "surrogateescape").split("\0")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs if pair)}


def counted(finished: Finished, name: str) -> Mapping[str, str]:
    """What the key of a step says of variables."""
    key = read_key(find_home(), finished.state, name)
    assert key
    variables: Mapping[str, str] = key.fields["variables"]
    return variables


def undecided(seen: Mapping[str, str], in_key: Mapping[str, str]) -> list[str]:
    """The variables of a step that nobody has decided on."""
    # A hyperparameter is in the key of its trial, and the space that it is from in that of the sweep.
    decided = {"AZUREML_SWEEP_rate", *ASKED_FOR, *OF_THE_STEP, *CONSTANT, THREADS}
    return [
        name
        for name in seen
        if name not in decided
        and not is_left_out(name)
        and not (name in in_key and any(fnmatchcase(name, pattern) for pattern in COUNTED))
    ]


def unnoticed(seen: Sequence[Mapping[str, str]], keys: Sequence[Mapping[str, str]]) -> set[str]:
    """The variables that two runs of a step saw otherwise, that its key says the same of, and no pattern leaves out."""
    changed = {name for name in seen[0].keys() | seen[1].keys() if seen[0].get(name) != seen[1].get(name)}
    assert {"TZ", "HF_X", "MODE"} <= changed
    return {name for name in changed if keys[0].get(name) == keys[1].get(name) and not is_left_out(name)}
