"""``resources.docker_args`` of a step, which Azure ML hands to ``docker run``: those that are honoured here too.

What would open the container (``--privileged``, ``--network``, ``--volume``, ...) is not among them.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, replace
from typing import Any

#: A size as Docker takes it: bytes, or with a unit.
SIZE = re.compile(r"\d+[bkmg]?", re.IGNORECASE)
_NAMES = {
    "-m": "memory",
    "--memory": "memory",
    "--shm-size": "shm_size",
    "--pids-limit": "pids",
    "--cpus": "cpus",
    "--gpus": "gpus",
}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a container may use at most; None: as much as there is. Sizes as Docker takes them (``2g``)."""

    memory: str | None = None
    pids: int | None = None
    shm_size: str | None = None
    cpus: float | None = None
    #: Whether GPUs were asked for; containers see those that there are, asked or not.
    gpus: bool = False


def parse(arguments: Any, limits: Limits) -> tuple[Limits, tuple[str, ...]]:
    """``limits`` with what ``arguments`` (text or a list) set in its place, and those that are not honoured."""
    try:
        words = list(map(str, arguments)) if isinstance(arguments, list) else shlex.split(str(arguments or ""))
    except ValueError:
        return limits, (str(arguments),)
    not_honoured: list[str] = []
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        # -e A=b: a value of its own belongs to the word before it.
        following = [words.pop(0)] if not equals and words and not words[0].startswith("-") else []
        changed = _with(limits, _NAMES.get(name), value if equals else "".join(following))
        if changed is None:
            not_honoured.append(" ".join([word, *following]))
        limits = changed or limits
    return limits, tuple(not_honoured)


def _with(limits: Limits, name: str | None, value: str) -> Limits | None:
    if name == "memory" and SIZE.fullmatch(value):
        return replace(limits, memory=value)
    if name == "shm_size" and SIZE.fullmatch(value):
        return replace(limits, shm_size=value)
    if name == "pids" and value.isdigit() and int(value):
        return replace(limits, pids=int(value))
    if name == "cpus" and re.fullmatch(r"\d+(\.\d+)?", value) and float(value):
        return replace(limits, cpus=float(value))
    return replace(limits, gpus=True) if name == "gpus" else None
