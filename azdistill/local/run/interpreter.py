"""The Python that steps find on their PATH, with what is installed in it: both are part of the cache key."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from azdistill import strict_json
from azdistill.errors import MachineError
from azdistill.local.in_step import installed_probe
from azdistill.local.run.environment import without_secrets
from azdistill.local.run.installed import entries_seen, read_sources
from azdistill.local.store.durable_files import digest, write_whole
from azdistill.local.store.home import Home
from azdistill.local.store.machine_errors import machine_error
from azdistill.permissions import make_private
from azdistill.trees import Seen, outwait, shows_from, stat_at

#: Starts the probe that is its argument. What lies in the folder of the caller is nothing that a step sees.
_START = "import sys; sys.path[:] = [path for path in sys.path if path]; exec(sys.argv.pop(), {'__name__': '__main__'})"
#: Of what is remembered; raised when the probe says more.
_VERSION = 4
#: So often is an interpreter asked while somebody installs something.
_QUESTIONS = 3
#: What the probe says for us; places are in no key.
_PLACES = frozenset({"executable", "folders", "user_base", "watched", "sources"})


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python executable and its fingerprint (version, platform, installed distributions).

    ``user_base``: where it finds the user's own packages, whatever the home of a step is. ``seen``: what was seen of
    all that is installed before its content was read, by label; what the rest of the fingerprint depends on has none.
    """

    executable: Path
    fingerprint: dict[str, Any]
    user_base: str = ""
    seen: Mapping[str, Seen] = field(default_factory=dict)


def find_interpreter(home: Home, python: str | None = None, *, named_by: str = "--python") -> Interpreter:
    """The interpreter for steps: ``python`` (a path or a name on PATH), or the one that runs azdistill.

    What it says of itself is remembered, unless ``home`` is only looked at; ``named_by``: where ``python`` was written.
    """
    program = shutil.which(python) if python else sys.executable
    if not program:
        raise MachineError(f"no Python interpreter '{python}'", code="AZD305", hint=f"give {named_by} an executable")
    executable = Path(program).absolute()
    memory = home.root / "interpreters" / f"{digest(str(executable))[:16]}.json"
    stored = _remembered(memory)
    seen = _look(executable, stored["probe"]) if stored else None
    if stored and seen and stored["stat"] == _stat(executable, stored["probe"]):
        probe, before = stored["probe"], stored["contents"]
    else:
        stored, before = None, {}
        probe, seen = _ask(executable)
    read = read_sources(probe.get("sources", {}), before)
    contents = {label: found.remembered for label, found in read.items()}
    is_news = not stored or any(contents[label] != tuple(before.get(label, ())) for label in contents)
    if is_news and seen.found and not home.looking:
        make_private(memory.parent)
        told = {"version": _VERSION, "probe": probe, "stat": _stat(executable, probe), "contents": contents}
        write_whole(memory, strict_json.dumps(told))
    fingerprint = {name: probe[name] for name in probe if name not in _PLACES}
    if contents:
        of_sources = {label: content for label, (_, content) in contents.items()}
        fingerprint["contents"] = {**probe.get("contents", {}), **of_sources}
    every = {"": seen, **{label: found.seen for label, found in read.items()}}
    return Interpreter(executable, fingerprint, probe.get("user_base", ""), every)


def _ask(executable: Path) -> tuple[dict[str, Any], Seen]:
    """What an interpreter says of itself, and what was seen then; asked again where that was changed meanwhile."""
    for _ in range(_QUESTIONS):
        began = time.time_ns()
        probe = _probe(executable)
        seen = _look(executable, probe)
        places = (*probe.get("watched", ()), *probe["folders"])
        stats = [stat for place in places if (stat := stat_at(place))]
        if all(shows_from(stat) <= began for stat in stats):
            break
        outwait(stats)
    else:
        # Nobody knows what it was that it told of: nothing is kept that depends on it.
        return probe, Seen({str(executable): None}, "", seen.look)
    return probe, seen


def _look(executable: Path, probe: dict[str, Any]) -> Seen:
    """What is there of all that decides what the probe says, but for the user's variables."""

    def look() -> str:
        files = [_file(path) for path in _watched(executable, probe)]
        return digest([files, [entries_seen(folder) for folder in probe["folders"]]])

    stats = {path: stat_at(path) for path in (*_watched(executable, probe), *probe["folders"])}
    return Seen(stats, look(), look)


def _watched(executable: Path, probe: dict[str, Any]) -> Iterator[str]:
    """The files that decide what the probe says. The name may stand for a script that starts another Python."""
    yield from (str(executable), probe["executable"] or str(executable), *probe.get("watched", ()))


def _remembered(memory: Path) -> dict[str, Any] | None:
    """What was stored of an interpreter, if that is whole and of this version."""
    try:
        stored: dict[str, Any] = json.loads(memory.read_text(encoding="utf-8"))
        is_whole = stored["version"] == _VERSION and stored.keys() >= {"probe", "stat", "contents"}
        return stored if is_whole else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _stat(executable: Path, probe: dict[str, Any]) -> list[Any]:
    """What differs when the probe would say something else: where a user's own packages lie, what the name stands for
    now (and, of a script that starts another Python, what that stands for), and the folders of what is installed.
    """
    # Installing, upgrading or removing a distribution renames its .dist-info folder, which touches the folder around
    # it.
    folders = [os.stat(folder).st_mtime_ns if os.path.isdir(folder) else 0 for folder in probe["folders"]]
    files = [part for path in _watched(executable, probe) for part in _file(path)]
    return [os.environ.get("HOME"), os.environ.get("PYTHONUSERBASE"), *files, *folders]


def _file(path: str) -> tuple[str, int, int]:
    real = os.path.realpath(path)
    stat = os.stat(real) if os.path.exists(real) else None
    return real, stat.st_mtime_ns if stat else 0, stat.st_size if stat else 0


def _probe(executable: Path) -> dict[str, Any]:
    try:
        # The caller's folder and most PYTHON* variables are not what a step sees; the user's own packages are.
        completed = subprocess.run(
            [executable, "-c", _START, Path(installed_probe.__file__).read_text(encoding="utf-8")],
            env=without_secrets(),
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        probe: dict[str, Any] = json.loads(completed.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        if isinstance(error, BlockingIOError):
            # There are too many processes already, whatever the interpreter is.
            raise machine_error(f"{executable} cannot be started", error) or error from error
        raise MachineError(f"{executable} does not answer as a Python interpreter", code="AZD306") from error
    return probe
