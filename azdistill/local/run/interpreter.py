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
from azdistill.local.run.environment import without_secrets
from azdistill.local.store.durable_files import digest, write_whole
from azdistill.local.store.home import Home
from azdistill.permissions import make_private

#: Reads names and versions from the names of the folders that hold them: reading each METADATA takes 20 times longer.
_PROBE = """
import sys
sys.path = [p for p in sys.path if p]
import json, os, platform, re, site
found = [n for p in sys.path if os.path.isdir(p) for n in os.listdir(p)]
names = {re.sub("[.](dist|egg)-info$", "", n).lower() for n in found if n.endswith((".dist-info", ".egg-info"))}
print(json.dumps({"python": platform.python_version(), "implementation": platform.python_implementation(),
  "platform": f"{sys.platform}-{platform.machine()}", "distributions": sorted(names),
  "executable": sys.executable, "user_base": site.getuserbase(),
  "folders": [p for p in dict.fromkeys([*sys.path, *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])])
    if p.rstrip("/").endswith(("site-packages", "dist-packages"))]}))
"""


#: What the probe says for us; places are in no key.
_PLACES = frozenset({"executable", "folders", "user_base"})


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
    probe = _remembered(memory, executable)
    if probe is None:
        probe = _probe(executable)
        if not home.looking:
            make_private(memory.parent)
            write_whole(memory, strict_json.dumps({"probe": probe, "stat": _stat(executable, probe)}))
    fingerprint = {name: probe[name] for name in probe if name not in _PLACES}
    return Interpreter(executable, fingerprint, probe.get("user_base", ""))


def _remembered(memory: Path, executable: Path) -> dict[str, Any] | None:
    try:
        stored = json.loads(memory.read_text(encoding="utf-8"))
        probe: dict[str, Any] = stored["probe"]
        return probe if stored["stat"] == _stat(executable, probe) else None
    except (OSError, ValueError, KeyError):
        return None


def _stat(executable: Path, probe: dict[str, Any]) -> list[Any]:
    """What differs when the probe would say something else: where a user's own packages lie, what the name stands for
    now (and, of a script that starts another Python, what that stands for), and the folders of what is installed.
    """
    # Installing, upgrading or removing a distribution renames its .dist-info folder, which touches the folder around
    # it.
    folders = [os.stat(folder).st_mtime_ns if os.path.isdir(folder) else 0 for folder in probe["folders"]]
    return [
        os.environ.get("HOME"),
        os.environ.get("PYTHONUSERBASE"),
        *_file(str(executable)),
        *_file(probe["executable"] or str(executable)),
        *folders,
    ]


def _file(path: str) -> tuple[str, int, int]:
    real = os.path.realpath(path)
    stat = os.stat(real) if os.path.exists(real) else None
    return real, stat.st_mtime_ns if stat else 0, stat.st_size if stat else 0


def _probe(executable: Path) -> dict[str, Any]:
    try:
        # The caller's folder and most PYTHON* variables are not what a step sees; the user's own packages are.
        completed = subprocess.run(
            [executable, "-c", _PROBE],
            env=without_secrets(),
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        probe: dict[str, Any] = json.loads(completed.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise MachineError(f"{executable} does not answer as a Python interpreter", code="AZD306") from error
    return probe
