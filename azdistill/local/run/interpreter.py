"""The Python that steps find on their PATH, with what is installed in it, and the caller's variables that they see.

The interpreter and its distributions are part of the cache key. Of the caller's variables steps see few, and the
secrets among these are hidden.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from azdistill import redact, strict_json
from azdistill.errors import MachineError
from azdistill.local.store.durable_files import digest, write_whole
from azdistill.local.store.home import Home
from azdistill.permissions import make_private

#: What a step sees of the caller's environment: what finds programs, files, proxies, caches and devices. What may be a
#: credential among it (Hugging Face's token, which downloads need; a proxy's password) is hidden from all text.
PASSED = (
    *("HOME", "USER", "LOGNAME", "LANG", "LC_*", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_*", "XDG_CACHE_HOME"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("HF_*", "TRANSFORMERS_*", "TOKENIZERS_PARALLELISM", "CUDA_*", "NVIDIA_*", "OMP_*", "MKL_*", "TORCH*"),
)
#: A switch such as HF_HUB_DISABLE_IMPLICIT_TOKEN holds none.
_SECRET = re.compile(r"(?!.*_DISABLE_).*_(TOKEN|KEY|SECRET|PASSWORD|CREDENTIALS?|PAT)", re.IGNORECASE)
_PROXY = re.compile(r".*_proxy", re.IGNORECASE)


def passed_on() -> dict[str, str]:
    """The caller's variables that steps see. Those that may hold a secret are hidden from all text."""
    variables = {name: value for name, value in os.environ.items() if any(fnmatchcase(name, p) for p in PASSED)}
    for name, value in variables.items():
        if _SECRET.fullmatch(name):
            redact.register(value)
        elif _PROXY.fullmatch(name) and "@" in value:
            redact.register(value.rpartition("@")[0].rpartition("//")[2])
    return variables


def without_secrets() -> dict[str, str]:
    """What a program needs that a step is started with, and nothing that may be a credential."""
    variables = {name: value for name, value in passed_on().items() if not _SECRET.fullmatch(name)}
    return {"PATH": os.environ.get("PATH", os.defpath), **variables}


#: Reads names and versions from the names of the folders that hold them: reading each METADATA takes 20 times longer.
_PROBE = """
import sys
sys.path = [p for p in sys.path if p]
import json, os, platform, re, site
found = [n for p in sys.path if os.path.isdir(p) for n in os.listdir(p)]
names = {re.sub("[.](dist|egg)-info$", "", n).lower() for n in found if n.endswith((".dist-info", ".egg-info"))}
print(json.dumps({"python": platform.python_version(), "implementation": platform.python_implementation(),
  "platform": f"{sys.platform}-{platform.machine()}", "distributions": sorted(names),
  "executable": sys.executable,
  "folders": [p for p in dict.fromkeys([*sys.path, *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])])
    if p.rstrip("/").endswith(("site-packages", "dist-packages"))]}))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python executable and its fingerprint (version, platform, installed distributions)."""

    executable: Path
    fingerprint: dict[str, Any]


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
    return Interpreter(executable, {name: probe[name] for name in probe if name not in ("executable", "folders")})


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
    return [os.environ.get("HOME"), *_file(str(executable)), *_file(probe["executable"] or str(executable)), *folders]


def _file(path: str) -> tuple[str, int, int]:
    real = os.path.realpath(path)
    stat = os.stat(real) if os.path.exists(real) else None
    return real, stat.st_mtime_ns if stat else 0, stat.st_size if stat else 0


def _probe(executable: Path) -> dict[str, Any]:
    try:
        # The caller's folder and PYTHON* variables are not what a step sees; the packages in its HOME are.
        completed = subprocess.run(
            [executable, "-E", "-c", _PROBE],
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
