"""The environment of a step: what it sees of the caller's, what it has for itself, and how much of it its key knows.

Less passed on is less that a result can depend on: home, folder for temporary files and user are the step's own. What
is passed on counts in the cache key, by a keyed hash of its value, but for what :data:`NOT_COUNTED` names with a
reason. The documentation (docs/local.md) has that list from here, and a test holds each variable that a step sees to
it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from azdistill import redact
from azdistill.local.cache.seal import SECRET, Seal

#: What the key knows the value of: how text is read and sorted, the clock's zone, libraries, caches, devices.
COUNTED = (
    *("LANG", "LC_*", "TZ", "LD_LIBRARY_PATH", "DYLD_*", "XDG_CACHE_HOME", "AZURE_CONFIG_DIR"),
    *("HF_*", "TRANSFORMERS_*", "TOKENIZERS_PARALLELISM", "CUDA_*", "NVIDIA_*", "OMP_*", "MKL_*", "TORCH*"),
)
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_PACKAGES = "PYTHONUSERBASE"
#: What a step sees of the caller's environment unasked. What may be a credential among it (Hugging Face's token, which
#: downloads need; a proxy's password) is hidden from all text.
PASSED = (*COUNTED, *_PROXIES, *CERTIFICATES, _PACKAGES)
#: The same for every step, so no result differs by them.
CONSTANT = {"USER": "azdistill", "LOGNAME": "azdistill", "PYTHONUNBUFFERED": "1"}
_PROXY = re.compile(r".*_proxy", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class NotCounted:
    """Something that a step can observe and that its key does not know, and why. ``variables``: patterns of names."""

    what: str
    why: str
    variables: tuple[str, ...] = ()


#: All that a step can observe and that is not in its key.
NOT_COUNTED = (
    NotCounted(
        "the ids of the run, the step and the attempt, the experiment, and a container's name",
        "they are new each time, or say where results are noted",
        ("AZUREML_RUN_ID", "AZUREML_ROOT_RUN_ID", "AZUREML_EXPERIMENT_NAME", "HOSTNAME"),
    ),
    NotCounted(
        "where things lie: inputs, outputs, code, the state folder, a step's own home and folder for temporary files",
        "a result can be used wherever the project lies; what an input holds, and the name of a file, count",
        (
            *("AZURE_ML_INPUT_*", "AZURE_ML_OUTPUT_*", "AZDISTILL_METRICS_FILE", "AZDISTILL_PREVIOUS_ATTEMPT"),
            # The settings in it count as such; the rest of it is places.
            *("AZDISTILL_PARALLEL", "HOME", "TMPDIR", "PWD", "OLDPWD"),
        ),
    ),
    NotCounted(
        "which process of a distributed step it is, and where they meet",
        "how many there are counts, and each of them runs",
        ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "TF_CONFIG"),
    ),
    NotCounted("what the shell says of itself", "it is the same shell", ("SHLVL", "_")),
    NotCounted(
        "PATH and where packages of the user lie",
        "the interpreter that PATH leads to counts, and so does what is installed; other programs are the machine's",
        ("PATH", _PACKAGES),
    ),
    NotCounted("where metrics are logged", "they are told, not read", ("MLFLOW_*",)),
    NotCounted("proxies", "they are a way to data, and no data", _PROXIES),
    NotCounted("certificates", "they decide whom to trust, not what is said", CERTIFICATES),
    NotCounted(
        "the values of secrets: variables named `*_TOKEN`, `*_KEY`, `*_SECRET`, `*_PASSWORD`, `*_CREDENTIALS`, `*_PAT`",
        "a key that was renewed opens the same door; that the step gets one counts",
    ),
    NotCounted(
        "the number of threads that the runner itself sets, and the number of steps at a time",
        "they follow the machine; `OMP_NUM_THREADS` and the like count where you set them",
    ),
    NotCounted(
        "times, owners and extended attributes of files, permissions but for executing, what is a link and what a copy",
        "copies and checkouts of the same data differ in them",
    ),
    NotCounted(
        "what is written to an input through a memory map",
        "the file system does not say so in time; write a new file, and move it into place",
    ),
    NotCounted(
        "edits by hand to an installed package, and what lies beside the modules of an editable one",
        "name and version, or what its installer wrote down, stand for the first; the second is not installed",
    ),
    NotCounted(
        "packages without an `__init__.py` that lie more than six folders deep in a folder that a `.pth` file names",
        "to look for them in all that lies in a project would take too long",
    ),
    NotCounted(
        "the machine: kernel, processors, devices, limits, user and group, clock, random numbers",
        "a state folder belongs to one machine; a step that needs chance takes a seed",
    ),
    NotCounted(
        "what a step gets for itself: files that are no input, models by name, answers of a service",
        "nobody says which; a component that depends on them says `is_deterministic: false`",
    ),
    NotCounted("inputs that the tag `azdistill.cache_ignore` of the component names", "the component says so"),
)


def passed_on() -> dict[str, str]:
    """The caller's variables that steps see. Those that may hold a secret are hidden from all text.

    A step's home is its own, so it is told where models are cached, who is logged in, and where the user's own packages
    lie.
    """
    variables = {name: value for name, value in os.environ.items() if any(fnmatchcase(name, p) for p in PASSED)}
    for name, value in variables.items():
        if SECRET.fullmatch(name):
            redact.register(value)
        elif _PROXY.fullmatch(name) and "@" in value:
            redact.register(value.rpartition("@")[0].rpartition("//")[2])
    return {**_user_places(), **variables}


def _user_places() -> dict[str, str]:
    home = os.path.expanduser("~")
    caches = os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
    return {
        "HF_HOME": os.path.join(caches, "huggingface"),
        "TORCH_HOME": os.path.join(caches, "torch"),
        "AZURE_CONFIG_DIR": os.path.join(home, ".azure"),
    }


def without_secrets() -> dict[str, str]:
    """What a program needs that is asked before a step is started with it, and nothing that may be a credential.

    It asks nobody else, so a proxy, whose address may hold a password, is none of its business.
    """
    left_out = (SECRET, _PROXY)
    variables = {name: value for name, value in passed_on().items() if not any(p.fullmatch(name) for p in left_out)}
    mine = {name: os.environ[name] for name in ("HOME", "TMPDIR") if name in os.environ}
    return {"PATH": os.environ.get("PATH", os.defpath), **mine, **variables}


def counted(inherited: Mapping[str, str], asked_for: Mapping[str, str], seal: Seal) -> dict[str, str]:
    """What the keys of all steps say of the caller's variables: of those that steps see unasked, ``inherited``, and
    those that ``--env`` names, ``asked_for``.
    """
    seen = {name: value for name, value in inherited.items() if not is_left_out(name)} | dict(asked_for)
    return {name: seal.of(name, value) for name, value in sorted(seen.items())}


def is_left_out(name: str) -> bool:
    """Whether a variable that steps see unasked is in no key."""
    return any(fnmatchcase(name, pattern) for each in NOT_COUNTED for pattern in each.variables)
