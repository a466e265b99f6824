"""The Python that steps find on their PATH, with what is installed in it: both are part of the cache key."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azdistill import strict_json
from azdistill.errors import MachineError
from azdistill.local.in_step import installed_probe
from azdistill.local.run.environment import without_secrets
from azdistill.local.run.installed import read_sources
from azdistill.local.store.durable_files import digest, write_whole
from azdistill.local.store.home import Home
from azdistill.local.store.machine_errors import machine_error
from azdistill.permissions import make_private

#: Starts the probe that is its argument. What lies in the folder of the caller is nothing that a step sees.
_START = "import sys; sys.path[:] = [path for path in sys.path if path]; exec(sys.argv.pop(), {'__name__': '__main__'})"
#: Of what is remembered; raised when the probe says more.
_VERSION = 2
#: What the probe says for us; places are in no key.
_PLACES = frozenset({"executable", "folders", "user_base", "watched", "sources"})


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python executable and its fingerprint (version, platform, installed distributions).

    ``user_base``: where it finds the user's own packages, whatever the home of a step is.
    """

    executable: Path
    fingerprint: dict[str, Any]
    user_base: str = ""


def find_interpreter(home: Home, python: str | None = None, *, named_by: str = "--python") -> Interpreter:
    """The interpreter for steps: ``python`` (a path or a name on PATH), or the one that runs azdistill.

    What it says of itself is remembered, unless ``home`` is only looked at; ``named_by``: where ``python`` was written.
    """
    program = shutil.which(python) if python else sys.executable
    if not program:
        raise MachineError(f"no Python interpreter '{python}'", code="AZD305", hint=f"give {named_by} an executable")
    executable = Path(program).absolute()
    memory = home.root / "interpreters" / f"{digest(str(executable))[:16]}.json"
    stored = _remembered(memory, executable)
    probe = stored["probe"] if stored else _probe(executable)
    before = stored["contents"] if stored else {}
    contents = read_sources(probe.get("sources", {}), before)
    if not home.looking and (not stored or any(contents[label] != tuple(before.get(label, ())) for label in contents)):
        make_private(memory.parent)
        told = {"version": _VERSION, "probe": probe, "stat": _stat(executable, probe), "contents": contents}
        write_whole(memory, strict_json.dumps(told))
    fingerprint = {name: probe[name] for name in probe if name not in _PLACES}
    if contents:
        read = {label: content for label, (_, content) in contents.items()}
        fingerprint["contents"] = {**probe.get("contents", {}), **read}
    return Interpreter(executable, fingerprint, probe.get("user_base", ""))


def _remembered(memory: Path, executable: Path) -> dict[str, Any] | None:
    """What was stored of an interpreter, if it would say the same now."""
    try:
        stored: dict[str, Any] = json.loads(memory.read_text(encoding="utf-8"))
        is_current = stored["version"] == _VERSION and stored["stat"] == _stat(executable, stored["probe"])
        return stored if is_current else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _stat(executable: Path, probe: dict[str, Any]) -> list[Any]:
    """What differs when the probe would say something else: where a user's own packages lie, what the name stands for
    now (and, of a script that starts another Python, what that stands for), and the folders of what is installed.
    """
    # Installing, upgrading or removing a distribution renames its .dist-info folder, which touches the folder around
    # it.
    folders = [os.stat(folder).st_mtime_ns if os.path.isdir(folder) else 0 for folder in probe["folders"]]
    programs = (str(executable), probe["executable"] or str(executable))
    files = [part for path in (*programs, *probe.get("watched", ())) for part in _file(path)]
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
